//! `power_of_two`: of two different candidates picked at random the one with fewer requests running; the first pick
//! wins a tie.

use fastrand::Rng;

use super::{Choice, Policy, Rule, Scene};

#[derive(Debug)]
pub(super) struct PowerOfTwo {
    rng: Rng,
}

impl PowerOfTwo {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
        }
    }

    fn pick(&mut self, scene: &Scene<'_>) -> usize {
        let count = scene.candidates.len();
        if count == 1 {
            return 0;
        }
        let first = self.rng.usize(..count);
        let second = (first + 1 + self.rng.usize(..count - 1)) % count;
        let running = |index: usize| scene.candidates[index].worker.running();
        if running(second) < running(first) {
            second
        } else {
            first
        }
    }
}

impl Rule for PowerOfTwo {
    fn choose(&mut self, scene: &Scene<'_>) -> Choice {
        Choice::plain(Policy::PowerOfTwo, self.pick(scene))
    }
}
