//! What every worker has in hand: its counters, its own metrics, and the leases that are out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::hash;

/// A worker as the policies see it. Counters change without a lock and only through leases.
#[derive(Debug)]
pub struct Worker {
    url: Box<str>,
    key: u64,
    running: AtomicU64,
    tokens: AtomicU64,
    weight: AtomicU64,
    observed: Observed,
}

impl Worker {
    /// A worker with nothing in hand.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.into(),
            key: hash::of_name(url, 0),
            running: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            weight: AtomicU64::new(0),
            observed: Observed::default(),
        }
    }

    /// The worker's identity.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A hash of the url.
    pub(crate) const fn key(&self) -> u64 {
        self.key
    }

    /// Leases out.
    pub fn running(&self) -> u64 {
        self.running.load(Ordering::Relaxed)
    }

    /// Tokens of prompts still to be prefilled.
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// What those prompts weigh in a choice: their tokens, and what a prompt has beside its text.
    pub fn weight(&self) -> u64 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Whether nothing is in hand.
    pub fn is_idle(&self) -> bool {
        self.running() == 0 && self.tokens() == 0 && self.weight() == 0
    }

    /// Takes the engine's own counts, as of `now`.
    pub fn observe(&self, running: f64, waiting: f64, now: u64) {
        self.observed.set(running, waiting, now);
    }

    /// The engine's own (running, waiting) if they are younger than `max_age`.
    pub fn observed(&self, now: u64, max_age: u64) -> Option<(f64, f64)> {
        self.observed.get(now, max_age)
    }
}

/// An engine's own counts and when they were taken.
///
/// The pair stands in one word, so a reader never sees half of a change; `f32` is exact for counts up to 16 million.
#[derive(Debug, Default)]
struct Observed {
    pair: AtomicU64,
    /// Milliseconds plus one; 0 is never.
    stamp: AtomicU64,
}

impl Observed {
    fn set(&self, running: f64, waiting: f64, now: u64) {
        let pair =
            u64::from((running as f32).to_bits()) << 32 | u64::from((waiting as f32).to_bits());
        self.pair.store(pair, Ordering::Relaxed);
        self.stamp.store(now + 1, Ordering::Release);
    }

    fn get(&self, now: u64, max_age: u64) -> Option<(f64, f64)> {
        let stamp = self.stamp.load(Ordering::Acquire).checked_sub(1)?;
        if now.saturating_sub(stamp) > max_age {
            return None;
        }
        let pair = self.pair.load(Ordering::Relaxed);
        Some((
            f32::from_bits((pair >> 32) as u32).into(),
            f32::from_bits(pair as u32).into(),
        ))
    }
}

/// Bits of a lease's state.
const TOKENS_BACK: u8 = 1;
const ALL_BACK: u8 = 3;

/// What one request puts on its worker until its first byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Burden {
    /// Tokens of the prompt as upstream (the Go router) estimates and logs them.
    pub tokens: u64,
    /// What the prompt weighs in a choice.
    pub weight: u64,
}

/// One booked unit of load: running +1 and a burden, given back once, at the latest when dropped.
///
/// It holds its worker by reference, so it gives back to the counters that it booked on, whatever became of the url.
#[derive(Debug)]
pub struct Lease {
    worker: Arc<Worker>,
    burden: Burden,
    state: AtomicU8,
}

impl Lease {
    /// Books a unit. Returns it with the worker's (running, tokens) just after.
    pub fn new(worker: Arc<Worker>, burden: Burden) -> (Self, (u64, u64)) {
        let running = worker.running.fetch_add(1, Ordering::Relaxed) + 1;
        let total = worker.tokens.fetch_add(burden.tokens, Ordering::Relaxed) + burden.tokens;
        worker.weight.fetch_add(burden.weight, Ordering::Relaxed);
        (
            Self {
                worker,
                burden,
                state: AtomicU8::new(0),
            },
            (running, total),
        )
    }

    /// The worker that was booked.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Gives the burden back. Returns the worker's tokens after it; None if it was given back before.
    pub fn release_tokens(&self) -> Option<u64> {
        let before = self.state.fetch_or(TOKENS_BACK, Ordering::AcqRel);
        (before & TOKENS_BACK == 0).then(|| self.give_tokens())
    }

    /// Gives everything back. Returns the worker's running count after it and, unless they were given back before,
    /// its tokens; None if this was done before.
    pub fn release(&self) -> Option<(u64, Option<u64>)> {
        let before = self.state.swap(ALL_BACK, Ordering::AcqRel);
        (before != ALL_BACK).then(|| {
            let running = self.worker.running.fetch_sub(1, Ordering::Relaxed) - 1;
            (
                running,
                (before & TOKENS_BACK == 0).then(|| self.give_tokens()),
            )
        })
    }

    fn give_tokens(&self) -> u64 {
        let Burden { tokens, weight } = self.burden;
        self.worker.weight.fetch_sub(weight, Ordering::Relaxed);
        self.worker.tokens.fetch_sub(tokens, Ordering::Relaxed) - tokens
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn tokens(tokens: u64) -> Burden {
        Burden {
            tokens,
            weight: 2 * tokens,
        }
    }

    #[test]
    fn everything_is_given_back_once() {
        let worker = Arc::new(Worker::new("u"));
        let (first, after) = Lease::new(Arc::clone(&worker), tokens(10));
        assert_eq!(after, (1, 10));
        let (second, after) = Lease::new(Arc::clone(&worker), tokens(5));
        assert_eq!(after, (2, 15));
        assert_eq!(worker.weight(), 30);
        assert_eq!(first.release_tokens(), Some(5));
        assert_eq!(first.release_tokens(), None);
        assert_eq!(first.release(), Some((1, None)));
        assert_eq!(first.release(), None);
        assert_eq!(first.release_tokens(), None);
        drop(first);
        assert_eq!(second.release(), Some((0, Some(0))));
        drop(second);
        assert!(worker.is_idle());
    }

    #[test]
    fn dropping_gives_back() {
        let worker = Arc::new(Worker::new("u"));
        drop(Lease::new(Arc::clone(&worker), tokens(10)));
        assert!(worker.is_idle());
    }

    #[test]
    fn any_thread_may_release() {
        let worker = Arc::new(Worker::new("u"));
        let (lease, _) = Lease::new(Arc::clone(&worker), tokens(10));
        let released = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| lease.release().is_some()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .filter(|&done| done)
                .count()
        });
        assert_eq!(released, 1);
        assert!(worker.is_idle());
    }

    #[test]
    fn observed_counts_age() {
        let worker = Worker::new("u");
        assert_eq!(worker.observed(0, 3_000), None);
        worker.observe(5.0, 2.5, 1_000);
        assert_eq!(worker.observed(4_000, 3_000), Some((5.0, 2.5)));
        assert_eq!(worker.observed(4_001, 3_000), None);
    }
}
