//! Agent sessions as closed-loop traffic.
//!
//! `LMCache`'s agent traces have a call a line: `timestamp` (us), `session_id`, `output`, and the prompt as `input_lcp`, the
//! characters that it shares with the session's previous prompt, and `input_tail`. They were recorded one or two sessions
//! at a time, which no fleet would notice, so a trace here is many sessions: the recorded ones over and over, started
//! at random at a given rate, every repetition with content of its own.
//!
//! - Four characters are a token, for prompts and answers.
//! - A call follows the previous one's answer after the recorded gap between the two, less what the previous call
//!   would nominally have taken: [`FIRST_TOKEN`] and [`TOKEN`] for each token of its answer, an idle engine of the batching
//!   model. What is left is the tool's time, at least 0.
//! - Blocks that several recorded sessions have stay shared between repetitions: these are templates.

use fd_router_simulate::{Arrival, Request, Trace};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Deserialize;

const CHARACTERS_A_TOKEN: usize = 4;
/// Microseconds.
const FIRST_TOKEN: u64 = 50_000;
/// Microseconds.
const TOKEN: u64 = 8_000;

/// How many sessions, how fast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Tokens a block.
    pub(crate) block_size: usize,
    pub(crate) sessions: usize,
    /// Sessions that start in a second on average.
    pub(crate) rate: f64,
    pub(crate) seed: u64,
}

/// Something wrong in a recording.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {error}")]
pub(crate) struct BadCall {
    line: usize,
    error: serde_json::Error,
}

#[derive(Deserialize)]
struct Row {
    timestamp: u64,
    session_id: String,
    output: String,
    input_lcp: usize,
    input_tail: String,
}

/// A recorded call.
struct Recorded {
    delay: u64,
    input_tokens: usize,
    output_tokens: usize,
    blocks: Vec<u64>,
}

/// The sessions of a recording, in order of their first calls.
pub(crate) struct Recording {
    sessions: Vec<Vec<Recorded>>,
    shared: FxHashSet<u64>,
    ids: u64,
}

impl Recording {
    pub(crate) fn read(text: &str, block_size: usize) -> Result<Self, BadCall> {
        let mut numbers: FxHashMap<String, usize> = FxHashMap::default();
        let mut open: Vec<Open> = Vec::new();
        let mut chain = Chain::new(block_size * CHARACTERS_A_TOKEN);
        for (text, line) in text.lines().zip(1..) {
            let call: Row = serde_json::from_str(text).map_err(|error| BadCall { line, error })?;
            let number = *numbers.entry(call.session_id.clone()).or_insert(open.len());
            if number == open.len() {
                open.push(Open::default());
            }
            open[number].call(&call, number, &mut chain);
        }
        Ok(Self {
            sessions: open.into_iter().map(|open| open.calls).collect(),
            shared: chain.shared(),
            ids: chain.next,
        })
    }

    /// Traffic made of them.
    pub(crate) fn trace(&self, plan: &Plan) -> Trace {
        let mut chance = fastrand::Rng::with_seed(plan.seed);
        let mut requests = Vec::new();
        let mut start = 0.0;
        for session in 0..plan.sessions {
            let repetition = (session / self.sessions.len()) as u64;
            let calls = &self.sessions[session % self.sessions.len()];
            let own = |&block: &u64| {
                if self.shared.contains(&block) {
                    block
                } else {
                    block + repetition * self.ids
                }
            };
            for (turn, call) in calls.iter().enumerate() {
                let arrival = match turn {
                    0 => Arrival::At(start as u64),
                    _ => Arrival::After {
                        request: requests.len() - 1,
                        delay: call.delay,
                    },
                };
                requests.push(Request {
                    arrival,
                    session: Some(session),
                    input_tokens: call.input_tokens,
                    output_tokens: call.output_tokens,
                    blocks: call.blocks.iter().map(own).collect(),
                    streamed: true,
                });
            }
            start += -(1.0 - chance.f64()).ln() / plan.rate * 1e6;
        }
        Trace {
            requests,
            block_size: plan.block_size,
        }
    }
}

/// A session being read.
#[derive(Default)]
struct Open {
    prompt: String,
    previous: Option<(u64, usize)>,
    calls: Vec<Recorded>,
}

impl Open {
    fn call(&mut self, call: &Row, session: usize, chain: &mut Chain) {
        let kept = self.prompt.char_indices().nth(call.input_lcp);
        self.prompt
            .truncate(kept.map_or(self.prompt.len(), |(at, _)| at));
        self.prompt.push_str(&call.input_tail);
        let output_tokens = tokens(&call.output);
        let delay = self.previous.map_or(0, |(timestamp, answer)| {
            let gap = call.timestamp.saturating_sub(timestamp);
            gap.saturating_sub(FIRST_TOKEN + TOKEN * answer as u64)
        });
        self.previous = Some((call.timestamp, output_tokens));
        self.calls.push(Recorded {
            delay,
            input_tokens: tokens(&self.prompt),
            output_tokens,
            blocks: chain.blocks(&self.prompt, session),
        });
    }
}

fn tokens(text: &str) -> usize {
    text.chars().count().div_ceil(CHARACTERS_A_TOKEN).max(1)
}

/// Gives every prefix of whole blocks a number.
struct Chain {
    characters: usize,
    next: u64,
    /// By (the prefix before, the block's text): the number and the sessions' first; None once there are several.
    known: FxHashMap<(u64, String), (u64, Option<usize>)>,
}

impl Chain {
    fn new(characters: usize) -> Self {
        Self {
            characters,
            next: 1,
            known: FxHashMap::default(),
        }
    }

    fn blocks(&mut self, prompt: &str, session: usize) -> Vec<u64> {
        let characters: Vec<char> = prompt.chars().collect();
        let mut before = 0;
        let whole = characters.chunks_exact(self.characters);
        let blocks = whole.map(|block| {
            let key = (before, block.iter().collect());
            let (id, owner) = self.known.entry(key).or_insert_with(|| {
                self.next += 1;
                (self.next - 1, Some(session))
            });
            if *owner != Some(session) {
                *owner = None;
            }
            before = *id;
            *id
        });
        blocks.collect()
    }

    /// Prefixes that more than one session has.
    fn shared(&self) -> FxHashSet<u64> {
        let several = self.known.values().filter(|(_, owner)| owner.is_none());
        several.map(|&(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDING: &str = concat!(
        r#"{"timestamp":1000000,"session_id":"a","output":"12345","input_lcp":0,"input_tail":"aaaabbbbcc"}"#,
        "\n",
        r#"{"timestamp":1500000,"session_id":"b","output":"","input_lcp":0,"input_tail":"aaaaxxxx"}"#,
        "\n",
        r#"{"timestamp":2000000,"session_id":"a","output":"1","input_lcp":4,"input_tail":"dddde"}"#,
    );

    #[test]
    fn calls_become_a_closed_loop() {
        let recording = Recording::read(RECORDING, 1).unwrap();
        let plan = Plan {
            block_size: 1,
            sessions: 4,
            rate: 1.0,
            seed: 1,
        };
        let trace = recording.trace(&plan);
        let [a, again, b, copy, ..] = &trace.requests[..] else {
            panic!("six requests");
        };
        assert_eq!((a.input_tokens, a.output_tokens), (3, 2));
        assert_eq!(a.arrival, Arrival::At(0));
        // A second, less 50 ms and two tokens.
        let delay = 934_000;
        assert_eq!(again.arrival, Arrival::After { request: 0, delay });
        assert_eq!(again.input_tokens, 3);
        assert_eq!(again.blocks[0], a.blocks[0]);
        assert_ne!(again.blocks[1], a.blocks[1]);
        assert_eq!((b.input_tokens, b.output_tokens), (2, 1));
        // The first block is in both sessions, and so a template; the others are a repetition's own.
        assert_eq!(b.blocks[0], a.blocks[0]);
        assert_eq!(copy.blocks[0], a.blocks[0]);
        assert_ne!(copy.blocks[1], a.blocks[1]);
        assert_eq!(trace, recording.trace(&plan));
    }

    #[test]
    fn a_bad_call_is_named() {
        let error = Recording::read("{}", 1).err().unwrap().to_string();
        assert!(error.starts_with("line 1: missing field"), "{error}");
    }
}
