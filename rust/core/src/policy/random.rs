//! `random`: every candidate with the same chance.

use fastrand::Rng;

use super::{Choice, Policy, Rule, Scene};

#[derive(Debug)]
pub(super) struct Random {
    rng: Rng,
}

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
        }
    }
}

impl Rule for Random {
    fn choose(&mut self, scene: &Scene<'_>) -> Choice {
        Choice::blind(Policy::Random, self.rng.usize(..scene.candidates.len()))
    }
}
