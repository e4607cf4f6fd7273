//! Giving memory back: blocks too old, and the least recently recorded ones when space is short.

use super::Tree;
use super::slab::{CHUNK, NIL, NodeId};

/// Nodes that one call of [`Tree::expire`] drops at most: well under 1 ms, also when none of them is in a cache.
const EXPIRE_STEP: usize = 256;

/// Nodes that one call of [`Tree::expire`] sweeps at most.
const SWEEP_STEP: usize = 2_048;

/// What a call of [`Tree::expire`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// Blocks dropped.
    pub blocks: u64,
    /// Whether there is more to do at once.
    pub more: bool,
}

impl Tree {
    /// Drops blocks idle for the limit and goes on with clearing what has lapsed; a bounded part per call.
    pub fn expire(&mut self, now: u64) -> Expired {
        self.advance(now);
        if self.clocks.any_unsure() && self.clock >= self.sure_from {
            self.clocks.trust_all();
        }
        let before = self.expired;
        for _ in 0..EXPIRE_STEP {
            if !self.last_is_idle() {
                break;
            }
            self.expired += self.drop_last();
        }
        let sweeping = self.sweep(SWEEP_STEP);
        Expired {
            blocks: self.expired - before,
            more: sweeping || self.last_is_idle(),
        }
    }

    /// A place for a new node, outside list and table: that of an idle node, else new, else that of the node
    /// recorded longest ago; never that of `keep`. None when only `keep` is left.
    pub(super) fn claim(&mut self, hashes: &[u64], stamp: u64, keep: NodeId) -> Option<NodeId> {
        let last = self.slab.oldest;
        let idle = self.last_is_idle();
        let growth = self.slab.growth();
        if (!idle || last == keep) && self.bytes() + growth <= self.capacity {
            return Some(self.slab.push(hashes, stamp));
        }
        if last == NIL || last == keep {
            return None;
        }
        let blocks = self.unlist(last);
        if idle {
            self.expired += blocks;
        } else {
            self.evicted += blocks;
        }
        self.slab.replace(last, hashes, stamp);
        Some(last)
    }

    /// Gives chunks back until the tree is within its capacity again.
    pub(super) fn keep_to_capacity(&mut self) {
        while self.bytes() > self.capacity && self.slab.len() > CHUNK {
            let surplus = (self.slab.len() - 1) % CHUNK + 1;
            for _ in 0..surplus {
                self.evicted += self.drop_last();
            }
        }
    }

    fn last_is_idle(&self) -> bool {
        let last = self.slab.oldest;
        last != NIL && self.is_idle(self.slab.node(last).stamp, self.clock)
    }

    /// Drops the node recorded longest ago and fills its place. Returns its blocks.
    fn drop_last(&mut self) -> u64 {
        let hole = self.slab.oldest;
        if hole == NIL {
            return 0;
        }
        let lost = self.unlist(hole);
        let end = (self.slab.len() - 1) as NodeId;
        if hole != end {
            let key = self.slab.node(end).key();
            self.slab.relocate(end, hole);
            self.table.relocate(key, end, hole);
        }
        self.slab.pop();
        lost
    }

    /// Takes a node out of list and table. Returns its blocks.
    fn unlist(&mut self, id: NodeId) -> u64 {
        let node = self.slab.node(id);
        let (key, lost) = (node.key(), node.hashes().len() as u64);
        self.slab.unlink(id);
        self.slab.clear_holders(id);
        self.table.remove(key, id);
        self.blocks -= lost;
        lost
    }
}
