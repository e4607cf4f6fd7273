//! `fd_remote_metrics_score`: the lowest score of requests running and waiting, by the engines' own counts and
//! what was sent to them since; the first wins a tie.
//!
//! The score is running + waiting x `waiting_weight`. A worker whose own counts are missing or too old is scored by
//! the router's counter, with nothing waiting.

use super::{Choice, Policy, Rule, Scene, Settings};
use crate::load::Worker;

#[derive(Debug)]
pub(super) struct FdRemoteMetricsScore {
    waiting_weight: f64,
    max_age: u64,
}

impl FdRemoteMetricsScore {
    pub(super) const fn new(settings: &Settings) -> Self {
        Self {
            waiting_weight: settings.waiting_weight,
            max_age: settings.metrics_max_age,
        }
    }

    fn score(&self, worker: &Worker, now: u64) -> f64 {
        let (running, waiting) = worker
            .observed(now, self.max_age)
            .unwrap_or((worker.running() as f64, 0.0));
        running + waiting * self.waiting_weight
    }
}

impl Rule for FdRemoteMetricsScore {
    fn choose(&mut self, scene: &Scene<'_>) -> Choice {
        scene.least(Policy::FdRemoteMetricsScore, |worker| {
            [self.score(worker, scene.now)]
        })
    }
}
