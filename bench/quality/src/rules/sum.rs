//! Least pending and own uncached tokens: best for the first token of this request alone.

use super::{Rule, Scene, lowest};

#[derive(Debug)]
pub(super) struct Sum;

impl Rule for Sum {
    fn choose(&mut self, scene: &Scene<'_>, chance: &mut fastrand::Rng) -> usize {
        lowest(scene.workers(), chance, |worker| scene.work(worker) as f64)
    }
}
