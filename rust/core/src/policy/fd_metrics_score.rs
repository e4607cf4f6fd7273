//! `fd_metrics_score`: the lowest score of requests running and waiting, by the router's own counters; the first wins
//! a tie.
//!
//! The router sees no queue of its own workers, so waiting is 0 and the score is the running count, as upstream (the
//! Go router) has it in its newest version.

use super::{Choice, Policy, Rule, Scene};

#[derive(Debug)]
pub(super) struct FdMetricsScore;

impl Rule for FdMetricsScore {
    fn choose(&mut self, scene: &Scene<'_>) -> Choice {
        scene.least(Policy::FdMetricsScore, |worker| [worker.running() as f64])
    }
}
