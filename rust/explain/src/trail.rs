//! The decisions of one request.

use std::sync::Arc;

use fd_router_core::scheduler::Usage;
use fd_router_record::Outcome;
use parking_lot::Mutex;

use crate::name::{Name, beginning};
use crate::ring::Ring;
use crate::told::{Chosen, Told};

/// One request: its decisions are told under its name, each with the number of its attempt.
#[derive(Debug)]
pub struct Trail {
    name: Name,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    attempt: u32,
    /// The last decision of this attempt, and those before it: mostly there is one.
    last: Option<Kept>,
    before: Vec<Kept>,
}

/// A decision that is kept as long as there is room; what is told of one that is gone is forgotten.
#[derive(Debug, Clone)]
pub struct Kept {
    ring: Arc<Ring>,
    number: u64,
}

impl Trail {
    /// A request that nothing was decided about.
    pub fn new(id: &str, path: &str, stream: bool) -> Self {
        Self {
            name: Name::new(id, path, stream),
            state: Mutex::new(State {
                attempt: 1,
                last: None,
                before: Vec::new(),
            }),
        }
    }

    /// Keeps a decision about it. `excluded` are urls that were left out.
    pub fn tell(&self, ring: &Arc<Ring>, chosen: Chosen, excluded: &[String]) -> Kept {
        let mut state = self.state.lock();
        let kept = Kept {
            ring: Arc::clone(ring),
            number: ring.put(Told::new(
                self.name.clone(),
                state.attempt,
                chosen,
                excluded,
            )),
        };
        if let Some(before) = state.last.replace(kept.clone()) {
            state.before.push(before);
        }
        kept
    }

    /// The attempt is lost, for a reason; with `again` another follows.
    pub fn lost(&self, reason: &str, again: bool) {
        let mut state = self.state.lock();
        for kept in state.before.iter().chain(&state.last) {
            kept.change(|told| told.lost(beginning(reason), again));
        }
        if again {
            state.attempt += 1;
            state.last = None;
            state.before.clear();
        }
    }
}

impl Kept {
    /// The head of an answer came at `now`, with the `whole` of it or as the first part.
    pub fn headed(&self, status: u16, whole: bool, now: u64) {
        self.change(|told| told.headed(status, whole, now));
    }

    /// The first byte of an answer came at `now`.
    pub fn first_byte(&self, now: u64) {
        self.change(|told| told.first_byte(now));
    }

    /// The engine said what it made of the prompt.
    pub fn usage(&self, usage: Usage) {
        self.change(|told| told.fate.usage = Some(usage));
    }

    /// It is over, at `now`; the first time counts.
    pub fn end(&self, outcome: Outcome, now: u64) {
        self.change(|told| told.end(outcome, now));
    }

    fn change(&self, change: impl FnOnce(&mut Told)) {
        self.ring.change(self.number, change);
    }
}
