//! Worker slots and the sweep that makes a retired one fit for use again.
//!
//! A sweep runs down the slab from its end. Nodes move only from the end into a hole, so an unswept node never
//! gets behind the cursor; a node split off an unswept one is freed of swept slots as it is made.

use crate::ids::Slot;

use super::Tree;
use super::slab::{NodeId, Slab};

#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Slots ever handed out.
    issued: u16,
    free: Vec<Slot>,
    /// Waiting for the next sweep.
    retired: Vec<Slot>,
    /// Being cleared by the sweep under way; empty between sweeps.
    swept: Vec<Slot>,
    /// Nodes that the sweep has yet to visit.
    left: usize,
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

    /// Takes the slots of the sweep under way out of a node's holders.
    pub(super) fn clear_swept(&self, slab: &mut Slab, id: NodeId) {
        let (recent, before) = slab.holders_mut(id);
        let words = recent.len();
        for slot in self.swept.iter().filter(|slot| slot.word() < words) {
            recent[slot.word()] &= !slot.bit();
            before[slot.word()] &= !slot.bit();
        }
    }
}

impl Tree {
    /// Goes on with clearing retired slots, over at most `limit` nodes.
    pub(super) fn sweep(&mut self, limit: usize) {
        if self.slots.swept.is_empty() {
            if self.slots.retired.is_empty() {
                return;
            }
            self.slots.swept = std::mem::take(&mut self.slots.retired);
            self.slots.left = self.slab.len();
        }
        let top = self.slots.left.min(self.slab.len());
        let bottom = top.saturating_sub(limit);
        for id in bottom..top {
            self.slots.clear_swept(&mut self.slab, id as NodeId);
        }
        self.slots.left = bottom;
        if bottom == 0 {
            self.slots.free.append(&mut self.slots.swept);
        }
    }
}
