//! Azure's recorded lengths, put into sessions.
//!
//! The trace has times and lengths of prompts and answers, and no content. A prompt is taken for the next turn of the session
//! whose tokens so far it exceeds by least, seven times of ten and where there is one of the last ten minutes; else it
//! begins one. So lengths and times are real, and prefixes are as long as they may have been.

use std::collections::BTreeSet;

use fd_router_simulate::{Arrival, Request, Trace};

const BLOCK_SIZE: usize = 16;
const SEED: u64 = 1;
/// Microseconds after which a session is over.
const OVER: u64 = 600_000_000;

/// A row that is not a time and two numbers.
#[derive(Debug, thiserror::Error)]
#[error("line {0}: a time and two numbers are expected")]
pub(crate) struct BadRow(usize);

/// Reads `TIMESTAMP,ContextTokens,GeneratedTokens` below a head.
pub(crate) fn trace(text: &str) -> Result<Trace, BadRow> {
    let mut chance = fastrand::Rng::with_seed(SEED);
    let mut start = None;
    let mut sessions = Sessions::default();
    let mut requests = Vec::new();
    for (row, line) in text.lines().zip(1..).skip(1) {
        let (at, input_tokens, output_tokens) = fields(row).ok_or(BadRow(line))?;
        let at = at.saturating_sub(*start.get_or_insert(at));
        let goes_on = chance.f64() < 0.7;
        let session = sessions.turn(at, input_tokens, output_tokens, goes_on);
        let own = (session as u64 + 1) << 20;
        requests.push(Request {
            arrival: Arrival::At(at),
            session: Some(session),
            input_tokens,
            output_tokens,
            blocks: (0..(input_tokens / BLOCK_SIZE) as u64)
                .map(|block| own + block)
                .collect(),
            streamed: true,
        });
    }
    Ok(Trace {
        requests,
        block_size: BLOCK_SIZE,
    })
}

/// Microseconds of the day, and two numbers of at least 1.
fn fields(row: &str) -> Option<(u64, usize, usize)> {
    let mut fields = row.trim().split(',');
    let mut clock = fields.next()?.split_once(' ')?.1.split(':');
    let mut number = || clock.next()?.parse::<f64>().ok();
    let seconds = number()? * 3_600.0 + number()? * 60.0 + number()?;
    let mut tokens = || Some(fields.next()?.parse::<usize>().ok()?.max(1));
    Some(((seconds * 1e6) as u64, tokens()?, tokens()?))
}

#[derive(Default)]
struct Sessions {
    /// (tokens so far, time of the last turn, session).
    open: BTreeSet<(usize, u64, usize)>,
    count: usize,
}

impl Sessions {
    /// The session of a prompt.
    fn turn(&mut self, at: u64, input: usize, output: usize, goes_on: bool) -> usize {
        let found = if goes_on { self.take(at, input) } else { None };
        let session = found.unwrap_or(self.count);
        self.count += usize::from(found.is_none());
        self.open.insert((input + output, at, session));
        session
    }

    /// Takes the longest session that a prompt of `input` tokens exceeds, dropping those that are over.
    fn take(&mut self, at: u64, input: usize) -> Option<usize> {
        loop {
            let last = *self.open.range(..(input, 0, 0)).next_back()?;
            self.open.remove(&last);
            if at - last.1 < OVER {
                return Some(last.2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_goes_on_from_the_longest_that_it_exceeds() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.turn(0, 100, 10, true), 0);
        assert_eq!(sessions.turn(1, 100, 50, true), 1);
        assert_eq!(sessions.turn(2, 160, 1, true), 1);
        assert_eq!(sessions.turn(3, 160, 1, true), 0);
        assert_eq!(sessions.turn(4, 500, 1, false), 2);
        assert_eq!(sessions.turn(OVER * 2, 900, 1, true), 3);
    }

    #[test]
    fn rows_are_read() {
        let head = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
        let rows = "2023-11-16 18:15:46.5,374,44\n2023-11-16 18:15:48.0,396,0";
        let trace = trace(&format!("{head}{rows}")).unwrap();
        assert_eq!(trace.requests[1].arrival, Arrival::At(1_500_000));
        assert_eq!(trace.requests[0].blocks.len(), 23);
        assert_eq!(trace.requests[1].output_tokens, 1);
        let error = super::trace(&format!("{head}nonsense")).unwrap_err();
        assert!(error.to_string().starts_with("line 2: "));
    }
}
