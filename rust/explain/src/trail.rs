//! The decisions of one request.

use std::sync::Arc;

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
    last: Option<Arc<Told>>,
    before: Vec<Arc<Told>>,
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
    pub fn tell(&self, ring: &Ring, chosen: Chosen, excluded: &[String]) -> Arc<Told> {
        let mut state = self.state.lock();
        let told = Told::new(self.name.clone(), state.attempt, chosen, excluded);
        let told = Arc::new(told);
        ring.put(&told);
        if let Some(before) = state.last.replace(Arc::clone(&told)) {
            state.before.push(before);
        }
        told
    }

    /// The attempt is lost, for a reason; with `again` another follows.
    pub fn lost(&self, reason: &str, again: bool) {
        let mut state = self.state.lock();
        for told in state.before.iter().chain(&state.last) {
            told.lost(beginning(reason), again);
        }
        if again {
            state.attempt += 1;
            state.last = None;
            state.before.clear();
        }
    }
}
