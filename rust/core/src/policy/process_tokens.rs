//! `process_tokens`: the fewest tokens still to be prefilled, then the fewest requests running; the first wins a tie.
//!
//! Tokens are those of all that an engine renders of a prompt, also where it has no plain text. Streams give theirs back
//! at the first chunk, so workers that only decode are all at 0: without the second key one of them would get everything.

use super::{Choice, Policy, Rule, Scene};
use crate::load::Worker;

#[derive(Debug)]
pub(super) struct ProcessTokens;

/// What is least where a worker has least to do before a first byte.
pub(super) fn in_hand(worker: &Worker) -> [f64; 2] {
    [worker.weight() as f64, worker.running() as f64]
}

impl Rule for ProcessTokens {
    fn choose(&mut self, scene: &Scene<'_>) -> Choice {
        scene.least(Policy::ProcessTokens, in_hand)
    }
}
