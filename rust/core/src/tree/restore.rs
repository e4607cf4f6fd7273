//! Filling an empty tree from a copy of another one.
//!
//! What a copy has may not fit together: a node that changed while it was copied is there in two forms, and nothing at all
//! is to be trusted that a file says. So of every edge only the first run of hashes is taken that no other has; all
//! edges are then apart from each other, as those of a tree that grew are.

use std::collections::HashSet;

use super::Tree;
use super::clocks::LONGEST;
use super::slab::{EDGE, NodeId};
use crate::ids::Slot;

/// Tokens that a worker used, by the age in epochs of their last use.
pub type History = [f32; LONGEST as usize];

/// One edge of a copy.
#[derive(Debug, Clone, Copy)]
pub struct EdgeImage<'a> {
    /// Time of the last record, by the clock of the tree that was copied.
    pub stamp: u64,
    /// (index of the slot, mark) of each holder, 3 bytes each as [`Tree::copy_more`] writes them.
    pub holders: &'a [u8],
    /// Its hashes, 8 bytes each.
    pub hashes: &'a [u8],
}

impl Tree {
    /// Takes over the clock of a tree that was copied at `clock`, so many milliseconds ago. Returns whether the tree is
    /// empty, and may be filled.
    pub fn go_on(&mut self, clock: u64, away: u64, now: u64) -> bool {
        if self.slab.len() > 0 || self.clocks.any_unsure() {
            return false;
        }
        let clock = clock.saturating_add(away);
        self.offset = clock.saturating_sub(now);
        self.advance(now);
        self.sure_from = self.clock.saturating_add(2 * self.idle_limit);
        true
    }

    /// A slot for a worker that the copy knows. What is restored of it counts half, until it is trusted.
    pub fn expect(&mut self, history: &History) -> Option<Slot> {
        let slot = self.assign()?;
        self.clocks.go_on(slot, history);
        Some(slot)
    }

    /// Takes edges, from the newest to the one recorded longest ago, as long as there is room. `slots` are by the indices
    /// that the copy has for them. Returns the blocks taken.
    ///
    /// Does nothing unless [`Tree::go_on`] said that it may.
    pub fn restore<'a>(
        &mut self,
        edges: impl Iterator<Item = EdgeImage<'a>>,
        slots: &[Option<Slot>],
    ) -> u64 {
        let mut seen = HashSet::new();
        let mut stamp = self.clock;
        for edge in edges {
            if self.bytes() + self.slab.growth() > self.capacity {
                break;
            }
            // In the order of the list, whatever is said.
            stamp = stamp.min(edge.stamp);
            if self.is_idle(stamp, self.clock) {
                break;
            }
            self.restore_edge(edge, stamp, slots, &mut seen);
        }
        self.keep_to_capacity();
        self.blocks
    }

    fn restore_edge(
        &mut self,
        edge: EdgeImage<'_>,
        stamp: u64,
        slots: &[Option<Slot>],
        seen: &mut HashSet<u64>,
    ) {
        let (chunks, _) = edge.hashes.as_chunks::<8>();
        let hashes = chunks.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let fresh: Vec<u64> = hashes
            .skip_while(|hash| seen.contains(hash))
            .take(EDGE)
            .collect();
        let apart = fresh.iter().take_while(|hash| seen.insert(**hash)).count();
        let fresh = &fresh[..apart];
        let Some(&first) = fresh.first() else {
            return;
        };
        let id = self.slab.push(fresh, stamp);
        self.slab.link_behind(self.slab.oldest, id);
        self.table.insert(first, id);
        self.blocks += fresh.len() as u64;
        self.restore_holders(id, edge.holders, slots);
    }

    fn restore_holders(&mut self, id: NodeId, holders: &[u8], slots: &[Option<Slot>]) {
        let width = self.slots.words() * 64;
        let (chunks, _) = holders.as_chunks::<3>();
        for &[low, high, mark] in chunks {
            let index = usize::from(u16::from_le_bytes([low, high]));
            let Some(slot) = slots.get(index).copied().flatten() else {
                continue;
            };
            if let Some(mark) = self.clocks.mark_before(slot, mark & 0x7F, mark & 0x80 != 0) {
                self.slab.hold(id, slot, mark, width);
            }
        }
    }
}
