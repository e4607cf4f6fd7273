//! Reading: the descent along a chain of hashes, and the credit of every worker on it.

use super::Tree;
use super::slab::{Holders, NodeId};
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
    pub fn matches(&self, hashes: &[u64], now: u64, credit: &mut Vec<u32>) {
        let now = now.max(self.clock);
        let words = self.slots.words();
        credit.clear();
        credit.resize(words * 64, 0);
        let mut everybody = [u64::MAX; MAX_WORDS];
        let present = &mut everybody[..words];
        let mut depth = 0;
        for step in self.descend(hashes) {
            let stamp = self.slab.node(step.id).stamp;
            if self.is_idle(stamp, now) {
                break;
            }
            let holders = self.slab.holders(step.id);
            let recent_only = stamp < self.generation_start(now);
            let any = narrow(present, holders, recent_only, |index, lost| {
                // Nobody has any credit before the first node.
                if depth > 0 {
                    each_bit(lost, index, |slot| credit[slot] = depth);
                }
            });
            if !any {
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
}

/// Leaves only a node's holders in `present`; `lost` gets each word of the others. Returns whether anybody is left.
fn narrow(
    present: &mut [u64],
    holders: Holders<'_>,
    recent_only: bool,
    mut lost: impl FnMut(usize, u64),
) -> bool {
    let mut any = 0;
    for (index, word) in present.iter_mut().enumerate() {
        let recent = holders.recent.get(index).copied().unwrap_or(0);
        let before = holders.before.get(index).copied().unwrap_or(0);
        let held = if recent_only { recent } else { recent | before };
        lost(index, *word & !held);
        *word &= held;
        any |= *word;
    }
    any != 0
}

fn each_bit(mut word: u64, index: usize, mut visit: impl FnMut(usize)) {
    while word != 0 {
        visit(index * 64 + word.trailing_zeros() as usize);
        word &= word - 1;
    }
}
