//! The seam between the simulation and a router.

/// Chooses workers; told what happens to what it chose. Times are microseconds and never run backwards.
pub trait Chooser {
    /// Chooses a worker of `role` for a request and books it under `ticket`.
    fn choose(&mut self, role: Role, ask: &Ask<'_>, ticket: Ticket, now: u64) -> Pick;

    /// The first token of a streamed answer reached the client. Never called for whole answers.
    fn first_byte(&mut self, ticket: Ticket, now: u64);

    /// The booked work is over. Called once for each ticket.
    fn end(&mut self, ticket: Ticket, ended: &Ended, now: u64);
}

/// Names one choice: unique within a run, counted up from 0.
pub type Ticket = usize;

/// What a worker is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A whole request.
    Mixed,
    /// The prompt and the first token.
    Prefill,
    /// All tokens but the first.
    Decode,
}

/// A request as a router sees it.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Position in the trace.
    pub request: usize,
    /// Chained ids of the prompt's whole blocks.
    pub blocks: &'a [u64],
    /// Tokens a block.
    pub block_size: usize,
    /// Prompt tokens, those after the last whole block included.
    pub input_tokens: usize,
    /// The session, as a number of the trace.
    pub session: Option<usize>,
    /// Whether the answer is streamed.
    pub streamed: bool,
}

/// A choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Position of the worker among those of the role.
    pub worker: usize,
    /// Prompt tokens that the worker is believed to hold; None when the chooser has no opinion.
    pub predicted_tokens: Option<usize>,
}

impl Pick {
    /// A choice without a word on what the worker holds.
    pub const fn blind(worker: usize) -> Self {
        Self {
            worker,
            predicted_tokens: None,
        }
    }
}

/// What became of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, the ones the engine had in its cache; None for a decode worker, which is handed the prompt's KV.
    pub cached_tokens: Option<usize>,
    /// Tokens generated under this ticket.
    pub output_tokens: usize,
    /// Whether it was served.
    pub outcome: Outcome,
}

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All tokens came.
    Served,
    /// The engine refused it: prompt and answer do not fit into its cache.
    Refused,
}
