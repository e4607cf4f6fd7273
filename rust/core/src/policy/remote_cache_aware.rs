//! `remote_cache_aware`: as `cache_aware`, with the engines' own running counts as loads.
//!
//! A worker whose own count is missing or too old has the router's counter as load.

use super::cache_aware::Scoring;
use super::{Choice, Policy, Rule, Scene, Settings};

#[derive(Debug)]
pub(super) struct RemoteCacheAware {
    scoring: Scoring,
    max_age: u64,
}

impl RemoteCacheAware {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            scoring: Scoring::new(settings),
            max_age: settings.metrics_max_age,
        }
    }
}

impl Rule for RemoteCacheAware {
    fn choose(&mut self, scene: &Scene<'_>) -> Choice {
        let max_age = self.max_age;
        self.scoring
            .choose(scene, Policy::RemoteCacheAware, |worker| {
                worker
                    .observed(scene.now, max_age)
                    .map_or_else(|| worker.running(), |(running, _)| running as u64)
            })
    }
}
