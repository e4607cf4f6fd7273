//! What is known of a request in the end.

use crate::chooser::Outcome;

/// One request. Times are microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Position in the trace.
    pub request: usize,
    /// Worker of the whole request or of its prompt, by position among those of the role.
    pub worker: usize,
    /// Worker of the other tokens, where that is another one.
    pub decode_worker: Option<usize>,
    /// When it reached the router.
    pub arrival: u64,
    /// When the first token was there; its arrival when it was refused.
    pub first: u64,
    /// When it was over.
    pub end: u64,
    /// Tokens of the prompt.
    pub input_tokens: usize,
    /// Tokens of the answer; 0 when it was refused.
    pub output_tokens: usize,
    /// Prompt tokens that the engine had in its cache.
    pub cached_tokens: usize,
    /// Prompt tokens that the chooser believed to be there.
    pub predicted_tokens: Option<usize>,
    /// How it went.
    pub outcome: Outcome,
}
