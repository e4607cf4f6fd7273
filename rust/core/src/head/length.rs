//! The announced length of a body.

/// More digits cannot be a length; the limit keeps the number within 64 bits.
const MAX_DIGITS: usize = 18;

/// Why a length cannot be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LengthFault {
    /// Lengths that differ: whoever guesses there can be made to see another request than the next server does (RFC 9112,
    /// 6.3).
    #[error("conflicting Content-Length headers")]
    Conflict,
    /// It is no number.
    #[error("Content-Length is not a number")]
    Number,
}

/// The lengths of one head so far.
#[derive(Default)]
pub(super) struct Lengths<'a> {
    first: Option<&'a [u8]>,
    conflict: bool,
}

impl<'a> Lengths<'a> {
    /// Takes the value of a header, which may be a list.
    pub(super) fn add(&mut self, value: &'a [u8]) {
        for part in value.split(|byte| *byte == b',') {
            let part = part.trim_ascii();
            let first = *self.first.get_or_insert(part);
            self.conflict |= first != part;
        }
    }

    pub(super) fn length(&self) -> Result<Option<u64>, LengthFault> {
        let Some(digits) = self.first else {
            return Ok(None);
        };
        if self.conflict {
            return Err(LengthFault::Conflict);
        }
        if digits.len() > MAX_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
            return Err(LengthFault::Number);
        }
        let text = str::from_utf8(digits).map_err(|_| LengthFault::Number)?;
        text.parse().map(Some).map_err(|_| LengthFault::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(values: &[&str]) -> Result<Option<u64>, LengthFault> {
        let mut lengths = Lengths::default();
        for value in values {
            lengths.add(value.as_bytes());
        }
        lengths.length()
    }

    #[test]
    fn lengths() {
        assert_eq!(length(&[]), Ok(None));
        for (values, expected) in [
            (&["0"][..], 0),
            (&[" 12 "], 12),
            (&["12", "12"], 12),
            (&["12, 12"], 12),
        ] {
            assert_eq!(length(values), Ok(Some(expected)));
        }
    }

    #[test]
    fn what_is_no_length() {
        let long = "9".repeat(19);
        for value in ["", "-1", "+1", "1.0", "0x1", "1_0", &long] {
            assert_eq!(length(&[value]), Err(LengthFault::Number), "{value}");
        }
        for values in [&["1", "2"][..], &["1, 2"], &["1,"]] {
            assert_eq!(length(values), Err(LengthFault::Conflict), "{values:?}");
        }
    }
}
