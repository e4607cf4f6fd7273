//! Mooncake's trace format: one JSON object a line.
//!
//! `timestamp` (ms), `input_length`, `output_length` (tokens) and `hash_ids` (one id a block, the last one perhaps of
//! a partial block) as in <https://github.com/kvcache-ai/Mooncake>. With `session_id` and `delay` (ms), as NVIDIA
//! Dynamo reads them, a request is sent `delay` after the end of its session's previous one. Other keys are ignored.

use rustc_hash::FxHashMap;
use serde::Deserialize;

use super::{Arrival, Request, Trace};

/// Three centuries: what is more is of another unit, and would not fit beside what is added to it.
const MAX_MILLIS: f64 = 1e13;

/// A row that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TraceError {
    /// Line number from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a row.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Not JSON, or not of the trace's shape.
    #[error("column {column}: {problem}")]
    Json {
        /// Where the parser stopped, from 1.
        column: usize,
        /// What it says.
        problem: String,
    },
    /// Neither a time nor a delay after a previous request.
    #[error("needs a timestamp, or a delay and an earlier row of its session_id")]
    NoArrival,
    /// A time that is negative or above [`MAX_MILLIS`].
    #[error("timestamp and delay are milliseconds, from 0 to {MAX_MILLIS:e}")]
    BadTime,
}

impl From<serde_json::Error> for Problem {
    /// The parser's own line is always the first: it is given one row.
    fn from(error: serde_json::Error) -> Self {
        let (text, column) = (error.to_string(), error.column());
        let end = format!(" at line {} column {column}", error.line());
        let problem = text.strip_suffix(&end).unwrap_or(&text).to_owned();
        Self::Json { column, problem }
    }
}

#[derive(Deserialize)]
struct Row<'a> {
    timestamp: Option<f64>,
    delay: Option<f64>,
    #[serde(borrow)]
    session_id: Option<Session<'a>>,
    input_length: usize,
    output_length: usize,
    hash_ids: Vec<u64>,
    #[serde(default = "yes")]
    stream: bool,
}

/// Text or number: both occur.
#[derive(Deserialize, PartialEq, Eq, Hash)]
#[serde(untagged)]
enum Session<'a> {
    Number(u64),
    Text(#[serde(borrow)] std::borrow::Cow<'a, str>),
}

const fn yes() -> bool {
    true
}

impl Trace {
    /// Reads a trace whose blocks have `block_size` tokens. Empty lines are skipped.
    pub fn from_mooncake(text: &str, block_size: usize) -> Result<Self, TraceError> {
        let block_size = block_size.max(1);
        let mut requests = Vec::new();
        // By session: its number, and its latest request.
        let mut sessions: FxHashMap<Session<'_>, (usize, usize)> = FxHashMap::default();
        let rows = text
            .lines()
            .zip(1..)
            .filter(|(row, _)| !row.trim().is_empty());
        for (text, line) in rows {
            let wrong = |problem| TraceError { line, problem };
            let row: Row<'_> = serde_json::from_str(text).map_err(|error| wrong(error.into()))?;
            let position = requests.len();
            let mut previous = None;
            let session = row.session_id.map(|session| {
                let number = sessions.len();
                let entry = sessions.entry(session).or_insert((number, position));
                previous = (entry.1 < position).then_some(entry.1);
                entry.1 = position;
                entry.0
            });
            let arrival = match (row.delay, previous, row.timestamp) {
                (Some(delay), Some(request), _) => Arrival::After {
                    request,
                    delay: micros(delay).map_err(wrong)?,
                },
                (_, _, Some(timestamp)) => Arrival::At(micros(timestamp).map_err(wrong)?),
                _ => return Err(wrong(Problem::NoArrival)),
            };
            let input_tokens = row.input_length.max(1);
            let mut blocks = row.hash_ids;
            blocks.truncate(input_tokens / block_size);
            requests.push(Request {
                arrival,
                session,
                input_tokens,
                output_tokens: row.output_length.max(1),
                blocks: blocks.into(),
                streamed: row.stream,
            });
        }
        Ok(Self {
            requests,
            block_size,
        })
    }
}

fn micros(millis: f64) -> Result<u64, Problem> {
    if (0.0..=MAX_MILLIS).contains(&millis) {
        Ok((millis * 1_000.0).round() as u64)
    } else {
        Err(Problem::BadTime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read() {
        let text = concat!(
            r#"{"timestamp": 27, "input_length": 1025, "output_length": 5, "hash_ids": [0, 9, 8], "x": 1}"#,
            "\n\n",
            r#"{"timestamp": 27, "input_length": 1024, "output_length": 0, "hash_ids": [0, 7]}"#,
        );
        let trace = Trace::from_mooncake(text, 512).unwrap();
        let [one, two] = &trace.requests[..] else {
            panic!("two rows");
        };
        assert_eq!(one.arrival, Arrival::At(27_000));
        assert_eq!(one.session, None);
        assert!(one.streamed);
        // The third id is of a partial block.
        assert_eq!(*one.blocks, [0, 9]);
        assert_eq!(*two.blocks, [0, 7]);
        assert_eq!(two.output_tokens, 1);
    }

    #[test]
    fn a_delay_closes_the_loop() {
        let row = |extra: &str| {
            format!(r#"{{"input_length": 1, "output_length": 1, "hash_ids": [], {extra}}}"#)
        };
        let rows = [
            row(r#""timestamp": 0, "session_id": "a""#),
            row(r#""timestamp": 1, "session_id": 7"#),
            row(r#""delay": 1.5, "session_id": "a""#),
            row(r#""timestamp": 9, "session_id": 7"#),
            row(r#""delay": 0, "session_id": "a", "timestamp": 99"#),
        ];
        let trace = Trace::from_mooncake(&rows.join("\n"), 512).unwrap();
        let arrivals: Vec<_> = trace
            .requests
            .iter()
            .map(|request| request.arrival)
            .collect();
        let after = |request, delay| Arrival::After { request, delay };
        assert_eq!(
            arrivals,
            [
                Arrival::At(0),
                Arrival::At(1_000),
                after(0, 1_500),
                Arrival::At(9_000),
                after(2, 0)
            ]
        );
        let sessions: Vec<_> = trace
            .requests
            .iter()
            .map(|request| request.session)
            .collect();
        assert_eq!(sessions, [Some(0), Some(1), Some(0), Some(1), Some(0)]);
    }

    #[test]
    fn a_bad_row_is_named() {
        let error = |text: &str| Trace::from_mooncake(text, 512).unwrap_err().to_string();
        assert!(error("\n{").starts_with("line 2: "));
        let row = r#"{"input_length": 1, "output_length": 1, "hash_ids": [], "session_id": "a", "delay": 1}"#;
        assert!(error(row).starts_with("line 1: needs a timestamp"));
        let row = r#"{"input_length": 1, "output_length": 1, "hash_ids": [], "timestamp": -1}"#;
        assert!(error(row).starts_with("line 1: timestamp and delay"));
    }

    #[test]
    fn only_arrivals_are_scaled() {
        let request = |arrival| Request {
            arrival,
            session: None,
            input_tokens: 1,
            output_tokens: 1,
            blocks: Box::default(),
            streamed: true,
        };
        let after = Arrival::After {
            request: 0,
            delay: 10,
        };
        let trace = Trace {
            requests: vec![request(Arrival::At(10)), request(after)],
            block_size: 1,
        };
        let trace = trace.faster(2.0);
        assert_eq!(trace.requests[0].arrival, Arrival::At(5));
        assert_eq!(trace.requests[1].arrival, after);
    }
}
