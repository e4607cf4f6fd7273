//! What others told: chains of blocks, found by any block in them.
//!
//! A chain that was told in parts is kept in parts, each with the place of the block before it. There are two
//! generations, of which the older is dropped when the newer is full; a chain that is used out of the older one is
//! copied into the newer.

use rustc_hash::FxHashMap;

/// Bytes of a block at the most: 8 in its part, 39 in the index right after it has grown, and a part of its own.
const BLOCK: usize = 56;

#[derive(Debug, Default)]
pub(crate) struct Chains {
    recent: Generation,
    before: Generation,
    /// Blocks of a generation.
    limit: usize,
}

#[derive(Debug, Default)]
struct Generation {
    blocks: Vec<u64>,
    parts: Vec<Part>,
    /// The place of a block.
    index: FxHashMap<u64, u32>,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    /// Place of the first block.
    start: u32,
    /// Place of the block before it, which is always a smaller one.
    parent: Option<u32>,
}

impl Chains {
    /// Keeps to so many bytes: begins anew where that is another number than before.
    pub(crate) fn set_limit(&mut self, bytes: usize) {
        let limit = bytes / 2 / BLOCK;
        if self.limit != limit {
            *self = Self {
                limit,
                ..Self::default()
            };
        }
    }

    /// The chain that ends with a block; None where nobody told of it lately.
    pub(crate) fn chain(&mut self, last: u64) -> Option<Vec<u64>> {
        if let Some(chain) = self.recent.chain(last) {
            return Some(chain);
        }
        let chain = self.before.chain(last)?;
        self.add(None, &chain);
        Some(chain)
    }

    /// Notes blocks after a chain that ends with `parent`; None is the first of all. The chain was asked for just before.
    pub(crate) fn add(&mut self, parent: Option<u64>, blocks: &[u64]) {
        if blocks.is_empty() || blocks.len() > self.limit {
            return;
        }
        if self.recent.blocks.len() + blocks.len() > self.limit {
            let whole = parent.and_then(|parent| self.recent.chain(parent));
            self.before = std::mem::take(&mut self.recent);
            if let Some(whole) = whole.filter(|whole| whole.len() + blocks.len() <= self.limit) {
                self.recent.push(None, &whole);
            }
        }
        self.recent.push(parent, blocks);
    }
}

impl Generation {
    fn chain(&self, last: u64) -> Option<Vec<u64>> {
        let mut parts = Vec::new();
        let mut place = Some(*self.index.get(&last)?);
        while let Some(end) = place {
            let number = self.parts.partition_point(|part| part.start <= end) - 1;
            let part = self.parts[number];
            parts.push(&self.blocks[part.start as usize..=end as usize]);
            place = part.parent;
        }
        parts.reverse();
        Some(parts.concat())
    }

    /// Nothing is noted where the parent is not here.
    fn push(&mut self, parent: Option<u64>, blocks: &[u64]) {
        let place = parent.map(|parent| self.index.get(&parent).copied());
        if place == Some(None) {
            return;
        }
        let start = self.blocks.len() as u32;
        self.parts.push(Part {
            start,
            parent: place.flatten(),
        });
        self.blocks.extend_from_slice(blocks);
        self.index.extend(blocks.iter().copied().zip(start..));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chains(blocks: usize) -> Chains {
        let mut chains = Chains::default();
        chains.set_limit(2 * BLOCK * blocks);
        chains
    }

    #[test]
    fn any_block_stands_for_the_chain_up_to_it() {
        let mut chains = chains(100);
        chains.add(None, &[1, 2, 3]);
        chains.add(Some(2), &[4, 5]);
        chains.add(Some(4), &[6]);
        assert_eq!(chains.chain(3), Some(vec![1, 2, 3]));
        assert_eq!(chains.chain(6), Some(vec![1, 2, 4, 6]));
        assert_eq!(chains.chain(1), Some(vec![1]));
        assert_eq!(chains.chain(7), None);
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut chains = chains(20);
        chains.add(None, &[1, 2]);
        let mut last = 2;
        for block in 100..200 {
            assert!(chains.chain(last).is_some_and(|chain| chain[..2] == [1, 2]));
            chains.add(None, &[block, block + 1_000, block + 2_000]);
            if block % 10 == 0 && block < 180 {
                chains.chain(last);
                chains.add(Some(last), &[block + 5_000]);
                last = block + 5_000;
            }
            let kept = chains.recent.blocks.len().max(chains.before.blocks.len());
            assert!(kept <= 20);
        }
        assert_eq!(chains.chain(100), None);
        assert_eq!(chains.chain(last).map(|chain| chain.len()), Some(10));
    }

    #[test]
    fn what_is_longer_than_all_is_not_kept() {
        let mut chains = chains(10);
        chains.add(None, &[0; 11]);
        chains.add(None, &[1, 2, 3, 4, 5, 6]);
        chains.add(Some(6), &[7, 8, 9, 10, 11]);
        assert_eq!(chains.chain(11), None);
        assert_eq!(chains.chain(6).map(|chain| chain.len()), Some(6));
    }
}
