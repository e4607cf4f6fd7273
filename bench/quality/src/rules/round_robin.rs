//! Workers in turn.

use super::{Rule, Scene};

#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    next: usize,
}

impl Rule for RoundRobin {
    fn choose(&mut self, scene: &Scene<'_>, _: &mut fastrand::Rng) -> usize {
        let worker = self.next % scene.loads.len();
        self.next = worker + 1;
        worker
    }
}
