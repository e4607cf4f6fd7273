//! `process_tokens`: the fewest tokens still to be prefilled; the first wins a tie.

use super::{Choice, Policy, Rule, Scene};
use crate::load::Worker;

#[derive(Debug)]
pub(super) struct ProcessTokens;

/// The candidate with the fewest tokens.
pub(super) fn fewest_tokens(scene: &Scene<'_>) -> usize {
    scene.least(Worker::tokens)
}

impl Rule for ProcessTokens {
    fn choose(&mut self, scene: &Scene<'_>) -> Choice {
        Choice::plain(Policy::ProcessTokens, fewest_tokens(scene))
    }
}
