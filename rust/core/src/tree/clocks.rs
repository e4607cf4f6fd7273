//! The volume clocks: what each worker's cache should still hold, by what it has been given since.
//!
//! An engine evicts the least recently used: a prefix is gone when as many *other* tokens were used after it as the cache
//! holds. So a worker's clock keeps, for each of its last epochs, the tokens whose last use was in it: a record adds what a
//! prompt has to the present epoch and takes what was there before out of the epoch of its mark. An epoch ends when it
//! has an eighth of the capacity; the credit of an epoch lapses when more than half of it no longer fits behind those
//! after it.
//!
//! Not a count of what was sent: uncached tokens alone are blind to sessions that are hit again and again and so
//! push out those that are not; all tokens count a block as often as it is hit, and forget too early. Either costs: see
//! docs/policies.md.
//!
//! While the capacity is not known credit lapses after [`ASSUMED`] tokens, which is more than most caches hold.
//!
//! Epochs are counted modulo [`EPOCHS`]. A sweep drops what has lapsed before its epoch could be taken for a new one; a
//! clock that would overtake the sweep waits for it. A clock takes half a kilobyte.
//!
//! A clock that goes on from a snapshot begins with a new epoch. So the marks that came with the snapshot are those of
//! the epochs before it, and nothing has to be kept of each: they are not sure until the worker proves to be the one that
//! it was, or they have lapsed.

use super::holders::{EPOCHS, Mark};
use crate::ids::Slot;

/// Epochs in a capacity.
const PARTS: u8 = 8;
/// Tokens after which credit lapses where the capacity is not known.
pub(super) const ASSUMED: f64 = 4_194_304.0;
/// Epochs after which a mark has lapsed, however little was used in them.
pub(super) const LONGEST: u8 = 80;
/// Answers without anything of what a snapshot says that a worker has, after which it has nothing of it: now and then a
/// prefix is gone from a cache that is well.
const DOUBTS: u8 = 3;
/// Epochs by which a clock may be ahead of the sweep.
const LEAD: u8 = 40;
/// Epochs after which a sweep is worth its while.
const SWEEP_FROM: u8 = 2 * PARTS;

// What a sweep leaves is younger than `LONGEST`, and `LEAD` epochs older at the most when the next one is through.
const _: () = assert!(LONGEST + LEAD < EPOCHS);

#[derive(Debug, Clone)]
struct Clock {
    /// Tokens that the cache holds; [`ASSUMED`] where that is not known.
    capacity: f64,
    is_known: bool,
    /// Tokens after which an epoch ends.
    length: f64,
    /// Tokens by the epoch of their last use.
    used: [f32; EPOCHS as usize],
    /// Tokens of the epochs that count, as far as is known without adding them up.
    counted: f64,
    /// Epoch that a whole sweep has seen.
    swept: u8,
}

impl Clock {
    const NEW: Self = Self {
        capacity: ASSUMED,
        is_known: false,
        length: ASSUMED / LONGEST as f64,
        used: [0.0; EPOCHS as usize],
        counted: 0.0,
        swept: 0,
    };

    fn used_in(&self, epoch: u8) -> f64 {
        f64::from(self.used[usize::from(epoch)])
    }

    fn is_full(&self, epoch: u8) -> bool {
        self.used_in(epoch) >= self.length
    }

    /// Epochs, the present one included, of which at least half fits into the cache, and the tokens of them.
    fn fitting(&self, epoch: u8) -> (u8, f64) {
        let mut newer = self.used_in(epoch);
        for age in 1..LONGEST {
            let used = self.used_in(before(epoch, age));
            if newer + used / 2.0 > self.capacity {
                return (age, newer);
            }
            newer += used;
        }
        (LONGEST, newer)
    }
}

/// A clock for each slot.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    by_slot: Vec<Clock>,
    /// Present epochs.
    epochs: Vec<u8>,
    /// Ages in epochs at which credit has lapsed.
    limits: Vec<u8>,
    /// What is thought of the marks of a snapshot.
    restored: Vec<Option<Restored>>,
    /// How many slots have such marks.
    unsure: usize,
}

/// A slot that began with marks of a snapshot.
#[derive(Debug, Clone, Copy)]
struct Restored {
    /// The first epoch after the snapshot.
    first: u8,
    doubts: u8,
}

impl Clocks {
    /// Starts the clock of a slot that was handed out, its capacity not known.
    pub(super) fn start(&mut self, slot: Slot) {
        let index = slot.index();
        if index >= self.by_slot.len() {
            self.by_slot.resize(index + 1, Clock::NEW);
            self.epochs.resize(index + 1, 0);
            self.limits.resize(index + 1, LONGEST);
            self.restored.resize(index + 1, None);
        }
        self.trust(slot);
        self.by_slot[index].used.fill(0.0);
        self.set_capacity(slot, None);
    }

    /// Sets a slot's capacity in tokens; None is not known.
    pub(super) fn set_capacity(&mut self, slot: Slot, tokens: Option<f64>) {
        let clock = &mut self.by_slot[slot.index()];
        let parts = if tokens.is_some() { PARTS } else { LONGEST };
        clock.is_known = tokens.is_some();
        clock.capacity = tokens.unwrap_or(ASSUMED).max(1.0);
        clock.length = clock.capacity / f64::from(parts);
        self.turn(slot);
        self.add_up(slot);
    }

    /// Notes that a slot's worker uses so many tokens, which it used last at `before`.
    pub(super) fn use_now(&mut self, slot: Slot, before: Mark, tokens: f64) {
        let clock = &mut self.by_slot[slot.index()];
        let epoch = self.epochs[slot.index()];
        if before != Mark::NONE {
            let then = &mut clock.used[usize::from(before.epoch())];
            let left = (*then - tokens as f32).max(0.0);
            if since(before.epoch(), epoch) < self.limits[slot.index()] {
                clock.counted -= f64::from(*then - left);
            }
            *then = left;
        }
        clock.used[usize::from(epoch)] += tokens as f32;
        clock.counted += tokens;
    }

    /// Takes back tokens that were not used after all, at `then`.
    pub(super) fn take_back(&mut self, slot: Slot, then: Mark, tokens: f64) {
        if then != Mark::NONE {
            let used = &mut self.by_slot[slot.index()].used[usize::from(then.epoch())];
            *used = (*used - tokens as f32).max(0.0);
            self.add_up(slot);
        }
    }

    /// Ends the epoch if it is full, and lets what no longer fits lapse.
    pub(super) fn settle(&mut self, slot: Slot) {
        let turned = self.turn(slot);
        let clock = &self.by_slot[slot.index()];
        let oldest = before(self.epochs[slot.index()], self.limits[slot.index()] - 1);
        let lapsed = clock.counted - clock.used_in(oldest) / 2.0 > clock.capacity;
        if turned || lapsed {
            self.add_up(slot);
        }
    }

    /// Begins the next epoch if this one is full. Returns whether it was.
    fn turn(&mut self, slot: Slot) -> bool {
        let clock = &mut self.by_slot[slot.index()];
        let epoch = &mut self.epochs[slot.index()];
        let turns = clock.is_full(*epoch) && since(clock.swept, *epoch) < LEAD;
        if turns {
            *epoch = (*epoch + 1) % EPOCHS;
            clock.used[usize::from(*epoch)] = 0.0;
            let lapsed = |restored: Restored| since(restored.first, *epoch) >= LONGEST;
            if self.restored[slot.index()].is_some_and(lapsed) {
                self.trust(slot);
            }
        }
        turns
    }

    /// Finds out anew what counts.
    fn add_up(&mut self, slot: Slot) {
        let clock = &mut self.by_slot[slot.index()];
        (self.limits[slot.index()], clock.counted) = clock.fitting(self.epochs[slot.index()]);
    }

    /// Tokens that a slot's worker is thought to hold: those of its last use of each, as far as they fit.
    pub(super) fn held(&self, slot: Slot) -> f64 {
        let clock = &self.by_slot[slot.index()];
        clock.counted.clamp(0.0, clock.capacity)
    }

    /// Whether a slot's worker is known to have no room: what it takes pushes something out.
    pub(super) fn is_full(&self, slot: Slot) -> bool {
        self.by_slot[slot.index()].is_known && self.limits[slot.index()] < LONGEST
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
        self.by_slot[slot.index()].is_full(self.epochs[slot.index()])
    }

    /// Tokens that a slot used after those of a mark, within half an epoch.
    pub(super) fn age(&self, slot: Slot, mark: Mark) -> f64 {
        let clock = &self.by_slot[slot.index()];
        let epoch = self.epochs[slot.index()];
        let newer = 0..since(mark.epoch(), epoch);
        let newer: f64 = newer.map(|age| clock.used_in(before(epoch, age))).sum();
        newer + clock.used_in(mark.epoch()) / 2.0
    }

    /// Tokens by the age in epochs of their last use.
    pub(super) fn history(&self, slot: Slot) -> [f32; LONGEST as usize] {
        let epoch = self.epochs[slot.index()];
        let clock = &self.by_slot[slot.index()];
        std::array::from_fn(|age| clock.used[usize::from(before(epoch, age as u8))])
    }

    /// Epochs since a mark was made.
    pub(super) fn epochs_since(&self, slot: Slot, mark: Mark) -> u8 {
        since(mark.epoch(), self.epochs[slot.index()])
    }

    /// Goes on, in a new epoch, from what [`Clocks::history`] told of a slot that was just started.
    pub(super) fn go_on(&mut self, slot: Slot, history: &[f32; LONGEST as usize]) {
        let index = slot.index();
        let epoch = self.epochs[index];
        let clock = &mut self.by_slot[index];
        clock.swept = epoch;
        for (age, tokens) in (1..LONGEST).zip(history) {
            clock.used[usize::from(before(epoch, age))] = tokens.clamp(0.0, f32::MAX);
        }
        self.restored[index] = Some(Restored {
            first: epoch,
            doubts: 0,
        });
        self.unsure += 1;
        self.add_up(slot);
    }

    /// The mark of a record that was made so many epochs before the snapshot was taken; None for one that has lapsed.
    pub(super) fn mark_before(&self, slot: Slot, age: u8, is_recent: bool) -> Option<Mark> {
        let epoch = self.epochs[slot.index()];
        (age + 1 < LONGEST).then(|| Mark::old(before(epoch, age + 1), is_recent))
    }

    /// Whether some marks are not sure.
    pub(super) const fn any_unsure(&self) -> bool {
        self.unsure > 0
    }

    /// Whether a mark of the slot of this index does not come from a snapshot, or is known to be right.
    pub(super) fn is_sure(&self, index: usize, mark: Mark) -> bool {
        let epoch = self.epochs[index];
        self.restored[index]
            .is_none_or(|restored| since(mark.epoch(), epoch) <= since(restored.first, epoch))
    }

    /// All marks of a slot are sure from now on.
    pub(super) fn trust(&mut self, slot: Slot) {
        if self.restored[slot.index()].take().is_some() {
            self.unsure -= 1;
        }
    }

    /// All marks are.
    pub(super) fn trust_all(&mut self) {
        self.restored.fill(None);
        self.unsure = 0;
    }

    /// A slot's worker had nothing of what a snapshot says. Returns whether that was once too often.
    pub(super) fn doubt(&mut self, slot: Slot) -> bool {
        let restored = self.restored[slot.index()].as_mut();
        restored.is_some_and(|restored| {
            restored.doubts += 1;
            restored.doubts >= DOUBTS
        })
    }

    /// Slots with marks that are not sure, counted anew.
    #[cfg(test)]
    pub(super) fn count_unsure(&self) -> usize {
        self.restored.iter().flatten().count()
    }

    /// Whether there may be much that has lapsed.
    pub(super) fn want_sweep(&self) -> bool {
        let ahead = |(clock, epoch): (&Clock, &u8)| since(clock.swept, *epoch) >= SWEEP_FROM;
        self.by_slot.iter().zip(&self.epochs).any(ahead)
    }

    /// Present epochs, for [`Clocks::swept`].
    pub(super) fn epochs(&self) -> Vec<u8> {
        self.epochs.clone()
    }

    /// A sweep is through that began at these epochs.
    pub(super) fn swept(&mut self, epochs: &[u8]) {
        for (clock, &epoch) in self.by_slot.iter_mut().zip(epochs) {
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

/// The epoch that was so many before another.
const fn before(now: u8, age: u8) -> u8 {
    if now >= age {
        now - age
    } else {
        EPOCHS - age + now
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

    /// Uses tokens as a record does. Returns their mark.
    fn give(clocks: &mut Clocks, before: Mark, tokens: f64) -> Mark {
        let mark = clocks.mark(SLOT);
        clocks.use_now(SLOT, before, tokens);
        clocks.settle(SLOT);
        mark
    }

    #[test]
    fn credit_lapses_when_other_tokens_fill_the_cache() {
        let mut clocks = clocks(Some(800.0));
        let mark = give(&mut clocks, Mark::NONE, 100.0);
        for _ in 0..7 {
            assert!(clocks.counts(3, mark));
            give(&mut clocks, Mark::NONE, 100.0);
        }
        assert!(clocks.counts(3, mark), "it fits exactly");
        give(&mut clocks, Mark::NONE, 100.0);
        assert!(!clocks.counts(3, mark));
        assert!(clocks.counts(3, clocks.mark(SLOT)));
    }

    #[test]
    fn what_is_used_again_pushes_out_only_what_is_older() {
        let mut clocks = clocks(Some(800.0));
        let old = give(&mut clocks, Mark::NONE, 100.0);
        let mut hot = give(&mut clocks, Mark::NONE, 600.0);
        for _ in 0..20 {
            hot = give(&mut clocks, hot, 600.0);
        }
        assert!(clocks.counts(3, old), "700 tokens fit, however often");
        assert!((clocks.age(SLOT, old) - 650.0).abs() < 1.0);
        give(&mut clocks, Mark::NONE, 200.0);
        assert!(!clocks.counts(3, old) && clocks.counts(3, hot));
    }

    #[test]
    fn an_age_is_right_within_half_an_epoch() {
        let mut clocks = clocks(Some(800.0));
        give(&mut clocks, Mark::NONE, 30.0);
        let mark = give(&mut clocks, Mark::NONE, 70.0);
        for step in 1..8 {
            give(&mut clocks, Mark::NONE, 100.0);
            assert!((clocks.age(SLOT, mark) - f64::from(step) * 100.0).abs() <= 50.0);
        }
    }

    #[test]
    fn little_lapses_where_the_capacity_is_not_known_and_ages_are_fine() {
        let mut clocks = clocks(None);
        let mark = give(&mut clocks, Mark::NONE, 1_000.0);
        give(&mut clocks, Mark::NONE, 100_000.0);
        assert!((clocks.age(SLOT, mark) / 100_000.0 - 1.0).abs() < 0.6);
        for _ in 0..39 {
            give(&mut clocks, Mark::NONE, 100_000.0);
            let begun = clocks.epochs();
            clocks.swept(&begun);
        }
        assert!((clocks.age(SLOT, mark) / 4_000_000.0 - 1.0).abs() < 0.02);
        assert!(clocks.counts(3, mark));
        for _ in 0..3 {
            give(&mut clocks, Mark::NONE, 100_000.0);
        }
        assert!(!clocks.counts(3, mark));
    }

    #[test]
    fn a_clock_waits_for_the_sweep() {
        let mut clocks = clocks(Some(8.0));
        let mark = clocks.mark(SLOT);
        for _ in 0..1_000 {
            give(&mut clocks, Mark::NONE, 1e6);
        }
        assert!(!clocks.counts(3, mark), "an old mark is never young again");
        assert!(clocks.want_sweep() && clocks.waits(SLOT));
        let begun = clocks.epochs();
        clocks.swept(&begun);
        give(&mut clocks, Mark::NONE, 1.0);
        assert!(!clocks.waits(SLOT));
    }

    #[test]
    fn what_was_not_used_is_taken_back() {
        let mut clocks = clocks(Some(800.0));
        let mark = give(&mut clocks, Mark::NONE, 60.0);
        clocks.take_back(SLOT, mark, 60.0);
        clocks.take_back(SLOT, mark, 60.0);
        clocks.take_back(SLOT, Mark::NONE, 60.0);
        assert_eq!(give(&mut clocks, Mark::NONE, 99.0), mark);
        let lost = give(&mut clocks, Mark::NONE, 900.0);
        assert_ne!(clocks.mark(SLOT), lost);
        clocks.take_back(SLOT, lost, 900.0);
        assert!(clocks.counts(3, mark), "its epoch had ended");
    }

    #[test]
    fn a_larger_capacity_gives_credit_back() {
        let mut clocks = clocks(Some(800.0));
        assert!(!clocks.is_full(SLOT));
        let mark = give(&mut clocks, Mark::NONE, 100.0);
        for _ in 0..9 {
            give(&mut clocks, Mark::NONE, 100.0);
        }
        assert!(!clocks.counts(3, mark) && clocks.is_full(SLOT));
        clocks.set_capacity(SLOT, Some(1_600.0));
        assert!(clocks.counts(3, mark) && !clocks.is_full(SLOT));
    }
}
