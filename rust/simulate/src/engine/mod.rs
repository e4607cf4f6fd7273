//! Engines: what they take, what they tell, and when they want to be woken.

mod batching;
mod cache;
mod serial;

use crate::fleet::{self, Model};
use crate::trace::Request;

/// Work for an engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'t> {
    /// Position of the request in the trace.
    pub(crate) id: usize,
    pub(crate) request: &'t Request,
    pub(crate) part: Part,
}

/// Which part of a request an engine is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// The prompt and the first token.
    Prefill,
    /// The other tokens: the prompt's KV comes from elsewhere.
    Decode,
}

impl Job<'_> {
    /// Tokens to generate.
    pub(crate) fn tokens(&self) -> usize {
        match self.part {
            Part::Whole => self.request.output_tokens,
            Part::Prefill => 1,
            Part::Decode => self.request.output_tokens - 1,
        }
    }
}

/// What an engine tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct News {
    /// Position of the request in the trace.
    pub(crate) id: usize,
    pub(crate) kind: Kind,
}

/// Kinds of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first token is there; so many prompt tokens were cached.
    FirstToken { cached_tokens: usize },
    /// All tokens are there.
    Done,
    /// It does not fit.
    Refused,
}

/// An engine in virtual time.
pub(crate) trait Runs<'t> {
    /// Takes a job, which waits at least until the engine is woken.
    fn submit(&mut self, job: Job<'t>, now: u64);
    /// When it wants to be woken; None while there is nothing to do.
    fn next(&self) -> Option<u64>;
    /// Is woken at the time it wanted.
    fn wake(&mut self, now: u64, news: &mut Vec<News>);
    /// Its cache takes another size.
    fn resize(&mut self, cache_blocks: usize);
}

/// Makes an engine.
pub(crate) fn build<'t>(engine: &fleet::Engine, block_size: usize) -> Box<dyn Runs<'t> + 't> {
    let cache = cache::Cache::new(engine.cache_blocks);
    match engine.model {
        Model::Serial(model) => Box::new(serial::Serial::new(
            model,
            cache,
            block_size,
            engine.slowdown,
        )),
        Model::Batching(model) => Box::new(batching::Batching::new(
            model,
            cache,
            block_size,
            engine.slowdown,
        )),
    }
}

/// A duration on a slower engine.
fn scaled(micros: f64, slowdown: f64) -> u64 {
    (micros * slowdown).round() as u64
}
