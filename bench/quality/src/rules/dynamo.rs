//! NVIDIA Dynamo's cost: scale x prefill blocks, pending and own, plus KV blocks in use with the prompt in.
//!
//! Told from its documentation: `overlap_score_weight` is the scale, 1 by default; blocks that running requests share
//! count once; temperature 0, so that the lowest cost wins.

use super::{Rule, Scene, lowest};

#[derive(Debug)]
pub(super) struct Dynamo {
    pub(super) scale: f64,
}

impl Rule for Dynamo {
    fn choose(&mut self, scene: &Scene<'_>, chance: &mut fastrand::Rng) -> usize {
        lowest(scene.workers(), chance, |worker| {
            let prefill = scene.work(worker) as f64 / scene.ask.block_size as f64;
            let blocks = scene.loads[worker].kv_blocks_with(scene.ask.blocks);
            self.scale.mul_add(prefill, blocks as f64)
        })
    }
}
