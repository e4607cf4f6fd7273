//! One booked unit of load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::worker::Worker;

/// What one request puts on its worker.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Burden {
    /// Tokens of the prompt as upstream (the Go router) estimates and logs them; held until the first byte.
    pub tokens: u64,
    /// What the prompt weighs in a choice; held until the first byte.
    pub weight: u64,
    /// Tokens of the prompt that the worker lacks; held until the first byte.
    pub uncached: f64,
    /// Tokens of the prompt, which the worker's cache holds until the end.
    pub prompt: f64,
}

/// Bits of a lease's state.
const TOKENS_BACK: u8 = 1;
const PENDING_BACK: u8 = 2;
const ALL_BACK: u8 = 7;

/// What was booked, and what of it was given back.
#[derive(Debug)]
pub(crate) struct Booked {
    worker: Arc<Worker>,
    burden: Burden,
    /// Tokens that the worker had to prefill up to and with this request, and since when (milliseconds).
    queue: f64,
    since: u64,
    state: AtomicU8,
}

impl Booked {
    /// Gives back what waits for the first byte, but for the tokens that are logged; once.
    pub(crate) fn release_pending(&self) {
        let before = self.state.fetch_or(PENDING_BACK, Ordering::AcqRel);
        if before & PENDING_BACK == 0 {
            self.worker.give_pending(self.burden.uncached);
        }
    }
}

/// One booked unit of load: running +1 and a burden, given back once, at the latest when dropped.
///
/// It holds its worker by reference, so it gives back to the counters that it booked on, whatever became of the url.
#[derive(Debug)]
pub struct Lease(Arc<Booked>);

impl Lease {
    /// Books a unit at `now`, in milliseconds. Returns it with the worker's (running, tokens) just after.
    pub fn new(worker: Arc<Worker>, burden: Burden, now: u64) -> (Self, (u64, u64)) {
        let (after, queue) = worker.take(&burden);
        let booked = Booked {
            worker,
            burden,
            queue,
            since: now,
            state: AtomicU8::new(0),
        };
        (Self(Arc::new(booked)), after)
    }

    /// The worker that was booked.
    pub fn worker(&self) -> &Arc<Worker> {
        &self.0.worker
    }

    pub(crate) const fn booked(&self) -> &Arc<Booked> {
        &self.0
    }

    /// When the first byte is to be expected, by the worker's speed so far, else by that of `others`; None where
    /// neither is known.
    pub(crate) fn first_byte_due(&self, others: impl FnOnce() -> Option<f64>) -> Option<u64> {
        let speed = self.0.worker.speed().or_else(others)?;
        Some(self.0.since + (self.0.queue / speed * 1e3) as u64)
    }

    /// The first byte of a stream has come at `now`: gives the burden back. Returns the worker's tokens after it; None
    /// if it was given back before.
    pub fn first_byte(&self, now: u64) -> Option<u64> {
        let booked = &self.0;
        booked.release_pending();
        let before = booked.state.fetch_or(TOKENS_BACK, Ordering::AcqRel);
        (before & TOKENS_BACK == 0).then(|| {
            let took = now.saturating_sub(booked.since);
            booked.worker.prefilled(booked.queue, took);
            booked.worker.give_tokens(&booked.burden)
        })
    }

    /// Gives everything back. Returns the worker's running count after it and, unless they were given back before,
    /// its tokens; None if this was done before.
    pub fn release(&self) -> Option<(u64, Option<u64>)> {
        let booked = &self.0;
        booked.release_pending();
        let before = booked.state.swap(ALL_BACK, Ordering::AcqRel);
        (before != ALL_BACK).then(|| {
            let running = booked.worker.give_running(booked.burden.prompt);
            let tokens = before & TOKENS_BACK == 0;
            (
                running,
                tokens.then(|| booked.worker.give_tokens(&booked.burden)),
            )
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release();
    }
}
