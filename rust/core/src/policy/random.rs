//! `random`: every candidate with the same chance.

use super::{Choice, Policy, Rule, Scene};
use crate::rng::Rng;

#[derive(Debug)]
pub(super) struct Random {
    rng: Rng,
}

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
        }
    }
}

impl Rule for Random {
    fn choose(&mut self, scene: &Scene<'_>) -> Choice {
        Choice::plain(Policy::Random, self.rng.below(scene.candidates.len()))
    }
}
