//! Pending and own uncached tokens times running requests, the new one included.

use super::{Rule, Scene, lowest};

#[derive(Debug)]
pub(super) struct Product;

impl Rule for Product {
    fn choose(&mut self, scene: &Scene<'_>, chance: &mut fastrand::Rng) -> usize {
        lowest(scene.workers(), chance, |worker| {
            (scene.work(worker) * (scene.loads[worker].running + 1)) as f64
        })
    }
}
