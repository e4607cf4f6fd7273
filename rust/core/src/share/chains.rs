//! What others told: chains of blocks, found by those in them that can be gone on from.
//!
//! A chain that was told in parts is kept in parts, each with the place of the block before it. There are two
//! generations, of which the older is dropped when the newer is full; a chain that is used out of the older one is
//! copied into the newer.

use rustc_hash::FxHashMap;

use super::landmarks;

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

    /// The chain that ends with a block, into `chain`; false where nobody told of it lately.
    pub(crate) fn find(&mut self, last: u64, chain: &mut Vec<u64>) -> bool {
        chain.clear();
        if self.recent.find(last, chain) {
            return true;
        }
        if !self.before.find(last, chain) {
            return false;
        }
        self.add(None, chain, 0);
        true
    }

    /// Notes a chain of which the first `known` blocks were found just before, as those up to `parent`; None is the first
    /// of all.
    pub(crate) fn add(&mut self, parent: Option<u64>, chain: &[u64], known: usize) {
        let count = chain.len() - known;
        if count == 0 || count > self.limit {
            return;
        }
        if self.recent.blocks.len() + count <= self.limit {
            self.recent.push(parent, chain, known);
            return;
        }
        std::mem::swap(&mut self.before, &mut self.recent);
        // Its memory stays: it is wanted again at once.
        self.recent.clear();
        if chain.len() <= self.limit {
            self.recent.push(None, chain, 0);
        }
    }
}

impl Generation {
    fn clear(&mut self) {
        self.blocks.clear();
        self.parts.clear();
        self.index.clear();
    }

    fn find(&self, last: u64, chain: &mut Vec<u64>) -> bool {
        let mut place = self.index.get(&last).copied();
        let mut parts = Vec::new();
        while let Some(end) = place {
            let number = self.parts.partition_point(|part| part.start <= end) - 1;
            let part = self.parts[number];
            parts.push(&self.blocks[part.start as usize..=end as usize]);
            place = part.parent;
        }
        chain.extend(parts.iter().rev().copied().flatten());
        !parts.is_empty()
    }

    /// Nothing is noted where the parent is not here.
    fn push(&mut self, parent: Option<u64>, chain: &[u64], known: usize) {
        let place = parent.map(|parent| self.index.get(&parent).copied());
        if place == Some(None) {
            return;
        }
        let start = self.blocks.len() as u32;
        self.parts.push(Part {
            start,
            parent: place.flatten(),
        });
        self.blocks.extend_from_slice(&chain[known..]);
        let landmarks = landmarks(chain, known);
        self.index
            .extend(landmarks.map(|(place, hash)| (hash, start + (place - known) as u32)));
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

    fn found(chains: &mut Chains, last: u64) -> Option<Vec<u64>> {
        let mut chain = Vec::new();
        chains.find(last, &mut chain).then_some(chain)
    }

    /// As whoever hears of blocks behind others.
    fn add(chains: &mut Chains, parent: Option<u64>, blocks: &[u64]) {
        let mut chain = parent.map_or_else(Vec::new, |parent| found(chains, parent).unwrap());
        let known = chain.len();
        chain.extend(blocks);
        chains.add(parent, &chain, known);
    }

    #[test]
    fn an_end_and_each_eighth_block_stand_for_the_chain_up_to_them() {
        let mut chains = chains(100);
        let first: Vec<u64> = (1..=20).collect();
        add(&mut chains, None, &first);
        add(&mut chains, Some(16), &[21, 22]);
        add(&mut chains, Some(22), &[23]);
        let upto = |count: u64| Some((1..=count).collect::<Vec<_>>());
        assert_eq!(found(&mut chains, 8), upto(8));
        assert_eq!(found(&mut chains, 20), upto(20));
        let branch = [&first[..16], &[21, 22, 23]].concat();
        assert_eq!(found(&mut chains, 23), Some(branch.clone()));
        assert_eq!(found(&mut chains, 22), Some(branch[..18].to_vec()));
        for last in [1, 7, 19, 21, 99] {
            assert_eq!(found(&mut chains, last), None, "{last}");
        }
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut chains = chains(20);
        add(&mut chains, None, &[1, 2]);
        let mut last = 2;
        for block in 100..200 {
            assert!(found(&mut chains, last).is_some_and(|chain| chain[..2] == [1, 2]));
            add(&mut chains, None, &[block, block + 1_000, block + 2_000]);
            if block % 10 == 0 && block < 180 {
                add(&mut chains, Some(last), &[block + 5_000]);
                last = block + 5_000;
            }
            let kept = chains.recent.blocks.len().max(chains.before.blocks.len());
            assert!(kept <= 20);
        }
        assert_eq!(found(&mut chains, 2_100), None);
        assert_eq!(found(&mut chains, last).map(|chain| chain.len()), Some(10));
    }

    #[test]
    fn what_is_longer_than_all_is_not_kept() {
        let mut chains = chains(10);
        add(&mut chains, None, &[0; 11]);
        add(&mut chains, None, &[1, 2, 3, 4, 5, 6]);
        add(&mut chains, Some(6), &[7, 8, 9, 10, 11]);
        assert_eq!(found(&mut chains, 11), None);
        assert_eq!(found(&mut chains, 6).map(|chain| chain.len()), Some(6));
    }
}
