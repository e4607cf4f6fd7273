//! Sessions of agents, as `LMCache` publishes them: closed-loop traffic.
//!
//! A call a line: `timestamp` (us), `session_id`, `output`, and the prompt as `input_lcp`, the characters that it shares with
//! the session's previous prompt, and `input_tail`, what follows them.
//!
//! - Four characters are a token, for prompts and answers.
//! - A call follows the previous one's answer after the recorded gap between the two, less what the previous call
//!   would nominally have taken: [`FIRST_TOKEN`] and [`TOKEN`] for each token of its answer, an idle engine of the batching
//!   model. What is left is the tool's time, at least 0.
//! - Such traces are recorded a session or two at a time, which no fleet would notice. So the sessions can be had over and
//!   over, each repetition with content of its own. Blocks that several recorded sessions have stay shared between
//!   repetitions: these are templates.

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Deserialize;

use super::mooncake::{Problem, TraceError};
use super::{Arrival, Request, Trace};

const CHARACTERS_A_TOKEN: usize = 4;
/// Microseconds.
const FIRST_TOKEN: u64 = 50_000;
/// Microseconds.
const TOKEN: u64 = 8_000;

#[derive(Deserialize)]
struct Row {
    timestamp: u64,
    session_id: String,
    output: String,
    input_lcp: usize,
    input_tail: String,
}

/// A recorded call.
#[derive(Debug)]
struct Recorded {
    delay: u64,
    input_tokens: usize,
    output_tokens: usize,
    blocks: Vec<u64>,
}

/// The sessions of a trace, in order of their first calls.
#[derive(Debug)]
pub struct Sessions {
    recorded: Vec<Session>,
    shared: FxHashSet<u64>,
    ids: u64,
    block_size: usize,
}

#[derive(Debug)]
struct Session {
    /// Of the first call, in microseconds from that of the trace's first.
    start: u64,
    calls: Vec<Recorded>,
}

impl Sessions {
    /// Reads a trace for blocks of `block_size` tokens. Empty lines are skipped.
    pub fn read(text: &str, block_size: usize) -> Result<Self, TraceError> {
        let block_size = block_size.max(1);
        let mut numbers: FxHashMap<String, usize> = FxHashMap::default();
        let mut open: Vec<Open> = Vec::new();
        let mut chain = Chain::new(block_size.saturating_mul(CHARACTERS_A_TOKEN));
        for (text, line) in text.lines().zip(1..) {
            if text.trim().is_empty() {
                continue;
            }
            let wrong = |error| TraceError {
                line,
                problem: Problem::from(error),
            };
            let call: Row = serde_json::from_str(text).map_err(wrong)?;
            let number = *numbers.entry(call.session_id.clone()).or_insert(open.len());
            if number == open.len() {
                open.push(Open::new(call.timestamp));
            }
            open[number].call(&call, number, &mut chain);
        }
        let first = open.iter().map(|open| open.start).min().unwrap_or(0);
        let sessions = open.into_iter().map(|open| Session {
            start: open.start - first,
            calls: open.calls,
        });
        Ok(Self {
            recorded: sessions.collect(),
            shared: chain.shared(),
            ids: chain.next,
            block_size,
        })
    }

    /// When the recorded sessions start, in microseconds.
    pub fn starts(&self) -> impl Iterator<Item = u64> {
        self.recorded.iter().map(|session| session.start)
    }

    /// Starts of so many sessions, as many a second as were recorded, at even distances.
    pub fn starts_of(&self, count: usize) -> impl Iterator<Item = u64> {
        let last = self.starts().max().unwrap_or(0);
        let each = last / (self.recorded.len() as u64).saturating_sub(1).max(1);
        (0..count as u64).map(move |session| session.saturating_mul(each))
    }

    /// Traffic made of the recorded sessions, in their order and over and over, one for each start (microseconds).
    pub fn trace(&self, starts: impl IntoIterator<Item = u64>) -> Trace {
        let mut requests = Vec::new();
        let sessions = self.recorded.iter().cycle().enumerate();
        for (start, (number, session)) in starts.into_iter().zip(sessions) {
            let repetition = (number / self.recorded.len()) as u64;
            let own = |&block: &u64| {
                if self.shared.contains(&block) {
                    block
                } else {
                    block + repetition * self.ids
                }
            };
            for (turn, call) in session.calls.iter().enumerate() {
                let arrival = match turn {
                    0 => Arrival::At(start),
                    _ => Arrival::After {
                        request: requests.len() - 1,
                        delay: call.delay,
                    },
                };
                requests.push(Request {
                    arrival,
                    session: Some(number),
                    input_tokens: call.input_tokens,
                    output_tokens: call.output_tokens,
                    blocks: call.blocks.iter().map(own).collect(),
                    streamed: true,
                });
            }
        }
        Trace {
            requests,
            block_size: self.block_size,
        }
    }
}

/// A session being read.
struct Open {
    start: u64,
    prompt: String,
    previous: Option<(u64, usize)>,
    calls: Vec<Recorded>,
}

impl Open {
    const fn new(start: u64) -> Self {
        Self {
            start,
            prompt: String::new(),
            previous: None,
            calls: Vec::new(),
        }
    }

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
        let sessions = Sessions::read(RECORDING, 1).unwrap();
        let trace = sessions.trace([0, 7, 9, 9]);
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
        assert_eq!(copy.arrival, Arrival::At(9));
        assert_eq!(copy.session, Some(2));
        assert_eq!(trace.requests.len(), 6);
    }

    #[test]
    fn sessions_start_as_recorded_or_at_that_rate() {
        let sessions = Sessions::read(RECORDING, 1).unwrap();
        assert!(sessions.starts().eq([0, 500_000]));
        assert!(sessions.starts_of(3).eq([0, 500_000, 1_000_000]));
        let nobody = Sessions::read("\n", 1).unwrap();
        assert_eq!(nobody.starts_of(3).count(), 3);
        assert!(nobody.trace([0, 1]).requests.is_empty());
    }

    #[test]
    fn a_bad_call_is_named() {
        let error = Sessions::read("{}", 1).unwrap_err().to_string();
        assert!(error.contains("line 1: column 2: missing field"), "{error}");
    }
}
