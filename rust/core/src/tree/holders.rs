//! Who holds a node, and how sure that is.
//!
//! Most nodes have few holders, which stand in the node itself: memory then does not depend on the size of the fleet. A
//! node with more, such as a system prompt that all workers have, has a row of its own, one byte for each slot.

use super::slab::{NIL, NodeId, Slab};
use crate::ids::Slot;

/// Holders in a node itself.
pub(super) const FEW: usize = 4;

/// Epochs that can be told apart; see [`super::clocks`].
pub(super) const EPOCHS: u8 = 127;

/// When a holder was recorded: the epoch of its worker's volume clock, and whether in the node's own generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u8);

impl Mark {
    const RECENT: u8 = 0x80;

    /// No holder.
    pub(super) const NONE: Self = Self(u8::MAX);

    /// Recorded now.
    pub(super) const fn new(epoch: u8) -> Self {
        Self(Self::RECENT | epoch)
    }

    pub(super) const fn epoch(self) -> u8 {
        self.0 & !Self::RECENT
    }

    /// A mark that was made so many epochs ago, as [`super::copy`] writes it; `epoch` is the one that it names now.
    pub(super) const fn old(epoch: u8, is_recent: bool) -> Self {
        Self(if is_recent {
            Self::RECENT | epoch
        } else {
            epoch
        })
    }

    pub(super) const fn is_recent(self) -> bool {
        self.0 & Self::RECENT != 0
    }

    /// The mark as the node's next generation sees it; None where that is one too many.
    pub(super) fn aged(self) -> Option<Self> {
        self.is_recent().then(|| Self(self.epoch()))
    }

    const fn is_some(self) -> bool {
        self.0 != Self::NONE.0
    }
}

/// The holders that stand in a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Few {
    slots: [Slot; FEW],
    marks: [Mark; FEW],
    len: u8,
}

impl Few {
    pub(super) const NONE: Self = Self {
        slots: [Slot::new(0); FEW],
        marks: [Mark::NONE; FEW],
        len: 0,
    };

    fn iter(&self) -> impl Iterator<Item = (Slot, Mark)> {
        let pairs = self.slots.into_iter().zip(self.marks);
        pairs.take(self.len.into())
    }

    fn push(&mut self, slot: Slot, mark: Mark) {
        let at = usize::from(self.len);
        self.slots[at] = slot;
        self.marks[at] = mark;
        self.len += 1;
    }

    fn position(&self, slot: Slot) -> Option<usize> {
        self.iter().position(|(known, _)| known == slot)
    }
}

/// The rows of nodes with many holders.
#[derive(Debug, Default)]
pub(super) struct Rows {
    marks: Vec<Box<[Mark]>>,
    free: Vec<u32>,
    bytes: usize,
}

impl Rows {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
            + self.marks.capacity() * size_of::<Box<[Mark]>>()
            + self.free.capacity() * size_of::<u32>()
    }

    fn add(&mut self, row: Box<[Mark]>) -> u32 {
        self.bytes += row.len();
        if let Some(index) = self.free.pop() {
            self.marks[index as usize] = row;
            return index;
        }
        self.marks.push(row);
        (self.marks.len() - 1) as u32
    }

    fn remove(&mut self, index: u32) {
        self.bytes -= self.marks[index as usize].len();
        self.marks[index as usize] = Box::default();
        self.free.push(index);
    }

    /// The row, at least `width` wide.
    fn widened(&mut self, index: u32, width: usize) -> &mut [Mark] {
        let row = &mut self.marks[index as usize];
        if row.len() < width {
            self.bytes += width - row.len();
            let mut wide = vec![Mark::NONE; width];
            wide[..row.len()].copy_from_slice(row);
            *row = wide.into_boxed_slice();
        }
        row
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.marks.len() - self.free.len()
    }
}

impl Slab {
    /// A holder's mark, or [`Mark::NONE`].
    pub(super) fn mark(&self, id: NodeId, slot: Slot) -> Mark {
        let node = self.node(id);
        if node.row == NIL {
            let few = &node.few;
            few.position(slot).map_or(Mark::NONE, |at| few.marks[at])
        } else {
            let row = &self.rows.marks[node.row as usize];
            row.get(slot.index()).copied().unwrap_or(Mark::NONE)
        }
    }

    /// Sets the bits of `held` for the holders whose mark `counts`; `held` is all 0 before.
    pub(super) fn holders(
        &self,
        id: NodeId,
        held: &mut [u64],
        counts: impl Fn(usize, Mark) -> bool,
    ) {
        let node = self.node(id);
        if node.row == NIL {
            for (slot, mark) in node.few.iter() {
                if counts(slot.index(), mark) {
                    held[slot.word()] |= slot.bit();
                }
            }
            return;
        }
        let row = &self.rows.marks[node.row as usize];
        for (index, (word, marks)) in held.iter_mut().zip(row.chunks(64)).enumerate() {
            for (bit, &mark) in marks.iter().enumerate() {
                let holds = mark.is_some() && counts(index * 64 + bit, mark);
                *word |= u64::from(holds) << bit;
            }
        }
    }

    /// Calls for each holder.
    pub(super) fn each_holder(&self, id: NodeId, mut visit: impl FnMut(Slot, Mark)) {
        let node = self.node(id);
        if node.row == NIL {
            for (slot, mark) in node.few.iter() {
                visit(slot, mark);
            }
            return;
        }
        let row = self.rows.marks[node.row as usize].iter();
        for (slot, &mark) in (0..).map(Slot::new).zip(row) {
            if mark.is_some() {
                visit(slot, mark);
            }
        }
    }

    /// Makes a slot a holder, or renews its mark; a row is made at least `width` wide.
    pub(super) fn hold(&mut self, id: NodeId, slot: Slot, mark: Mark, width: usize) {
        let node = self.node_mut(id);
        if node.row == NIL {
            if let Some(at) = node.few.position(slot) {
                node.few.marks[at] = mark;
                return;
            }
            if usize::from(node.few.len) < FEW {
                node.few.push(slot, mark);
                return;
            }
            let few = std::mem::replace(&mut node.few, Few::NONE);
            let mut row = vec![Mark::NONE; width];
            for (slot, mark) in few.iter() {
                row[slot.index()] = mark;
            }
            let row = self.rows.add(row.into_boxed_slice());
            self.node_mut(id).row = row;
        }
        let row = self.node(id).row;
        self.rows.widened(row, width)[slot.index()] = mark;
    }

    /// Gives each holder the mark that `keep` returns, or drops it. A row that is not needed any more is given back.
    pub(super) fn retain(&mut self, id: NodeId, mut keep: impl FnMut(Slot, Mark) -> Option<Mark>) {
        let node = self.node_mut(id);
        let mut few = Few::NONE;
        if node.row == NIL {
            for (slot, mark) in node.few.iter() {
                if let Some(mark) = keep(slot, mark) {
                    few.push(slot, mark);
                }
            }
            node.few = few;
            return;
        }
        let index = node.row;
        let row = &mut self.rows.marks[index as usize];
        let mut left = 0;
        for (slot, mark) in (0..).map(Slot::new).zip(row.iter_mut()) {
            if mark.is_some() {
                *mark = keep(slot, *mark).unwrap_or(Mark::NONE);
                if mark.is_some() {
                    left += 1;
                    if left <= FEW {
                        few.push(slot, *mark);
                    }
                }
            }
        }
        if left <= FEW {
            self.rows.remove(index);
            let node = self.node_mut(id);
            node.row = NIL;
            node.few = few;
        }
    }

    /// Drops every holder of a node.
    pub(super) fn clear_holders(&mut self, id: NodeId) {
        let row = std::mem::replace(&mut self.node_mut(id).row, NIL);
        if row != NIL {
            self.rows.remove(row);
        }
        self.node_mut(id).few = Few::NONE;
    }

    /// Gives `to`, which has none, the holders of `from`.
    pub(super) fn copy_holders(&mut self, from: NodeId, to: NodeId) {
        let (few, row) = (self.node(from).few, self.node(from).row);
        let row = if row == NIL {
            NIL
        } else {
            let copy = self.rows.marks[row as usize].clone();
            self.rows.add(copy)
        };
        let node = self.node_mut(to);
        node.few = few;
        node.row = row;
    }
}
