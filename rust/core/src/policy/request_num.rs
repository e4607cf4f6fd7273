//! `request_num`: the fewest requests running; the first wins a tie.

use super::{Choice, Policy, Rule, Scene};

#[derive(Debug)]
pub(super) struct RequestNum;

impl Rule for RequestNum {
    fn choose(&mut self, scene: &Scene<'_>) -> Choice {
        scene.least(Policy::RequestNum, |worker| [worker.running() as f64])
    }
}
