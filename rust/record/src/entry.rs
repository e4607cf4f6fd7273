//! One decision, followed from the choice to its end.

use std::sync::Arc;

use fd_router_core::hash::Prefix;
use fd_router_core::ids::Role;
use fd_router_core::load::Worker;
use fd_router_core::policy::Policy;
use fd_router_core::scheduler::{Ask, Decision, Usage};
use parking_lot::Mutex;

use crate::ids::Ids;
use crate::line::{Outcome, Request, What};
use crate::tape::{Tape, Turn};
use crate::writer::Item;

/// What a decision is about, kept for its line.
#[derive(Debug)]
pub struct Asked {
    request: u64,
    role: Role,
    policy: Option<Policy>,
    prefix: Option<Prefix>,
    tokens: u64,
    weight: u64,
    exact: bool,
    stream: bool,
    exclude: Vec<String>,
    session: Option<String>,
    model: Option<String>,
}

impl Asked {
    /// Keeps what is asked, before the scheduler takes it. `request` is of [`Tape::request`]; `prefix` is the prompt,
    /// whether or not the policy looks at it; `policy` is the role's.
    pub fn new(
        tape: &Tape,
        request: u64,
        role: Role,
        policy: Option<Policy>,
        ask: &Ask<'_>,
        prefix: Option<Prefix>,
    ) -> Self {
        let name = |name: &str| tape.ids().name(name);
        Self {
            request,
            role,
            policy,
            prefix,
            tokens: ask.tokens,
            weight: ask.weight,
            exact: ask.exact,
            stream: ask.stream,
            exclude: ask.exclude.to_vec(),
            session: ask.session.map(name),
            model: ask.model.map(name),
        }
    }
}

/// What is known of a decision, from which the writer makes its line.
#[derive(Debug)]
pub(crate) struct Facts {
    asked: Asked,
    seq: u64,
    at: u64,
    policy: Option<Policy>,
    worker: Option<Arc<Worker>>,
    matched: Option<u32>,
    first_byte: Option<(u64, u64)>,
    usage: Option<(u64, Usage)>,
    end: Option<(u64, u64)>,
    outcome: Outcome,
}

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

    /// It is over; the first time counts.
    pub fn end(&self, turn: &mut Turn<'_>, now: u64, outcome: Outcome) {
        if let Some(mut facts) = self.facts.lock().take() {
            facts.end = Some((turn.number(), now));
            facts.outcome = outcome;
            self.tape.put(Item::Decision(facts));
        }
    }
}

impl Facts {
    const fn new(seq: u64, asked: Asked, now: u64) -> Self {
        Self {
            policy: asked.policy,
            asked,
            seq,
            at: now,
            worker: None,
            matched: None,
            first_byte: None,
            usage: None,
            end: None,
            outcome: Outcome::Dropped,
        }
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        let blocks = self.asked.prefix.as_ref().map_or(0, Prefix::len);
        let excluded: usize = self.asked.exclude.iter().map(String::len).sum();
        size_of::<Self>() + blocks * (size_of::<u64>() + size_of::<u32>()) + excluded
    }

    /// The line.
    pub(crate) fn line(self, ids: &Ids) -> Request {
        let Self { asked, .. } = self;
        let usage = self.usage.map(|(_, usage)| usage);
        let prefix = asked.prefix.as_ref();
        let quarters = prefix.map_or(0, Prefix::quarters);
        Request {
            seq: self.seq,
            timestamp: self.at,
            input_length: usage.map_or(u64::from(quarters.div_ceil(4)), |usage| usage.prompt),
            output_length: None,
            hash_ids: prefix.map_or_else(Vec::new, |prefix| {
                prefix
                    .hashes()
                    .iter()
                    .map(|&hash| ids.block(hash))
                    .collect()
            }),
            block_quarters: prefix.map_or_else(Vec::new, runs),
            prompt_quarters: quarters,
            exact: asked.exact,
            empty: prefix.is_none(),
            tokens: asked.tokens,
            weight: asked.weight,
            stream: asked.stream,
            request: asked.request,
            session: asked.session,
            model: asked.model,
            role: asked.role.name().to_owned(),
            exclude: asked.exclude,
            policy: self
                .policy
                .map_or_else(String::new, |policy| policy.name().to_owned()),
            worker: self.worker.map(|worker| worker.url().to_owned()),
            predicted_blocks: self.matched,
            first_byte: self.first_byte.map(|(_, at)| at),
            first_byte_seq: self.first_byte.map(|(seq, _)| seq),
            prompt_tokens: usage.map(|usage| usage.prompt),
            cached_tokens: usage.and_then(|usage| usage.cached),
            usage_seq: self.usage.map(|(seq, _)| seq),
            end: self.end.map(|(_, at)| at),
            end_seq: self.end.map(|(seq, _)| seq),
            outcome: self.outcome,
        }
    }
}

/// Quarter tokens of the blocks, equal neighbours counted together.
fn runs(prefix: &Prefix) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for (_, quarters) in prefix.parts() {
        match runs.last_mut() {
            Some((count, same)) if *same == quarters => *count += 1,
            _ => runs.push((1, quarters)),
        }
    }
    runs
}
