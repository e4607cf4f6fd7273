//! What engines say that they had cached, beside what was predicted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What an answer says of its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: u64,
    /// Those of them that the engine had cached; None where it does not say.
    pub cached: Option<u64>,
}

/// Sums over the answers that said how much was cached, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TruthStats {
    /// Tokens of prompts.
    pub prompt: u64,
    /// Predicted to be cached.
    pub predicted: u64,
    /// Cached.
    pub cached: u64,
    /// Predicted and not cached.
    pub gone: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Truth {
    prompt: AtomicU64,
    predicted: AtomicU64,
    cached: AtomicU64,
    gone: AtomicU64,
}

impl Truth {
    pub(crate) fn note(&self, prompt: u64, predicted: f64, cached: u64) {
        let predicted = predicted.round() as u64;
        self.prompt.fetch_add(prompt, Relaxed);
        self.predicted.fetch_add(predicted, Relaxed);
        self.cached.fetch_add(cached, Relaxed);
        self.gone
            .fetch_add(predicted.saturating_sub(cached), Relaxed);
    }

    pub(crate) fn snapshot(&self) -> TruthStats {
        TruthStats {
            prompt: self.prompt.load(Relaxed),
            predicted: self.predicted.load(Relaxed),
            cached: self.cached.load(Relaxed),
            gone: self.gone.load(Relaxed),
        }
    }
}
