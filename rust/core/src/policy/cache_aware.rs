//! `cache_aware`: the best of what a worker has cached of the prompt and how busy it is.
//!
//! 1. Where at least two loads (requests running, by the router's counters) are further apart than both thresholds,
//!    the choice is that of `process_tokens`, and nothing is recorded.
//! 2. A prompt with nothing in it has no prefix: `process_tokens` again.
//! 3. Each worker's hit ratio is the share of the prompt's blocks in its own longest match, in whole percent. Its
//!    score is (100 - hit) / 100 x `hit_ratio_weight` + load / highest load x `load_balance_weight`; the lowest
//!    wins, then the one with fewer tokens, then with fewer requests running, then the first.
//!
//! Upstream (the Go router) credits only the workers of the deepest node that has any; here each gets its own match.

use super::process_tokens::in_hand;
use super::{Choice, Fallback, Policy, Rule, Scene, Settings, Sight, Verdict};
use crate::load::Worker;

#[derive(Debug)]
pub(super) struct CacheAware {
    scoring: Scoring,
}

impl CacheAware {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            scoring: Scoring::new(settings),
        }
    }
}

impl Rule for CacheAware {
    fn choose(&mut self, scene: &Scene<'_>) -> Choice {
        self.scoring
            .choose(scene, Policy::CacheAware, Worker::running)
    }
}

/// The rule itself, whatever a load is.
#[derive(Debug)]
pub(super) struct Scoring {
    abs_threshold: f64,
    rel_threshold: f64,
    hit_weight: f64,
    load_weight: f64,
    /// Matched blocks by slot, kept to spare an allocation.
    credit: Vec<u32>,
}

impl Scoring {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            abs_threshold: settings.balance_abs_threshold,
            rel_threshold: settings.balance_rel_threshold,
            hit_weight: settings.hit_ratio_weight,
            load_weight: settings.load_balance_weight,
            credit: Vec::new(),
        }
    }

    pub(super) fn choose(
        &mut self,
        scene: &Scene<'_>,
        policy: Policy,
        load: impl Fn(&Worker) -> u64,
    ) -> Choice {
        let loads: Box<[u64]> = scene
            .candidates
            .iter()
            .map(|candidate| load(&candidate.worker))
            .collect();
        if self.imbalanced(&loads) {
            return self.fall_back(scene, Fallback::Imbalanced(loads));
        }
        let Some(prefix) = scene.prefix else {
            return self.fall_back(scene, Fallback::EmptyPrompt);
        };
        scene
            .tree
            .lock()
            .matches(prefix.hashes(), scene.now, &mut self.credit);
        let hits = self.hits(scene, prefix.len());
        let (index, sight) = self.best(scene, &loads, &hits);
        let verdict = Verdict::Scored {
            loads,
            hits,
            matched: self.matched(scene, index),
            blocks: prefix.len() as u32,
        };
        Choice {
            index,
            policy,
            verdict,
            sight,
        }
    }

    fn imbalanced(&self, loads: &[u64]) -> bool {
        let highest = loads.iter().copied().max().unwrap_or(0) as f64;
        let lowest = loads.iter().copied().min().unwrap_or(0) as f64;
        let apart = highest - lowest;
        apart > self.abs_threshold && apart / highest > self.rel_threshold
    }

    /// The candidates with a hit ratio above 0, in order, and that ratio.
    fn hits(&self, scene: &Scene<'_>, blocks: usize) -> Box<[(u32, u8)]> {
        let ratio =
            |index: usize| (u64::from(self.matched(scene, index)) * 100).checked_div(blocks as u64);
        (0..scene.candidates.len())
            .filter_map(|index| Some((index as u32, ratio(index)? as u8)))
            .filter(|&(_, percent)| percent > 0)
            .collect()
    }

    fn matched(&self, scene: &Scene<'_>, index: usize) -> u32 {
        let slot = scene.candidates[index].slot;
        slot.and_then(|slot| self.credit.get(slot.index()))
            .copied()
            .unwrap_or(0)
    }

    fn best(&self, scene: &Scene<'_>, loads: &[u64], hits: &[(u32, u8)]) -> (usize, Sight) {
        let highest = loads.iter().copied().max().unwrap_or(0).max(1) as f64;
        let mut hits = hits.iter().peekable();
        let sight = Sight::of_costs(scene.explained, true);
        // A score is mostly of hits: beside other routers no more of it is given away than one request's load.
        let most = [self.load_weight / highest, f64::INFINITY, f64::INFINITY];
        scene.least_by(sight, most, |index, worker| {
            let hit = hits
                .next_if(|hit| hit.0 as usize == index)
                .map_or(0, |hit| hit.1);
            let score = f64::from(100 - hit) / 100.0 * self.hit_weight
                + loads[index] as f64 / highest * self.load_weight;
            let [weight, running] = in_hand(worker);
            ([score, weight, running], (), self.matched(scene, index))
        })
    }

    /// The choice of `process_tokens`. Prefixes are looked up for whoever asks what was passed over.
    fn fall_back(&mut self, scene: &Scene<'_>, fallback: Fallback) -> Choice {
        let prefix = scene.prefix.filter(|_| scene.explained);
        if let Some(prefix) = prefix {
            let tree = scene.tree.lock();
            tree.matches(prefix.hashes(), scene.now, &mut self.credit);
        }
        let sight = Sight::of_costs(scene.explained, prefix.is_some());
        let most = [f64::INFINITY; 2];
        let (index, sight) = scene.least_by(sight, most, |index, worker| {
            let matched = prefix.map_or(0, |_| self.matched(scene, index));
            (in_hand(worker), (), matched)
        });
        Choice {
            index,
            policy: Policy::ProcessTokens,
            verdict: Verdict::FellBack(fallback),
            sight,
        }
    }
}
