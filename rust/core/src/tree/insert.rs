//! Writing: a prompt's chain is recorded for the worker that got it.

use super::Tree;
use super::holders::Mark;
use super::slab::{EDGE, NIL, NodeId};
use super::walk::Step;
use crate::ids::Slot;

/// Nodes that a record sweeps where its worker's clock waits for that: too few to be felt.
const SWEEP_STEP: usize = 128;

impl Tree {
    /// Notes that the worker of `slot` has the blocks of `hashes`, which are a chain as [`crate::hash`] makes it, of a
    /// prompt of so many `tokens`.
    ///
    /// A chain longer than the whole capacity is noted as far as there is room.
    pub fn record(&mut self, hashes: &[u64], slot: Slot, tokens: f64, now: u64) {
        self.advance(now);
        if self.clocks.waits(slot) {
            self.sweep(SWEEP_STEP);
        }
        // What is shorter than a block is counted with the blocks.
        let each = tokens / hashes.len().max(1) as f64;
        let path: Vec<Step> = self.descend(hashes).collect();
        if let Some(last) = path.last().filter(|last| !last.whole) {
            self.split(last.id, last.matched);
        }
        for step in path.iter().rev() {
            self.slab.bring_to_front(step.id);
            let before = self.slab.mark(step.id, slot);
            let tokens = step.matched as f64 * each;
            self.clocks.use_now(slot, before, tokens);
            self.hold(step.id, slot);
        }
        let known: usize = path.iter().map(|step| step.matched).sum();
        let new = hashes.len() - known;
        let new = if hashes.is_empty() {
            tokens
        } else {
            new as f64 * each
        };
        self.clocks.use_now(slot, Mark::NONE, new);
        let mut deepest = path.last().map_or(NIL, |last| last.id);
        for edge in hashes[known..].chunks(EDGE) {
            let Some(id) = self.add(edge, self.clock, deepest, deepest) else {
                break;
            };
            self.hold(id, slot);
            deepest = id;
        }
        self.clocks.settle(slot);
        self.keep_to_capacity();
    }

    /// Cuts a node after `at` blocks; the rest becomes a node below it with the same holders.
    ///
    /// Without room for another node the rest is dropped: the node is then the last of the list, so a leaf.
    fn split(&mut self, id: NodeId, at: usize) {
        let node = self.slab.node(id);
        let stamp = node.stamp;
        let rest = node.hashes()[at..].to_vec();
        self.slab.node_mut(id).truncate(at);
        self.blocks -= rest.len() as u64;
        if let Some(below) = self.add(&rest, stamp, id, id) {
            self.slab.copy_holders(id, below);
            self.sweep_node(below);
        } else {
            self.evicted += rest.len() as u64;
        }
    }

    /// Adds a node behind `front` in the list, in free memory or in the place of any node but `keep`.
    fn add(&mut self, hashes: &[u64], stamp: u64, front: NodeId, keep: NodeId) -> Option<NodeId> {
        let id = self.claim(hashes, stamp, keep)?;
        self.slab.link_behind(front, id);
        self.table.insert(hashes[0], id);
        self.blocks += hashes.len() as u64;
        Some(id)
    }

    /// Makes `slot` a holder of a node in the present generation, and ages the others.
    fn hold(&mut self, id: NodeId, slot: Slot) {
        let now = self.clock;
        let start = self.generation_start(now);
        let stamp = std::mem::replace(&mut self.slab.node_mut(id).stamp, now);
        if now - stamp >= self.idle_limit {
            self.slab.clear_holders(id);
        } else if stamp < start {
            let clocks = &self.clocks;
            let counts = |slot: Slot, mark| clocks.counts(slot.index(), mark);
            self.slab
                .retain(id, |slot, mark| mark.aged().filter(|_| counts(slot, mark)));
        }
        let width = self.slots.words() * 64;
        self.slab.hold(id, slot, self.clocks.mark(slot), width);
    }
}
