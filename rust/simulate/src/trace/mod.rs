//! Requests over time.

mod agents;
mod mooncake;
mod recording;

pub use agents::Sessions;
pub use mooncake::{Problem, TraceError};

/// Requests in the order of their rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The requests; a closed-loop one comes after the one it waits for.
    pub requests: Vec<Request>,
    /// Tokens a block.
    pub block_size: usize,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// When it is sent.
    pub arrival: Arrival,
    /// Which session it belongs to; numbers count up from 0.
    pub session: Option<usize>,
    /// Tokens of the prompt, at least 1.
    pub input_tokens: usize,
    /// Tokens of the answer, at least 1.
    pub output_tokens: usize,
    /// Chained ids of the prompt's whole blocks: one equal id means an equal prefix. The rest after them has none, as
    /// engines cache whole blocks only.
    pub blocks: Box<[u64]>,
    /// Whether the answer is streamed.
    pub streamed: bool,
}

/// When a request is sent, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// At a time, whatever the fleet does.
    At(u64),
    /// Some time after the end of an earlier request of the trace; never, when there is no such request.
    After {
        /// Position of the earlier request.
        request: usize,
        /// Microseconds from its end.
        delay: u64,
    },
}

impl Trace {
    /// Makes arrivals `factor` times as dense. Delays after an answer stay: they belong to the client.
    #[must_use]
    pub fn faster(mut self, factor: f64) -> Self {
        for request in &mut self.requests {
            if let Arrival::At(at) = &mut request.arrival {
                *at = (*at as f64 / factor).round() as u64;
            }
        }
        self
    }

    /// Only the first `count` requests.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        self.requests.truncate(count);
        self
    }
}
