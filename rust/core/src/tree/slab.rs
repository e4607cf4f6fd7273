//! Nodes in chunks of fixed size, dense: ids are `0..len`. Their holders: [`super::holders`].

use super::holders::{Few, Rows};

/// Block hashes in one node at most.
pub(super) const EDGE: usize = 32;

/// Nodes in one chunk; also the unit in which memory is taken and given back.
pub(super) const CHUNK: usize = 256;

/// A node's place in the slab; changes when the node is moved.
pub(super) type NodeId = u32;

/// No node.
pub(super) const NIL: NodeId = NodeId::MAX;

/// One edge of the tree.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Time of the last record, in milliseconds.
    pub(super) stamp: u64,
    /// Neighbours in the list by last record.
    pub(super) newer: NodeId,
    pub(super) older: NodeId,
    /// The row of its holders; [`NIL`] while they are few.
    pub(super) row: u32,
    pub(super) few: Few,
    /// Hashes in use, 1 to [`EDGE`].
    len: u8,
    hashes: [u64; EDGE],
}

impl Node {
    fn new(hashes: &[u64], stamp: u64) -> Self {
        let mut edge = [0; EDGE];
        edge[..hashes.len()].copy_from_slice(hashes);
        Self {
            stamp,
            newer: NIL,
            older: NIL,
            row: NIL,
            few: Few::NONE,
            len: hashes.len() as u8,
            hashes: edge,
        }
    }

    pub(super) fn hashes(&self) -> &[u64] {
        &self.hashes[..usize::from(self.len)]
    }

    /// The hash that names the node in the table.
    pub(super) const fn key(&self) -> u64 {
        self.hashes[0]
    }

    /// Leading hashes shared with `wanted`.
    pub(super) fn common(&self, wanted: &[u64]) -> usize {
        let own = self.hashes();
        let reach = own.len().min(wanted.len());
        // Chained: where the last pair is equal, all before it are.
        if own[..reach].last() == wanted[..reach].last() {
            return reach;
        }
        own.iter().zip(wanted).take_while(|(a, b)| a == b).count()
    }

    pub(super) const fn truncate(&mut self, len: usize) {
        self.len = len as u8;
    }
}

#[derive(Debug)]
pub(super) struct Slab {
    chunks: Vec<Vec<Node>>,
    pub(super) rows: Rows,
    /// Ends of the list by last record; [`NIL`] while it is empty.
    pub(super) newest: NodeId,
    pub(super) oldest: NodeId,
    /// The node that a copy comes to next (see [`super::copy`]); [`NIL`] without one.
    pub(super) cursor: NodeId,
}

/// Bytes of a chunk.
const CHUNK_BYTES: usize = size_of::<Vec<Node>>() + CHUNK * size_of::<Node>();

impl Slab {
    pub(super) fn new() -> Self {
        Self {
            chunks: Vec::new(),
            rows: Rows::default(),
            newest: NIL,
            oldest: NIL,
            cursor: NIL,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.chunks
            .last()
            .map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    pub(super) const fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK_BYTES + self.rows.bytes()
    }

    /// Bytes that one more node would add.
    pub(super) fn growth(&self) -> usize {
        if self.len() < self.chunks.len() * CHUNK {
            0
        } else {
            CHUNK_BYTES
        }
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    /// Adds a node without holders, outside the list.
    pub(super) fn push(&mut self, hashes: &[u64], stamp: u64) -> NodeId {
        if self.len() == self.chunks.len() * CHUNK {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let id = self.len() as NodeId;
        if let Some(last) = self.chunks.last_mut() {
            last.push(Node::new(hashes, stamp));
        }
        id
    }

    /// Puts another node, without holders and outside the list, in the place of `id`.
    pub(super) fn replace(&mut self, id: NodeId, hashes: &[u64], stamp: u64) {
        self.clear_holders(id);
        *self.node_mut(id) = Node::new(hashes, stamp);
    }

    /// Moves a node with its holders to the place `to`, whose node has none; `from` is then a hole.
    pub(super) fn move_node(&mut self, from: NodeId, to: NodeId) {
        let node = self.node(from).clone();
        self.node_mut(from).row = NIL;
        *self.node_mut(to) = node;
    }

    /// Removes the last node, which must be outside the list and have no holders; an empty chunk is given back.
    pub(super) fn pop(&mut self) {
        let Some(last) = self.chunks.last_mut() else {
            return;
        };
        last.pop();
        if last.is_empty() {
            self.chunks.pop();
        }
    }
}
