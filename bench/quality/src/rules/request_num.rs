//! Fewest running requests.

use super::{Rule, Scene, lowest};

#[derive(Debug)]
pub(super) struct RequestNum;

impl Rule for RequestNum {
    fn choose(&mut self, scene: &Scene<'_>, chance: &mut fastrand::Rng) -> usize {
        lowest(scene.workers(), chance, |worker| {
            scene.loads[worker].running as f64
        })
    }
}
