//! An engine's KV cache: a fixed number of blocks, shared by prefix, evicted least recently used first.
//!
//! A block is *private* while only its request knows it (a prompt's before they are computed, an answer's last),
//! *in use* while requests hold it, and *idle* when none does: still found by id, and the first to go. vLLM's rules:
//! a request gives its blocks back last first, so that the tail of a prefix goes before its root; blocks filled with
//! generated tokens stay like any other but are never asked for, because traces have no ids for them.

use rustc_hash::FxHashMap;

/// No entry of the cache: a block that is private to its request.
pub(crate) const PRIVATE: u32 = u32::MAX;
const NONE: u32 = u32::MAX;

/// Blocks, by id.
#[derive(Debug)]
pub(crate) struct Cache {
    capacity: usize,
    private: usize,
    entries: Vec<Entry>,
    vacant: Vec<u32>,
    by_id: FxHashMap<u64, u32>,
    idle: usize,
    oldest: u32,
    newest: u32,
}

#[derive(Debug)]
struct Entry {
    id: Option<u64>,
    holders: u32,
    older: u32,
    newer: u32,
}

/// What the cache has of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Leading blocks that are there.
    pub(crate) blocks: usize,
    /// Of these, the ones in use: taking them costs no space.
    pub(crate) in_use: usize,
}

impl Cache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            private: 0,
            entries: Vec::new(),
            vacant: Vec::new(),
            by_id: FxHashMap::default(),
            idle: 0,
            oldest: NONE,
            newest: NONE,
        }
    }

    pub(crate) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Takes another size. Blocks in use stay until they are given back.
    pub(crate) fn resize(&mut self, capacity: usize) {
        self.capacity = capacity;
        while self.occupied() > capacity && self.evict() {}
    }

    /// Blocks that cannot be evicted.
    pub(crate) fn in_use(&self) -> usize {
        self.occupied() - self.idle
    }

    /// Blocks that a request could get, evicting all that is idle.
    pub(crate) fn available(&self) -> usize {
        self.capacity.saturating_sub(self.in_use())
    }

    /// The leading blocks of `ids` that are there.
    pub(crate) fn find(&self, ids: &[u64]) -> Found {
        let mut in_use = 0;
        let held = ids.iter().map_while(|id| self.by_id.get(id));
        let blocks = held
            .inspect(|&&slot| in_use += usize::from(self.entries[slot as usize].holders > 0))
            .count();
        Found { blocks, in_use }
    }

    /// Holds blocks that [`Self::find`] found.
    pub(crate) fn hold(&mut self, ids: &[u64], into: &mut Vec<u32>) {
        for id in ids {
            let Some(&slot) = self.by_id.get(id) else {
                return;
            };
            if self.entries[slot as usize].holders == 0 {
                self.unlink(slot);
            }
            self.entries[slot as usize].holders += 1;
            into.push(slot);
        }
    }

    /// Makes room for `count` private blocks, evicting idle ones. Changes nothing when there is no such room.
    pub(crate) fn reserve(&mut self, count: usize, into: &mut Vec<u32>) -> bool {
        if count > self.available() {
            return false;
        }
        while self.occupied() + count > self.capacity {
            if !self.evict() {
                return false;
            }
        }
        self.private += count;
        into.extend(std::iter::repeat_n(PRIVATE, count));
        true
    }

    /// A private block is computed: others may find it from now on. Returns what its request holds instead.
    ///
    /// A second copy of a block that is there already stays private, and so is gone with its request.
    pub(crate) fn publish(&mut self, id: Option<u64>) -> u32 {
        if id.is_some_and(|id| self.by_id.contains_key(&id)) {
            return PRIVATE;
        }
        self.private -= 1;
        let entry = Entry {
            id,
            holders: 1,
            older: NONE,
            newer: NONE,
        };
        let slot = if let Some(slot) = self.vacant.pop() {
            self.entries[slot as usize] = entry;
            slot
        } else {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        };
        if let Some(id) = id {
            self.by_id.insert(id, slot);
        }
        slot
    }

    /// Holds what is there of a prompt, of which the first `usable` blocks may be, and makes room for the rest. Returns
    /// how many blocks are there; None, and nothing changed, when there is no such room.
    pub(crate) fn admit(
        &mut self,
        ids: &[u64],
        usable: usize,
        into: &mut Vec<u32>,
    ) -> Option<usize> {
        let Found { blocks, in_use } = self.find(&ids[..usable]);
        if ids.len() - in_use > self.available() {
            return None;
        }
        self.hold(&ids[..blocks], into);
        self.reserve(ids.len() - blocks, into).then_some(blocks)
    }

    /// An admitted prompt is computed, of which `found` blocks were there.
    pub(crate) fn publish_prompt(&mut self, ids: &[u64], found: usize, blocks: &mut [u32]) {
        for (block, &id) in blocks.iter_mut().zip(ids).skip(found) {
            *block = self.publish(Some(id));
        }
    }

    /// Takes a request's blocks back, the last one first.
    pub(crate) fn release(&mut self, blocks: &mut Vec<u32>) {
        while let Some(slot) = blocks.pop() {
            if slot == PRIVATE {
                self.private -= 1;
                continue;
            }
            let entry = &mut self.entries[slot as usize];
            entry.holders -= 1;
            if entry.holders == 0 {
                self.link(slot);
            }
        }
        while self.occupied() > self.capacity && self.evict() {}
    }

    fn occupied(&self) -> usize {
        self.entries.len() - self.vacant.len() + self.private
    }

    fn evict(&mut self) -> bool {
        let slot = self.oldest;
        if slot == NONE {
            return false;
        }
        self.unlink(slot);
        if let Some(id) = self.entries[slot as usize].id {
            self.by_id.remove(&id);
        }
        self.vacant.push(slot);
        true
    }

    fn link(&mut self, slot: u32) {
        let before = std::mem::replace(&mut self.newest, slot);
        let entry = &mut self.entries[slot as usize];
        entry.older = before;
        entry.newer = NONE;
        if before == NONE {
            self.oldest = slot;
        } else {
            self.entries[before as usize].newer = slot;
        }
        self.idle += 1;
    }

    fn unlink(&mut self, slot: u32) {
        let Entry { older, newer, .. } = self.entries[slot as usize];
        if older == NONE {
            self.oldest = newer;
        } else {
            self.entries[older as usize].newer = newer;
        }
        if newer == NONE {
            self.newest = older;
        } else {
            self.entries[newer as usize].older = older;
        }
        self.idle -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes a prompt and gives it back.
    fn serve(cache: &mut Cache, ids: &[u64]) {
        let mut blocks = Vec::new();
        let found = cache.admit(ids, ids.len(), &mut blocks).unwrap();
        cache.publish_prompt(ids, found, &mut blocks);
        cache.release(&mut blocks);
        assert_eq!(cache.in_use(), 0);
    }

    #[test]
    fn a_prefix_goes_tail_first() {
        let mut cache = Cache::new(4);
        serve(&mut cache, &[1, 2, 3]);
        serve(&mut cache, &[7, 8]);
        assert_eq!(cache.find(&[1, 2, 3]).blocks, 2);
        assert_eq!(cache.find(&[7, 8]).blocks, 2);
        assert_eq!(cache.find(&[2]).blocks, 1);
    }

    #[test]
    fn a_hit_makes_young() {
        let mut cache = Cache::new(3);
        serve(&mut cache, &[1]);
        serve(&mut cache, &[2]);
        serve(&mut cache, &[3]);
        serve(&mut cache, &[1]);
        serve(&mut cache, &[4]);
        assert_eq!(cache.find(&[1]).blocks, 1);
        assert_eq!(cache.find(&[2]).blocks, 0);
    }

    #[test]
    fn what_is_held_stays() {
        let mut cache = Cache::new(3);
        serve(&mut cache, &[1, 2]);
        let mut held = Vec::new();
        cache.hold(&[1], &mut held);
        let found = cache.find(&[1, 2]);
        assert_eq!((found.blocks, found.in_use), (2, 1));
        assert_eq!(cache.available(), 2);
        let mut more = Vec::new();
        assert!(!cache.reserve(3, &mut more));
        assert_eq!(cache.find(&[1, 2]).blocks, 2);
        assert!(cache.reserve(2, &mut more));
        assert_eq!(cache.find(&[1, 2]).blocks, 1);
        cache.release(&mut more);
        cache.release(&mut held);
        assert_eq!(cache.available(), 3);
    }

    #[test]
    fn a_second_copy_is_private() {
        let mut cache = Cache::new(2);
        let (mut one, mut two) = (Vec::new(), Vec::new());
        assert!(cache.reserve(1, &mut one) && cache.reserve(1, &mut two));
        one[0] = cache.publish(Some(1));
        two[0] = cache.publish(Some(1));
        assert_eq!(two[0], PRIVATE);
        assert_eq!(cache.in_use(), 2);
        cache.release(&mut two);
        cache.release(&mut one);
        assert_eq!(cache.find(&[1]).blocks, 1);
        assert_eq!(cache.in_use(), 0);
    }

    #[test]
    fn a_smaller_cache_forgets() {
        let mut cache = Cache::new(4);
        serve(&mut cache, &[1, 2, 3, 4]);
        let mut held = Vec::new();
        cache.hold(&[1, 2, 3], &mut held);
        cache.resize(2);
        assert_eq!(cache.find(&[1, 2, 3, 4]).blocks, 3);
        assert_eq!(cache.available(), 0);
        cache.release(&mut held);
        assert_eq!(cache.find(&[1, 2, 3, 4]).blocks, 2);
    }

    /// See `tests/rig/prefix_cache.py`: the mock engine's cache is held to the same cases.
    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        block_size: usize,
        capacity: usize,
        steps: Vec<Step>,
        found: Vec<Option<usize>>,
    }

    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Step {
        Start(String, String, Vec<u64>, usize),
        Later(String, String),
    }

    /// What the cache finds, start by start.
    fn play(case: &Case) -> Vec<Option<usize>> {
        let mut cache = Cache::new(case.capacity);
        let mut asked: FxHashMap<&str, (&[u64], usize, Vec<u32>)> = FxHashMap::default();
        let mut all = Vec::new();
        for step in &case.steps {
            match step {
                Step::Start(name, step, ids, tokens) => {
                    assert_eq!(step, "start");
                    let usable = ids.len().min((tokens - 1) / case.block_size);
                    let mut blocks = Vec::new();
                    let found = cache.admit(ids, usable, &mut blocks);
                    all.push(found);
                    if let Some(found) = found {
                        asked.insert(name, (ids, found, blocks));
                    }
                }
                Step::Later(name, step) => {
                    let (ids, found, blocks) = asked.get_mut(name.as_str()).unwrap();
                    match step.as_str() {
                        "computed" => cache.publish_prompt(ids, *found, blocks),
                        _ => cache.release(blocks),
                    }
                }
            }
        }
        all
    }

    #[test]
    fn it_finds_what_the_mock_engine_finds() {
        let text = include_str!("../../../../tests/data/prefix_cache.json");
        let cases: Vec<Case> = serde_json::from_str(text).unwrap();
        assert!(cases.len() > 40);
        for case in &cases {
            assert_eq!(play(case), case.found, "{}", case.name);
        }
    }
}
