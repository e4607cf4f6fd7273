//! Stay where the prompt is, unless that takes far longer.
//!
//! Workers that were sent 0.8 of the prompt or more are preferred as long as their wait is at most 18 s longer than the
//! shortest, at 15,928 prompt tokens a second; among the preferred, least pending and own uncached tokens.

use super::{Rule, Scene, lowest};

const HIT_SHARE: f64 = 0.8;
const TOKENS_PER_SECOND: f64 = 15_928.0;
const SECONDS: f64 = 18.0;

#[derive(Debug)]
pub(super) struct Affinity;

impl Rule for Affinity {
    fn choose(&mut self, scene: &Scene<'_>, chance: &mut fastrand::Rng) -> usize {
        let work = |worker: usize| scene.work(worker) as f64;
        let any = lowest(scene.workers(), chance, work);
        let holders = || {
            scene
                .workers()
                .filter(|&worker| scene.hit_share(worker) >= HIT_SHARE)
        };
        if holders().next().is_none() {
            return any;
        }
        let holder = lowest(holders(), chance, work);
        let longer = (work(holder) - work(any)) / TOKENS_PER_SECOND;
        if longer > SECONDS { any } else { holder }
    }
}
