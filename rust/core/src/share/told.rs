//! Which blocks this router has told lately, as far as others can go on from them.
//!
//! Where such a block is known, all before it are: a chain is always told up to its end. So how much of a chain is known is
//! found by halving, and by a look at the few blocks behind that.

use rustc_hash::FxHashSet;

use super::{STRIDE, landmarks};

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

    /// Leading blocks of a chain that were told, up to one that others can go on from.
    pub(crate) fn known(&self, hashes: &[u64]) -> usize {
        let strides = hashes.as_chunks::<STRIDE>().0;
        let known = strides.partition_point(|stride| self.blocks.contains(&stride[STRIDE - 1]));
        let known = known * STRIDE;
        let ends = &hashes[known..hashes.len().min(known + STRIDE - 1)];
        let end = ends.iter().rposition(|hash| self.blocks.contains(hash));
        known + end.map_or(0, |place| place + 1)
    }

    /// Notes a chain that was told in so many bytes. What is full is empty then.
    pub(crate) fn note(&mut self, hashes: &[u64], known: usize, bytes: usize) {
        self.blocks
            .extend(landmarks(hashes, known).map(|(_, hash)| hash));
        self.bytes += bytes;
        if self.blocks.len() * BLOCK > self.limit || self.bytes > self.limit {
            // Its memory stays: it is wanted again at once.
            self.blocks.clear();
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_can_go_on_from_is_known() {
        let mut told = Told::default();
        told.set_limit(1 << 20);
        let chain: Vec<u64> = (1..=100).collect();
        assert_eq!(told.known(&chain), 0);
        told.note(&chain[..21], 0, 1);
        let known = |count: usize| told.known(&chain[..count]);
        assert_eq!([7, 8, 20, 21, 22, 100].map(known), [0, 8, 16, 21, 21, 21]);
        told.note(&chain[..23], 21, 1);
        told.note(&chain, 23, 1);
        let known = |count: usize| told.known(&chain[..count]);
        assert_eq!(
            [22, 23, 30, 95, 99, 100].map(known),
            [21, 23, 24, 88, 96, 100]
        );
        told.note(&chain, 100, 2 << 20);
        assert_eq!(told.known(&chain), 0, "it begins anew");
    }
}
