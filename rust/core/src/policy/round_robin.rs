//! `round_robin`: the candidates in turn, from the first.
//!
//! Prefill has a cursor of its own; mixed and decode share the other. The place is the cursor modulo the number of
//! candidates, so a change of the fleet shifts the turn. A request that is sent again takes the worker whose turn it is
//! and does not move the cursor: else a worker that fails would have every request first.

use super::{Choice, Policy, Rule, Scene};
use crate::ids::Role;

#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    prefill: usize,
    other: usize,
}

impl Rule for RoundRobin {
    fn choose(&mut self, scene: &Scene<'_>) -> Choice {
        let cursor = match scene.role {
            Role::Prefill => &mut self.prefill,
            Role::Mixed | Role::Decode => &mut self.other,
        };
        let index = *cursor % scene.candidates.len();
        if !scene.again {
            *cursor = cursor.wrapping_add(1);
        }
        Choice::plain(Policy::RoundRobin, index)
    }
}
