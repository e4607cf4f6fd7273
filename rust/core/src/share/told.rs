//! Which blocks this router has told lately.
//!
//! Where a block is known, all before it are: a chain is always told up to its end. So how much of a chain is known is
//! found by halving.

use rustc_hash::FxHashSet;

/// Bytes of a block in the set at the most, right after it has grown.
const BLOCK: usize = 21;

#[derive(Debug, Default)]
pub(crate) struct Told {
    blocks: FxHashSet<u64>,
    /// Bytes of batches since the beginning.
    bytes: usize,
    limit: usize,
}

impl Told {
    /// Begins anew, within so many bytes.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        *self = Self {
            limit,
            ..Self::default()
        };
    }

    /// Leading blocks of a chain that were told.
    pub(crate) fn known(&self, hashes: &[u64]) -> usize {
        hashes.partition_point(|hash| self.blocks.contains(hash))
    }

    /// Notes a chain that was told in so many bytes. What is full is empty then.
    pub(crate) fn note(&mut self, hashes: &[u64], known: usize, bytes: usize) {
        self.blocks.extend(&hashes[known..]);
        self.bytes += bytes;
        if self.blocks.len() * BLOCK > self.limit || self.bytes > self.limit {
            self.set_limit(self.limit);
        }
    }
}
