//! Reading: the descent along a chain of hashes, and the credit of every worker on it.

use super::Tree;
use super::holders::Mark;
use super::slab::NodeId;
use crate::ids::Slot;

/// Words of the widest holder set.
const MAX_WORDS: usize = Slot::LIMIT / 64;

/// One node on the way down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) id: NodeId,
    /// Leading blocks of the node that are on the way.
    pub(super) matched: usize,
    /// Whether that is the whole node.
    pub(super) whole: bool,
}

pub(super) struct Descent<'a> {
    tree: &'a Tree,
    rest: &'a [u64],
}

impl Iterator for Descent<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let first = *self.rest.first()?;
        let slab = &self.tree.slab;
        let id = self
            .tree
            .table
            .find(first, |id| slab.node(id).key() == first)?;
        let node = slab.node(id);
        let matched = node.common(self.rest);
        let whole = matched == node.hashes().len();
        self.rest = if whole { &self.rest[matched..] } else { &[] };
        Some(Step { id, matched, whole })
    }
}

impl Tree {
    pub(super) const fn descend<'a>(&'a self, hashes: &'a [u64]) -> Descent<'a> {
        Descent {
            tree: self,
            rest: hashes,
        }
    }

    /// Writes the leading blocks of `hashes` that each slot's worker has to `credit`, indexed by slot.
    ///
    /// Those that are only known from a snapshot count half, all of a worker's together and rounded down.
    pub fn matches(&self, hashes: &[u64], now: u64, credit: &mut Vec<u32>) {
        let counts = |index: usize, mark| self.clocks.counts(index, mark);
        self.matches_where(hashes, now, credit, counts);
        if self.clocks.any_unsure() {
            let mut sure = Vec::new();
            self.matches_where(hashes, now, &mut sure, |index, mark| {
                counts(index, mark) && self.clocks.is_sure(index, mark)
            });
            for (all, sure) in credit.iter_mut().zip(sure) {
                *all = sure + (*all - sure) / 2;
            }
        }
    }

    /// The same of the holders whose marks count.
    fn matches_where(
        &self,
        hashes: &[u64],
        now: u64,
        credit: &mut Vec<u32>,
        counts: impl Fn(usize, Mark) -> bool,
    ) {
        let now = self.time(now);
        let words = self.slots.words();
        credit.clear();
        credit.resize(words * 64, 0);
        let mut everybody = [u64::MAX; MAX_WORDS];
        let present = &mut everybody[..words];
        let mut nobody = [0; MAX_WORDS];
        let held = &mut nobody[..words];
        let mut depth = 0;
        for step in self.descend(hashes) {
            let stamp = self.slab.node(step.id).stamp;
            if self.is_idle(stamp, now) {
                break;
            }
            let recent_only = stamp < self.generation_start(now);
            held.fill(0);
            self.slab.holders(step.id, held, |index, mark| {
                counts(index, mark) && (mark.is_recent() || !recent_only)
            });
            let mut any = 0;
            for (index, (word, held)) in present.iter_mut().zip(&*held).enumerate() {
                // Nobody has any credit before the first node.
                if depth > 0 {
                    each_bit(*word & !held, index, |slot| credit[slot] = depth);
                }
                *word &= held;
                any |= *word;
            }
            if any == 0 {
                return;
            }
            depth += step.matched as u32;
        }
        if depth > 0 {
            for (index, &word) in present.iter().enumerate() {
                each_bit(word, index, |slot| credit[slot] = depth);
            }
        }
    }

    /// The spans of `hashes` that were recorded for a slot, from the first on, as far as they go without a gap: also
    /// those whose credit has lapsed since.
    ///
    /// None are told while the slot's clock waits for the sweep, as ages would be wrong.
    pub fn spans(&self, hashes: &[u64], slot: Slot) -> Vec<Span> {
        if self.clocks.waits(slot) {
            return Vec::new();
        }
        let mut end = 0;
        let spans = self.descend(hashes).map_while(|step| {
            let mark = self.slab.mark(step.id, slot);
            end += step.matched as u32;
            (mark != Mark::NONE).then(|| Span {
                end,
                age: self.clocks.age(slot, mark),
                sure: self.clocks.is_sure(slot.index(), mark)
                    || !self.clocks.counts(slot.index(), mark),
            })
        });
        spans.collect()
    }

    /// Takes back a record of the blocks from `from` on, of so many tokens, which `slot` has not got after all.
    pub fn take_back(&mut self, hashes: &[u64], from: usize, slot: Slot, tokens: f64) {
        let mut start = 0;
        let mut path = Vec::new();
        for step in self.descend(hashes) {
            if start >= from {
                path.push(step.id);
            }
            start += step.matched;
        }
        if let Some(&last) = path.last() {
            self.clocks
                .take_back(slot, self.slab.mark(last, slot), tokens);
        }
        for id in path {
            self.slab
                .retain(id, |other, mark| (other != slot).then_some(mark));
        }
    }
}

/// Blocks that were recorded for a slot together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Blocks from the beginning of the prompt to the end of the span.
    pub end: u32,
    /// Tokens that the worker has used since the last record, within half an epoch of its clock.
    pub age: f64,
    /// Whether it does not only count because a snapshot says so.
    pub sure: bool,
}

fn each_bit(mut word: u64, index: usize, mut visit: impl FnMut(usize)) {
    while word != 0 {
        visit(index * 64 + word.trailing_zeros() as usize);
        word &= word - 1;
    }
}
