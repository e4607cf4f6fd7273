//! Copying the tree piece by piece, with its lock let go in between.
//!
//! A copy goes along the list from the node recorded longest ago to the newest. What changes the list meanwhile takes the
//! copy's place in it along: a node that is dropped or moves is stepped over, one that is recorded moves to the front and
//! is met there, whether it was copied before or not. So a node may be copied twice, in two forms, and the later form is the
//! right one; none is left out but what was split off behind the copy, and of that the form before is there.
//! [`super::restore`] reads a copy from its end for that reason.
//!
//! Of holders only those are copied that count, and of very large trees only what was recorded last: never a node without
//! those above it, which nobody would find.

use super::Tree;
use super::slab::NIL;

/// Bytes after which a piece is full.
const PIECE_BYTES: usize = 64 << 10;
/// Nodes in a piece at the most: about a tenth of a millisecond.
const PIECE_NODES: usize = 512;
/// Nodes by which more than twice those of the beginning may be met.
const GROWTH: usize = 65_536;
/// Nodes that are stepped over at a time.
const SKIP_NODES: usize = 2_048;
/// Blocks that are copied at the most.
const MAX_BLOCKS: u64 = 2_000_000;

/// A copy under way.
#[derive(Debug)]
pub struct TreeCopy {
    /// See [`Tree::copies`].
    number: u64,
    /// Blocks to be stepped over, as there are too many.
    pub(super) surplus: u64,
    /// Nodes in a piece at the most.
    pub(super) piece: usize,
    /// Nodes that may still come: who records faster than this copies must not have it go on for ever.
    left: usize,
}

impl Tree {
    /// Begins a copy. Another one that is under way ends without an end.
    pub fn begin_copy(&mut self) -> TreeCopy {
        self.copies += 1;
        self.slab.cursor = self.slab.oldest;
        TreeCopy {
            number: self.copies,
            surplus: self.blocks.saturating_sub(MAX_BLOCKS),
            piece: PIECE_NODES,
            left: 2 * self.slab.len() + GROWTH,
        }
    }

    /// Appends a piece to `bytes`, an edge after the other. Returns whether there is more; None where nothing comes of
    /// it: another copy has begun since, or the tree changes faster than it is copied.
    ///
    /// An edge is: its hashes' number (u8), its holders' number (u16), the time of the last record (u64), for each holder
    /// the index of its slot (u16) and its mark (the epochs since, in the uppermost bit whether it is of the node's
    /// generation), and the hashes (u64). All of it is little-endian.
    pub fn copy_more(&mut self, copy: &mut TreeCopy, bytes: &mut Vec<u8>) -> Option<bool> {
        if copy.number != self.copies || copy.left == 0 {
            return None;
        }
        let full = bytes.len() + PIECE_BYTES;
        let nodes = if copy.surplus > 0 {
            SKIP_NODES
        } else {
            copy.piece
        };
        for _ in 0..nodes {
            let id = self.slab.cursor;
            if id == NIL || copy.left == 0 || bytes.len() >= full {
                break;
            }
            copy.left -= 1;
            let blocks = self.slab.node(id).hashes().len() as u64;
            self.slab.cursor = self.slab.node(id).newer;
            if copy.surplus > 0 {
                copy.surplus = copy.surplus.saturating_sub(blocks);
            } else {
                self.copy_node(id, bytes);
            }
        }
        Some(self.slab.cursor != NIL)
    }

    fn copy_node(&self, id: super::slab::NodeId, bytes: &mut Vec<u8>) {
        let node = self.slab.node(id);
        if self.is_idle(node.stamp, self.clock) {
            return;
        }
        let begin = bytes.len();
        bytes.push(node.hashes().len() as u8);
        bytes.extend([0; 2]);
        bytes.extend(node.stamp.to_le_bytes());
        let mut holders = 0_u16;
        self.slab.each_holder(id, |slot, mark| {
            if self.clocks.counts(slot.index(), mark) {
                holders += 1;
                bytes.extend((slot.index() as u16).to_le_bytes());
                let age = self.clocks.epochs_since(slot, mark);
                bytes.push(age | u8::from(mark.is_recent()) << 7);
            }
        });
        bytes[begin + 1..begin + 3].copy_from_slice(&holders.to_le_bytes());
        for hash in node.hashes() {
            bytes.extend(hash.to_le_bytes());
        }
    }

    /// The time by the tree's clock, which goes on over a restart.
    pub const fn clock(&self) -> u64 {
        self.clock
    }

    /// What a worker used, for [`Tree::expect`].
    pub fn history(&self, slot: crate::ids::Slot) -> super::History {
        self.clocks.history(slot)
    }
}
