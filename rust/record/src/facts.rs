//! What waits to become a line: kept as it was found, so that whoever decides does not pay for the line.

use std::sync::Arc;

use fd_router_core::hash::Prefix;
use fd_router_core::ids::Role;
use fd_router_core::load::Worker;
use fd_router_core::policy::Policy;
use fd_router_core::scheduler::{Ask, Usage};

use crate::ids::Ids;
use crate::line::{Change, Line, Outcome, Request};

/// What is to be written.
#[derive(Debug)]
pub(crate) enum Item {
    Decision(Box<Facts>),
    Change(Change),
}

/// What a decision is about, kept for its line.
#[derive(Debug)]
pub struct Asked {
    request: u64,
    role: Role,
    endpoint: Option<String>,
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
    /// Keeps what is asked, before the scheduler takes it. `request` is of `Tape::request`; `prefix` is the prompt,
    /// whether or not the policy looks at it; `policy` is the role's.
    pub fn new(
        ids: &Ids,
        request: u64,
        role: Role,
        policy: Option<Policy>,
        ask: &Ask<'_>,
        prefix: Option<Prefix>,
    ) -> Self {
        let name = |name: &str| ids.name(name);
        Self {
            request,
            role,
            endpoint: None,
            policy,
            prefix,
            tokens: ask.tokens,
            weight: ask.weight,
            exact: ask.exact,
            stream: ask.stream,
            exclude: ask.exclude.to_vec(),
            session: ask.session.map(name),
            model: ask.model.map(|name| ids.model(name)),
        }
    }

    /// The choice is among those that serve an endpoint by name.
    #[must_use]
    pub fn for_endpoint(self, endpoint: &str) -> Self {
        Self {
            endpoint: Some(endpoint.to_owned()),
            ..self
        }
    }
}

/// What is known of a decision, from which the writer makes its line.
#[derive(Debug)]
pub(crate) struct Facts {
    asked: Asked,
    pub(crate) seq: u64,
    at: u64,
    pub(crate) policy: Option<Policy>,
    pub(crate) worker: Option<Arc<Worker>>,
    pub(crate) matched: Option<u32>,
    pub(crate) first_byte: Option<(u64, u64)>,
    pub(crate) usage: Option<(u64, Usage)>,
    pub(crate) output: Option<u64>,
    pub(crate) end: Option<(u64, u64)>,
    pub(crate) outcome: Outcome,
}

impl Item {
    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Decision(facts) => facts.bytes(),
            Self::Change(change) => size_of::<Change>() + change.what.bytes(),
        }
    }

    /// The line with its end.
    pub(crate) fn line(self, ids: &Ids) -> Vec<u8> {
        let line = match self {
            Self::Decision(facts) => Line::Request(Box::new(facts.line(ids))),
            Self::Change(change) => Line::Change(change),
        };
        line.bytes()
    }
}

impl Facts {
    pub(crate) const fn new(seq: u64, asked: Asked, now: u64) -> Self {
        Self {
            policy: asked.policy,
            asked,
            seq,
            at: now,
            worker: None,
            matched: None,
            first_byte: None,
            usage: None,
            output: None,
            end: None,
            outcome: Outcome::Dropped,
        }
    }

    fn bytes(&self) -> usize {
        let blocks = self.asked.prefix.as_ref().map_or(0, Prefix::len);
        let excluded: usize = self.asked.exclude.iter().map(String::len).sum();
        size_of::<Self>() + blocks * (size_of::<u64>() + size_of::<u32>()) + excluded
    }

    fn line(self, ids: &Ids) -> Request {
        let Self { asked, .. } = self;
        let usage = self.usage.map(|(_, usage)| usage);
        let prefix = asked.prefix.as_ref();
        let quarters = prefix.map_or(0, Prefix::quarters);
        Request {
            seq: self.seq,
            timestamp: self.at,
            input_length: usage.map_or(u64::from(quarters.div_ceil(4)), |usage| usage.prompt),
            output_length: self.output,
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
            endpoint: asked.endpoint,
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
