//! `cache_aware` of sglang-router and smg with its default settings.
//!
//! A prompt of which more than 0.3 was sent to some worker goes to the worker with the longest match, any other to the one
//! with fewest running requests. When the fleet is out of balance (running requests differ by more than 64 and by
//! more than a factor of 1.5) every prompt goes to the worker with fewest.

use super::{Rule, Scene, lowest};

const HIT_SHARE: f64 = 0.3;
const ABS_THRESHOLD: usize = 64;
const REL_THRESHOLD: f64 = 1.5;

#[derive(Debug)]
pub(super) struct CacheAware;

impl Rule for CacheAware {
    fn choose(&mut self, scene: &Scene<'_>, chance: &mut fastrand::Rng) -> usize {
        let running = || scene.loads.iter().map(|load| load.running);
        let (most, fewest) = (running().max().unwrap_or(0), running().min().unwrap_or(0));
        let imbalanced =
            most - fewest > ABS_THRESHOLD && most as f64 > REL_THRESHOLD * fewest as f64;
        let longest = scene.matched.iter().copied().max().unwrap_or(0);
        let matches = |&worker: &usize| {
            !imbalanced && scene.matched[worker] == longest && scene.hit_share(worker) > HIT_SHARE
        };
        let fewest = |worker: usize| scene.loads[worker].running as f64;
        if scene.workers().any(|worker| matches(&worker)) {
            lowest(scene.workers().filter(matches), chance, fewest)
        } else {
            lowest(scene.workers(), chance, fewest)
        }
    }
}
