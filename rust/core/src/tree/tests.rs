//! The tree against a naive map of prefixes, after each random step.

mod copies;

use std::collections::HashMap;

use proptest::prelude::*;

use super::{MIN_CAPACITY, Tree};
use crate::hash::Chain;
use crate::ids::Slot;

const IDLE: u64 = 100;

fn of_text(text: &[u8], block_size: usize) -> Vec<u64> {
    let prefix = Chain::new(None, block_size).end_with_text(text);
    prefix.hashes().to_vec()
}

fn of_tokens(tokens: &[i64], block_size: usize) -> Vec<u64> {
    let prefix = Chain::new(None, block_size).end_with_ids(tokens.iter().copied());
    prefix.hashes().to_vec()
}

/// Every prefix with the last record for each worker: what the tree must equal while nothing is evicted.
#[derive(Default)]
struct Naive {
    prefixes: HashMap<u64, Entry>,
}

#[derive(Default, Clone)]
struct Entry {
    stamp: u64,
    workers: HashMap<usize, u64>,
}

impl Naive {
    fn record(&mut self, hashes: &[u64], worker: usize, now: u64) {
        for &hash in hashes {
            let entry = self.prefixes.entry(hash).or_default();
            if now - entry.stamp >= IDLE {
                entry.workers.clear();
            }
            entry.stamp = now;
            entry.workers.insert(worker, now);
        }
    }

    fn matched(&self, hashes: &[u64], worker: usize, now: u64) -> u32 {
        let holds = |hash: &&u64| {
            self.prefixes.get(hash).is_some_and(|entry| {
                now - entry.stamp < IDLE
                    && entry
                        .workers
                        .get(&worker)
                        .is_some_and(|last| now / IDLE - last / IDLE <= 1)
            })
        };
        hashes.iter().take_while(holds).count() as u32
    }

    fn forget(&mut self, worker: usize) {
        for entry in self.prefixes.values_mut() {
            entry.workers.remove(&worker);
        }
    }

    fn live(&self, now: u64) -> u64 {
        self.prefixes
            .values()
            .filter(|entry| now - entry.stamp < IDLE)
            .count() as u64
    }
}

#[derive(Debug, Clone)]
enum Op {
    Record {
        prompt: Vec<(u8, u8)>,
        worker: usize,
    },
    Match {
        prompt: Vec<(u8, u8)>,
    },
    Wait(u64),
    Expire,
    Forget(usize),
}

/// A prompt as runs of equal tokens: short alphabets and long runs make shared prefixes, splits and several nodes.
fn prompt() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((0..3_u8, prop::sample::select(vec![1_u8, 2, 30, 40])), 0..5)
}

fn chain(prompt: &[(u8, u8)]) -> Vec<u64> {
    let tokens: Vec<i64> = prompt
        .iter()
        .flat_map(|&(token, times)| std::iter::repeat_n(i64::from(token), times.into()))
        .collect();
    of_tokens(&tokens, 1)
}

fn op(workers: usize) -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (prompt(), 0..workers).prop_map(|(prompt, worker)| Op::Record { prompt, worker }),
        4 => prompt().prop_map(|prompt| Op::Match { prompt }),
        2 => (0..IDLE).prop_map(Op::Wait),
        1 => Just(Op::Expire),
        1 => (0..workers).prop_map(Op::Forget),
    ]
}

/// Workers with the slot each has now.
struct Fleet(Vec<Slot>);

impl Fleet {
    fn join(tree: &mut Tree, count: usize) -> Self {
        Self((0..count).map(|_| tree.assign().unwrap()).collect())
    }

    fn restart(&mut self, tree: &mut Tree, worker: usize) {
        tree.retire(self.0[worker]);
        self.0[worker] = tree.assign().unwrap();
    }

    fn matched(&self, tree: &Tree, hashes: &[u64], now: u64) -> Vec<u32> {
        let mut credit = Vec::new();
        tree.matches(hashes, now, &mut credit);
        self.0.iter().map(|slot| credit[slot.index()]).collect()
    }
}

proptest! {
    #[test]
    fn equals_a_map_of_prefixes(ops in prop::collection::vec(op(70), 1..80)) {
        let mut tree = Tree::new(usize::MAX / 2, IDLE);
        let mut fleet = Fleet::join(&mut tree, 70);
        let mut naive = Naive::default();
        let mut now = 1;
        for op in ops {
            match op {
                Op::Record { prompt, worker } => {
                    tree.record(&chain(&prompt), fleet.0[worker], 0.0, now);
                    naive.record(&chain(&prompt), worker, now);
                }
                Op::Match { prompt } => {
                    let hashes = chain(&prompt);
                    let wanted: Vec<u32> = (0..70).map(|worker| naive.matched(&hashes, worker, now)).collect();
                    prop_assert_eq!(fleet.matched(&tree, &hashes, now), wanted);
                }
                Op::Wait(time) => now += time,
                Op::Expire => {
                    tree.expire(now);
                    prop_assert_eq!(tree.stats().blocks, naive.live(now));
                }
                Op::Forget(worker) => {
                    fleet.restart(&mut tree, worker);
                    naive.forget(worker);
                }
            }
            tree.check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// With little room the tree may know less than the map, never more, and always the last record.
    #[test]
    fn never_credits_more_than_was_recorded(seed in any::<u64>(), workers in 1..130_usize) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut tree = Tree::new(MIN_CAPACITY, IDLE);
        let mut fleet = Fleet::join(&mut tree, 1);
        let mut naive = Naive::default();
        for step in 1..1_000_u64 {
            let now = step / 20;
            if fleet.0.len() < workers && rng.usize(..8) == 0 {
                fleet.0.push(tree.assign().unwrap());
            }
            let worker = rng.usize(..fleet.0.len());
            let (length, last) = (1 + rng.usize(..400), rng.usize(..400));
            let prompt: Vec<i64> = (0..length).map(|at| i64::try_from(at * last / 399).unwrap()).collect();
            let hashes = of_tokens(&prompt, 1);
            tree.record(&hashes, fleet.0[worker], 0.0, now);
            naive.record(&hashes, worker, now);
            let matched = fleet.matched(&tree, &hashes, now);
            prop_assert_eq!(matched[worker] as usize, hashes.len());
            for (worker, &blocks) in matched.iter().enumerate() {
                prop_assert_eq!(naive.matched(&hashes[..blocks as usize], worker, now), blocks);
            }
            if rng.usize(..50) == 0 {
                fleet.restart(&mut tree, worker);
                naive.forget(worker);
            }
            if rng.usize(..10) == 0 {
                tree.expire(now);
            }
            if step % 50 == 0 {
                tree.check();
            }
        }
        tree.check();
        prop_assert!(tree.stats().evicted > 0);
    }
}

#[test]
fn every_worker_gets_its_own_longest_match() {
    let mut tree = Tree::new(MIN_CAPACITY, IDLE);
    let fleet = Fleet::join(&mut tree, 2);
    tree.record(&of_text(b"ABCD", 1), fleet.0[0], 0.0, 0);
    tree.record(&of_text(b"ABX", 1), fleet.0[1], 0.0, 0);
    assert_eq!(fleet.matched(&tree, &of_text(b"ABY", 1), 0), vec![2, 2]);
    assert_eq!(fleet.matched(&tree, &of_text(b"ABCD", 1), 0), vec![4, 2]);
}

#[test]
fn a_split_keeps_every_holder() {
    let mut tree = Tree::new(MIN_CAPACITY, IDLE);
    let fleet = Fleet::join(&mut tree, 3);
    tree.record(&of_text(b"ABCDEF", 1), fleet.0[0], 0.0, 0);
    tree.record(&of_text(b"ABCDEF", 1), fleet.0[1], 0.0, 0);
    tree.record(&of_text(b"ABX", 1), fleet.0[2], 0.0, 0);
    assert_eq!(tree.node_count(), 3);
    assert_eq!(
        fleet.matched(&tree, &of_text(b"ABCDEF", 1), 0),
        vec![6, 6, 2]
    );
}

#[test]
fn a_slot_is_reused_only_after_a_sweep() {
    let mut tree = Tree::new(MIN_CAPACITY, IDLE);
    let slots: Vec<Slot> = (0..Slot::LIMIT).map_while(|_| tree.assign()).collect();
    assert_eq!(slots.len(), Slot::LIMIT);
    assert_eq!(tree.assign(), None);
    let hashes = of_text(b"ABCD", 1);
    tree.record(&hashes, slots[7], 0.0, 0);
    tree.retire(slots[7]);
    assert_eq!(tree.assign(), None);
    tree.expire(0);
    assert_eq!(tree.assign(), Some(slots[7]));
    assert_eq!(Fleet(slots).matched(&tree, &hashes, 0)[7], 0);
}

#[test]
fn a_chain_longer_than_the_capacity_is_kept_in_part() {
    let mut tree = Tree::new(MIN_CAPACITY, IDLE);
    let fleet = Fleet::join(&mut tree, 1);
    let hashes = of_tokens(&vec![1; 1_000_000], 1);
    tree.record(&hashes, fleet.0[0], 0.0, 0);
    tree.check();
    let matched = fleet.matched(&tree, &hashes, 0)[0];
    assert!(matched > 50_000, "{matched}");
    tree.record(&hashes[..40], fleet.0[0], 0.0, 1);
    tree.check();
}

#[test]
fn memory_falls_when_blocks_expire() {
    let mut tree = Tree::new(64 << 20, IDLE);
    let fleet = Fleet::join(&mut tree, 1);
    for prompt in 0..2_000 {
        tree.record(&of_tokens(&[prompt; 64], 1), fleet.0[0], 0.0, 0);
    }
    let full = tree.bytes();
    while tree.expire(IDLE).more {}
    tree.check();
    assert_eq!(tree.stats().blocks, 0);
    assert!(tree.bytes() < full / 4, "{} of {full}", tree.bytes());
}

#[test]
fn a_long_prompt_costs_little_memory() {
    for (workers, limit) in [(64, 12), (1_000, 12)] {
        let mut tree = Tree::new(256 << 20, IDLE);
        let fleet = Fleet::join(&mut tree, workers);
        for prompt in 0..2_000 {
            let tokens: Vec<i64> = (0..125).map(|at| prompt * 1_000 + at).collect();
            tree.record(
                &of_tokens(&tokens, 1),
                fleet.0[prompt as usize % workers],
                0.0,
                0,
            );
        }
        let each = tree.bytes() as u64 / tree.stats().blocks;
        assert!(each <= limit, "{each} bytes a block with {workers} workers");
    }
}

#[test]
fn credit_lapses_by_volume_and_the_sweep_drops_it() {
    let mut tree = Tree::new(MIN_CAPACITY, IDLE);
    let fleet = Fleet::join(&mut tree, 2);
    for &slot in &fleet.0 {
        tree.set_capacity(slot, Some(800.0));
    }
    let kept = of_text(b"ABCD", 1);
    tree.record(&kept, fleet.0[0], 4.0, 0);
    tree.record(&kept, fleet.0[1], 4.0, 0);
    for prompt in 0..10 {
        tree.record(&of_tokens(&[prompt; 8], 1), fleet.0[0], 100.0, 0);
    }
    assert_eq!(fleet.matched(&tree, &kept, 0), vec![0, 4]);
    let spans = tree.spans(&kept, fleet.0[0]);
    assert_eq!(spans.len(), 1);
    assert!((spans[0].age - 1_000.0).abs() <= 50.0, "{spans:?}");
    for prompt in 10..60 {
        tree.record(&of_tokens(&[prompt; 8], 1), fleet.0[0], 100.0, 0);
    }
    while tree.expire(0).more {}
    tree.check();
    assert!(tree.spans(&kept, fleet.0[0]).is_empty());
    assert_eq!(fleet.matched(&tree, &kept, 0), vec![0, 4]);
}

#[test]
fn a_node_with_many_holders_has_a_row_as_long_as_it_must() {
    let mut tree = Tree::new(MIN_CAPACITY, IDLE);
    let mut fleet = Fleet::join(&mut tree, 70);
    let shared = of_text(b"SYSTEM", 1);
    for &slot in &fleet.0 {
        tree.record(&shared, slot, 0.0, 0);
    }
    tree.record(&of_text(b"SYSX", 1), fleet.0[3], 0.0, 0);
    assert_eq!(tree.rows(), 2, "a split copies it");
    tree.check();
    for worker in 3..70 {
        fleet.restart(&mut tree, worker);
    }
    while tree.expire(0).more {}
    assert_eq!(tree.rows(), 0);
    let mut wanted = vec![6; 3];
    wanted.resize(70, 0);
    assert_eq!(fleet.matched(&tree, &shared, 0), wanted);
    tree.check();
}

#[test]
fn a_record_is_taken_back() {
    let mut tree = Tree::new(MIN_CAPACITY, IDLE);
    let fleet = Fleet::join(&mut tree, 2);
    let (short, long) = (of_text(b"AB", 1), of_text(b"ABCDEF", 1));
    tree.record(&short, fleet.0[0], 0.0, 0);
    tree.record(&long, fleet.0[1], 0.0, 0);
    tree.record(&long, fleet.0[0], 0.0, 0);
    tree.take_back(&long, 2, fleet.0[0], 0.0);
    assert_eq!(fleet.matched(&tree, &long, 0), vec![2, 6]);
}

/// Sessions that grow by turns, some of them more talkative than others, on one worker; the cache holds a part of them.
#[test]
fn volume_is_what_an_lru_cache_of_that_size_holds() {
    const BLOCKS: usize = 800;
    let mut tree = Tree::new(64 << 20, IDLE);
    let fleet = Fleet::join(&mut tree, 1);
    tree.set_capacity(fleet.0[0], Some(BLOCKS as f64));
    let mut rng = fastrand::Rng::with_seed(3);
    let mut sessions = vec![0_usize; 30];
    let mut cache: Vec<u64> = Vec::new();
    let (mut asked, mut wrong) = (0, 0);
    for turn in 0..1_000 {
        // The square makes the first ones talk most.
        let session = (rng.f64() * rng.f64() * sessions.len() as f64) as usize;
        sessions[session] = (sessions[session] + rng.usize(1..8)) % 60;
        let prompt: Vec<u64> = (0..=sessions[session] as u64)
            .map(|block| (session as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) + block)
            .collect();
        let there = prompt
            .iter()
            .take_while(|hash| cache.contains(hash))
            .count();
        let told = fleet.matched(&tree, &prompt, 0)[0] as usize;
        if turn > 300 {
            asked += prompt.len();
            wrong += told.abs_diff(there);
        }
        tree.record(&prompt, fleet.0[0], prompt.len() as f64, 0);
        cache.retain(|hash| !prompt.contains(hash));
        cache.extend(prompt.iter().rev());
        let surplus = cache.len().saturating_sub(BLOCKS);
        cache.drain(..surplus);
        while tree.expire(0).more {}
    }
    assert!(wrong * 50 < asked, "{wrong} blocks of {asked}");
}
