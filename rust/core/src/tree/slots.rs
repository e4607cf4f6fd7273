//! Worker slots, and the sweep that drops holders that do not count any more: those of retired slots, which are fit for
//! use again after it, and those whose credit has lapsed by volume.
//!
//! A sweep runs down the slab from its end. Nodes move only from the end into a hole, so an unswept node never
//! gets behind the cursor; a node split off an unswept one is freed of swept slots as it is made.

use crate::ids::Slot;

use super::Tree;
use super::slab::NodeId;

#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Slots ever handed out.
    issued: u16,
    free: Vec<Slot>,
    /// Waiting for the next sweep.
    retired: Vec<Slot>,
    /// Being cleared by the sweep under way.
    swept: Vec<Slot>,
    /// Nodes that the sweep has yet to visit.
    left: usize,
    /// Epochs of the volume clocks when the sweep under way began; None between sweeps.
    begun: Option<Vec<u8>>,
}

impl Slots {
    pub(super) fn assign(&mut self) -> Option<Slot> {
        self.free.pop().or_else(|| {
            let slot = Slot::new(self.issued);
            (slot.index() < Slot::LIMIT).then(|| {
                self.issued += 1;
                slot
            })
        })
    }

    pub(super) fn retire(&mut self, slot: Slot) {
        self.retired.push(slot);
    }

    /// Words of a holder set that has room for every slot handed out, a power of two.
    pub(super) fn words(&self) -> usize {
        usize::from(self.issued)
            .div_ceil(64)
            .max(1)
            .next_power_of_two()
    }
}

impl Tree {
    /// Goes on with a sweep, over at most `limit` nodes. Returns whether it is under way still.
    pub(super) fn sweep(&mut self, limit: usize) -> bool {
        if self.slots.begun.is_none() {
            if self.slots.retired.is_empty() && !self.clocks.want_sweep() {
                return false;
            }
            self.slots.swept = std::mem::take(&mut self.slots.retired);
            self.slots.begun = Some(self.clocks.epochs());
            self.slots.left = self.slab.len();
        }
        let top = self.slots.left.min(self.slab.len());
        let bottom = top.saturating_sub(limit);
        for id in bottom..top {
            self.sweep_node(id as NodeId);
        }
        self.slots.left = bottom;
        if bottom > 0 {
            return true;
        }
        self.slots.free.append(&mut self.slots.swept);
        if let Some(begun) = self.slots.begun.take() {
            self.clocks.swept(&begun);
        }
        false
    }

    /// Drops a node's holders that do not count any more.
    pub(super) fn sweep_node(&mut self, id: NodeId) {
        let (slots, clocks) = (&self.slots, &self.clocks);
        self.slab.retain(id, |slot, mark| {
            let counts = !slots.swept.contains(&slot) && clocks.counts(slot.index(), mark);
            counts.then_some(mark)
        });
    }
}
