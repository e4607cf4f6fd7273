//! The volume clocks: how much each worker has been given since a prefix was used there.
//!
//! An engine evicts by volume: a prefix is gone when as many other tokens have come as its cache holds. A worker's clock
//! counts the uncached tokens that it is sent, in epochs of an eighth of its capacity; a holder's mark has the epoch of its
//! last record, and its credit lapses when the clock has moved on by the whole capacity. Counting all tokens instead of the
//! uncached ones forgets too early: what an engine has takes no room again.
//!
//! While the capacity is not known credit lapses after [`ASSUMED`] tokens, which is more than most caches hold. The clock
//! runs in finer epochs then, so that a prefix that proves gone tells how old it was, which is how a capacity is learned.
//!
//! Epochs are counted modulo [`EPOCHS`]. A sweep drops what has lapsed before its epoch could be taken for a new one; a
//! clock that would overtake the sweep waits for it.

use super::holders::{EPOCHS, Mark};
use crate::ids::Slot;

/// Epochs in a capacity.
const PARTS: u8 = 8;
/// Tokens after which credit lapses where the capacity is not known.
pub(super) const ASSUMED: f64 = 4_194_304.0;
/// Epochs by which a clock may be ahead of the sweep.
const LEAD: u8 = 100;
/// Epochs after which a mark has lapsed where the capacity is not known.
const UNKNOWN_LIMIT: u8 = EPOCHS - 8;
/// Epochs after which a sweep is worth its while.
const SWEEP_FROM: u8 = 3 * PARTS;

#[derive(Debug, Clone, Copy)]
struct Clock {
    /// Tokens in the present epoch.
    volume: f64,
    /// Tokens of a whole epoch.
    length: f64,
    /// Epoch that a whole sweep has seen.
    swept: u8,
}

/// A clock for each slot.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    clocks: Vec<Clock>,
    /// Present epochs.
    epochs: Vec<u8>,
    /// Ages in epochs at which credit has lapsed.
    limits: Vec<u8>,
}

impl Clocks {
    /// Starts the clock of a slot that was handed out, its capacity not known.
    pub(super) fn start(&mut self, slot: Slot) {
        let index = slot.index();
        if index >= self.clocks.len() {
            let clock = Clock {
                volume: 0.0,
                length: ASSUMED,
                swept: 0,
            };
            self.clocks.resize(index + 1, clock);
            self.epochs.resize(index + 1, 0);
            self.limits.resize(index + 1, UNKNOWN_LIMIT);
        }
        self.clocks[index].volume = 0.0;
        self.set_capacity(slot, None);
    }

    /// Sets a slot's capacity in tokens; None is not known.
    pub(super) fn set_capacity(&mut self, slot: Slot, tokens: Option<f64>) {
        let limit = if tokens.is_some() {
            PARTS
        } else {
            UNKNOWN_LIMIT
        };
        self.limits[slot.index()] = limit;
        self.clocks[slot.index()].length = tokens.unwrap_or(ASSUMED).max(1.0) / f64::from(limit);
    }

    /// Lets a slot's clock go on by uncached tokens; a negative number takes back what was counted too much.
    pub(super) fn advance(&mut self, slot: Slot, tokens: f64) {
        let clock = &mut self.clocks[slot.index()];
        let epoch = &mut self.epochs[slot.index()];
        clock.volume = (clock.volume + tokens).max(0.0);
        while clock.volume >= clock.length && since(clock.swept, *epoch) < LEAD {
            clock.volume -= clock.length;
            *epoch = (*epoch + 1) % EPOCHS;
        }
    }

    /// The mark of a record made now.
    pub(super) fn mark(&self, slot: Slot) -> Mark {
        Mark::new(self.epochs[slot.index()])
    }

    /// Whether a mark of the slot of this index still counts, as far as volume goes.
    pub(super) fn counts(&self, index: usize, mark: Mark) -> bool {
        since(mark.epoch(), self.epochs[index]) < self.limits[index]
    }

    /// Whether a slot's clock waits for the sweep.
    pub(super) fn waits(&self, slot: Slot) -> bool {
        let clock = &self.clocks[slot.index()];
        clock.volume >= clock.length
    }

    /// Tokens that a slot was sent since a mark, within half an epoch.
    pub(super) fn age(&self, slot: Slot, mark: Mark) -> f64 {
        let clock = &self.clocks[slot.index()];
        let epochs = since(mark.epoch(), self.epochs[slot.index()]);
        // It was recorded anywhere in its epoch, which may be the present one.
        let volume = clock.volume.min(clock.length);
        let within = if epochs == 0 { volume } else { clock.length };
        f64::from(epochs) * clock.length + volume - within / 2.0
    }

    /// Whether there may be much that has lapsed.
    pub(super) fn want_sweep(&self) -> bool {
        let ahead = |(clock, epoch): (&Clock, &u8)| since(clock.swept, *epoch) >= SWEEP_FROM;
        self.clocks.iter().zip(&self.epochs).any(ahead)
    }

    /// Present epochs, for [`Clocks::swept`].
    pub(super) fn epochs(&self) -> Vec<u8> {
        self.epochs.clone()
    }

    /// A sweep is through that began at these epochs.
    pub(super) fn swept(&mut self, epochs: &[u8]) {
        for (clock, &epoch) in self.clocks.iter_mut().zip(epochs) {
            clock.swept = epoch;
        }
    }
}

/// Epochs from one to another.
const fn since(then: u8, now: u8) -> u8 {
    if now >= then {
        now - then
    } else {
        EPOCHS - then + now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Slot::new(3);

    fn clocks(capacity: Option<f64>) -> Clocks {
        let mut clocks = Clocks::default();
        clocks.start(SLOT);
        clocks.set_capacity(SLOT, capacity);
        clocks
    }

    #[test]
    fn credit_lapses_with_the_capacity() {
        let mut clocks = clocks(Some(800.0));
        let mark = clocks.mark(SLOT);
        clocks.advance(SLOT, 799.0);
        assert!(clocks.counts(3, mark));
        clocks.advance(SLOT, 1.0);
        assert!(!clocks.counts(3, mark));
        assert!(clocks.counts(3, clocks.mark(SLOT)));
    }

    #[test]
    fn an_age_is_right_within_half_an_epoch() {
        let mut clocks = clocks(Some(800.0));
        clocks.advance(SLOT, 30.0);
        let mark = clocks.mark(SLOT);
        for step in 1..8 {
            clocks.advance(SLOT, 100.0);
            assert!((clocks.age(SLOT, mark) - f64::from(step) * 100.0).abs() <= 50.0);
        }
    }

    #[test]
    fn little_lapses_where_the_capacity_is_not_known_and_ages_are_fine() {
        let mut clocks = clocks(None);
        let mark = clocks.mark(SLOT);
        clocks.advance(SLOT, 100_000.0);
        assert!((clocks.age(SLOT, mark) / 100_000.0 - 1.0).abs() < 0.2);
        for _ in 0..39 {
            clocks.advance(SLOT, 100_000.0);
            let begun = clocks.epochs();
            clocks.swept(&begun);
        }
        assert!(clocks.counts(3, mark));
        clocks.advance(SLOT, 300_000.0);
        assert!(!clocks.counts(3, mark));
    }

    #[test]
    fn a_clock_waits_for_the_sweep() {
        let mut clocks = clocks(Some(8.0));
        let mark = clocks.mark(SLOT);
        clocks.advance(SLOT, 1e6);
        assert!(!clocks.counts(3, mark), "an old mark is never young again");
        assert!(clocks.want_sweep() && clocks.waits(SLOT));
        let begun = clocks.epochs();
        clocks.swept(&begun);
        clocks.advance(SLOT, 0.0);
        assert!(clocks.want_sweep());
    }

    #[test]
    fn what_was_counted_too_much_is_taken_back() {
        let mut clocks = clocks(Some(800.0));
        clocks.advance(SLOT, 60.0);
        clocks.advance(SLOT, -100.0);
        let mark = clocks.mark(SLOT);
        clocks.advance(SLOT, 99.0);
        assert_eq!(clocks.mark(SLOT), mark);
    }
}
