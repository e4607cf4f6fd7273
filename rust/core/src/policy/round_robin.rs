//! `round_robin`: the candidates in turn, from the first.
//!
//! Prefill has a cursor of its own; mixed and decode share the other. So have the models that only some workers serve,
//! one each. The place is the cursor modulo the number of candidates, so a change of the fleet shifts the turn. A
//! request that is sent again takes the worker whose turn it is and does not move the cursor: else a worker that fails
//! would have every request first.

use std::collections::HashMap;

use super::{Choice, Policy, Rule, Scene};
use crate::ids::Role;

/// Cursors that are kept; beyond it all begin anew.
const CURSORS: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    /// By whether it is prefill's, and by the scene's group.
    cursors: HashMap<(bool, u64), usize>,
}

impl Rule for RoundRobin {
    fn choose(&mut self, scene: &Scene<'_>) -> Choice {
        let whose = (scene.role == Role::Prefill, scene.group);
        if self.cursors.len() >= CURSORS && !self.cursors.contains_key(&whose) {
            self.cursors.clear();
        }
        let cursor = self.cursors.entry(whose).or_default();
        let index = *cursor % scene.candidates.len();
        if !scene.again {
            *cursor = cursor.wrapping_add(1);
        }
        Choice::blind(Policy::RoundRobin, index)
    }
}
