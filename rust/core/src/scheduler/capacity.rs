//! Learning how much an engine's cache holds, from what proved gone and what proved there.
//!
//! A block that was predicted and is gone, at an age below the capacity, moves the capacity down by a tenth of the
//! difference; the first one sets it. A block that is there at an age above four fifths of the capacity moves it up by a
//! tenth of the way to 1.15 times that age. Ages and capacities are tokens of the worker's volume clock.

/// What one answer says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Evidence {
    /// A block that was last used so many tokens ago is gone.
    Gone(f64),
    /// A block that was last used so many tokens ago is there.
    Held(f64),
}

const STEP: f64 = 0.1;
const OLD: f64 = 0.8;
const BEYOND: f64 = 1.15;

/// The capacity after a piece of evidence; None is not known.
pub(super) fn learned(capacity: Option<f64>, evidence: Evidence) -> Option<f64> {
    match (capacity, evidence) {
        (None, Evidence::Gone(age)) => Some(age.max(1.0)),
        (None, Evidence::Held(_)) => None,
        (Some(known), Evidence::Gone(age)) => Some(known - STEP * (known - age).max(0.0)),
        (Some(known), Evidence::Held(age)) if age > OLD * known => {
            Some(known + STEP * (BEYOND * age - known).max(0.0))
        }
        (Some(known), Evidence::Held(_)) => Some(known),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_block_that_is_gone_sets_it() {
        assert_eq!(learned(None, Evidence::Held(5.0)), None);
        assert_eq!(learned(None, Evidence::Gone(5.0)), Some(5.0));
    }

    #[test]
    fn it_moves_by_tenths() {
        assert_eq!(learned(Some(100.0), Evidence::Gone(50.0)), Some(95.0));
        assert_eq!(learned(Some(100.0), Evidence::Gone(150.0)), Some(100.0));
        assert_eq!(learned(Some(100.0), Evidence::Held(80.0)), Some(100.0));
        assert_eq!(learned(Some(100.0), Evidence::Held(100.0)), Some(101.5));
        assert_eq!(learned(Some(100.0), Evidence::Held(85.0)), Some(100.0));
    }
}
