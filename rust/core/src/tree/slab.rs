//! Nodes in chunks of fixed size, dense: ids are `0..len`.
//!
//! A chunk keeps the holder sets of its nodes beside them, as wide as the highest slot recorded in the chunk needs. A
//! fleet of 64 pays 16 bytes a node, one of 1,000 pays 256, and a fleet that grows widens one chunk at a time.

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
    /// Hashes in use, 1 to [`EDGE`].
    len: u32,
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
            len: hashes.len() as u32,
            hashes: edge,
        }
    }

    pub(super) fn hashes(&self) -> &[u64] {
        &self.hashes[..self.len as usize]
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
        self.len = len as u32;
    }
}

#[derive(Debug)]
struct Chunk {
    nodes: Vec<Node>,
    /// For each node `words` words of the recent generation, then as many of the one before.
    holders: Vec<u64>,
    words: usize,
}

impl Chunk {
    fn new(words: usize) -> Self {
        Self {
            nodes: Vec::with_capacity(CHUNK),
            holders: vec![0; CHUNK * 2 * words],
            words,
        }
    }

    const fn bytes(words: usize) -> usize {
        size_of::<Self>() + CHUNK * (size_of::<Node>() + 2 * words * size_of::<u64>())
    }

    fn widen(&mut self, words: usize) {
        let mut holders = vec![0; CHUNK * 2 * words];
        let sets = holders
            .chunks_exact_mut(words)
            .zip(self.holders.chunks_exact(self.words));
        for (wide, narrow) in sets {
            wide[..narrow.len()].copy_from_slice(narrow);
        }
        self.holders = holders;
        self.words = words;
    }
}

/// The two holder sets of a node, equally long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holders<'a> {
    pub(super) recent: &'a [u64],
    pub(super) before: &'a [u64],
}

#[derive(Debug)]
pub(super) struct Slab {
    chunks: Vec<Chunk>,
    bytes: usize,
    /// Ends of the list by last record; [`NIL`] while it is empty.
    pub(super) newest: NodeId,
    pub(super) oldest: NodeId,
}

impl Slab {
    pub(super) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            bytes: 0,
            newest: NIL,
            oldest: NIL,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.chunks
            .last()
            .map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.nodes.len())
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that one more node would add, its holders `words` wide.
    pub(super) fn growth(&self, words: usize) -> usize {
        if self.len() < self.chunks.len() * CHUNK {
            0
        } else {
            Chunk::bytes(words)
        }
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.chunks[id as usize / CHUNK].nodes[id as usize % CHUNK]
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.chunks[id as usize / CHUNK].nodes[id as usize % CHUNK]
    }

    /// Adds a node without holders, outside the list; a new chunk is `words` wide.
    pub(super) fn push(&mut self, hashes: &[u64], stamp: u64, words: usize) -> NodeId {
        if self.len() == self.chunks.len() * CHUNK {
            self.chunks.push(Chunk::new(words));
            self.bytes += Chunk::bytes(words);
        }
        let id = self.len() as NodeId;
        if let Some(last) = self.chunks.last_mut() {
            last.nodes.push(Node::new(hashes, stamp));
        }
        self.clear_holders(id);
        id
    }

    /// Puts another node, without holders and outside the list, in the place of `id`.
    pub(super) fn replace(&mut self, id: NodeId, hashes: &[u64], stamp: u64) {
        *self.node_mut(id) = Node::new(hashes, stamp);
        self.clear_holders(id);
    }

    /// Removes the last node, which must be outside the list; a chunk that falls empty is given back.
    pub(super) fn pop(&mut self) {
        let Some(last) = self.chunks.last_mut() else {
            return;
        };
        last.nodes.pop();
        if last.nodes.is_empty() {
            self.bytes -= Chunk::bytes(last.words);
            self.chunks.pop();
        }
    }

    pub(super) fn holders(&self, id: NodeId) -> Holders<'_> {
        let chunk = &self.chunks[id as usize / CHUNK];
        let from = id as usize % CHUNK * 2 * chunk.words;
        let (recent, before) = chunk.holders[from..from + 2 * chunk.words].split_at(chunk.words);
        Holders { recent, before }
    }

    /// The sets of [`Slab::holders`], recent and before, to change.
    pub(super) fn holders_mut(&mut self, id: NodeId) -> (&mut [u64], &mut [u64]) {
        let chunk = &mut self.chunks[id as usize / CHUNK];
        let from = id as usize % CHUNK * 2 * chunk.words;
        chunk.holders[from..from + 2 * chunk.words].split_at_mut(chunk.words)
    }

    /// Gives `to` the holders of `from`.
    pub(super) fn copy_holders(&mut self, from: NodeId, to: NodeId) {
        let Holders { recent, before } = self.holders(from);
        let (recent, before) = (recent.to_vec(), before.to_vec());
        self.widen(to, recent.len());
        let (to_recent, to_before) = self.holders_mut(to);
        to_recent.fill(0);
        to_before.fill(0);
        to_recent[..recent.len()].copy_from_slice(&recent);
        to_before[..before.len()].copy_from_slice(&before);
    }

    /// Makes the sets of a node, and with it of its chunk, at least `words` wide.
    pub(super) fn widen(&mut self, id: NodeId, words: usize) {
        let chunk = &mut self.chunks[id as usize / CHUNK];
        if chunk.words < words {
            self.bytes += Chunk::bytes(words) - Chunk::bytes(chunk.words);
            chunk.widen(words);
        }
    }

    fn clear_holders(&mut self, id: NodeId) {
        let (recent, before) = self.holders_mut(id);
        recent.fill(0);
        before.fill(0);
    }
}
