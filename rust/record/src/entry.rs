//! One decision, followed from the choice to its end.

use std::sync::Arc;

use fd_router_core::scheduler::{Decision, Usage};
use parking_lot::Mutex;

use crate::facts::{Asked, Facts, Item};
use crate::line::{Outcome, What};
use crate::tape::{Tape, Turn};

/// A decision's line to be, put on the tape at its end.
#[derive(Debug)]
pub struct Entry {
    tape: Arc<Tape>,
    seq: u64,
    facts: Mutex<Option<Box<Facts>>>,
}

impl Entry {
    /// Takes what was decided at `now`, in the turn in which it was; where there was nobody, that is told at once.
    pub fn new(
        tape: &Arc<Tape>,
        turn: &mut Turn<'_>,
        asked: Asked,
        decision: Option<Decision>,
        now: u64,
    ) -> Option<(Decision, Option<Self>)> {
        let mut facts = Facts::new(turn.number(), asked, now);
        let Some(decision) = decision else {
            facts.outcome = Outcome::NoWorker;
            tape.put(Item::Decision(Box::new(facts)));
            return None;
        };
        facts.policy = Some(decision.policy);
        facts.worker = Some(Arc::clone(decision.lease.worker()));
        facts.matched = decision.matched();
        let entry = Self {
            tape: Arc::clone(tape),
            seq: facts.seq,
            facts: Mutex::new(Some(Box::new(facts))),
        };
        Some((decision, Some(entry)))
    }

    /// The first byte came at `now`.
    pub fn first_byte(&self, turn: &mut Turn<'_>, now: u64) {
        if let Some(facts) = &mut *self.facts.lock() {
            facts.first_byte = Some((turn.number(), now));
        }
    }

    /// The engine said what it made of the prompt, at `now`; of a prefill worker that is after the end.
    pub fn usage(&self, mut turn: Turn<'_>, usage: Usage, now: u64) {
        match &mut *self.facts.lock() {
            Some(facts) => facts.usage = Some((turn.number(), usage)),
            None => turn.change(
                now,
                What::Answered {
                    decision: self.seq,
                    prompt_tokens: usage.prompt,
                    cached_tokens: usage.cached,
                },
            ),
        }
    }

    /// It is over, with `output` tokens of the answer where that is known; the first time counts.
    pub fn end(&self, turn: &mut Turn<'_>, now: u64, outcome: Outcome, output: Option<u64>) {
        if let Some(mut facts) = self.facts.lock().take() {
            facts.end = Some((turn.number(), now));
            facts.outcome = outcome;
            facts.output = output;
            self.tape.put(Item::Decision(facts));
        }
    }
}
