//! A worker's counters, and what was learnt of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::held::{Foreign, Held};
use super::lease::Burden;
use super::observed::Observed;
use super::truth::Truth;
use crate::hash;

/// Of what is known of a worker's speed, the share that one more request leaves: some thirty requests count.
const MEMORY: f64 = 0.97;
/// Milliseconds in which what was recorded counts half.
const HALF_LIFE: f64 = 60_000.0;
/// Parts of a token that are counted: the counters are whole numbers, which can be added to without a lock.
pub(super) const PARTS: f64 = 16.0;

/// A worker as the policies see it. Counters change without a lock and only through leases.
#[derive(Debug)]
pub struct Worker {
    url: Arc<str>,
    key: u64,
    running: AtomicU64,
    tokens: AtomicU64,
    weight: AtomicU64,
    pending: AtomicU64,
    resident: AtomicU64,
    foreign: Foreign,
    observed: Observed,
    pace: Mutex<Pace>,
    /// Bits of a number of tokens; 0 is not known.
    capacity: AtomicU64,
    truth: Truth,
    /// When its engine ended last, in milliseconds plus one; 0 is never.
    ended: AtomicU64,
}

/// What the policies want to know of the past.
#[derive(Debug, Default)]
struct Pace {
    /// Tokens prefilled, and milliseconds that took, both fading.
    tokens: f64,
    millis: f64,
    /// Uncached tokens that were sent here, fading with time.
    recorded: f64,
    recorded_at: u64,
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
            pending: AtomicU64::new(0),
            resident: AtomicU64::new(0),
            foreign: Foreign::default(),
            observed: Observed::default(),
            pace: Mutex::default(),
            capacity: AtomicU64::new(0),
            truth: Truth::default(),
            ended: AtomicU64::new(0),
        }
    }

    /// The worker's identity.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same, to be kept beyond the worker.
    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.url
    }

    /// A hash of the url.
    pub(crate) const fn key(&self) -> u64 {
        self.key
    }

    /// Requests that it has in hand, those of other routers included.
    pub fn running(&self) -> u64 {
        self.leases() + self.foreign.running()
    }

    /// Leases out: requests of this router alone.
    pub fn leases(&self) -> u64 {
        self.running.load(Ordering::Relaxed)
    }

    /// Tokens of this router's prompts still to be prefilled, as upstream (the Go router) estimates them.
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// What prompts still to be prefilled weigh in a choice: their tokens, and what a prompt has beside its text. With
    /// those of other routers.
    pub fn weight(&self) -> u64 {
        self.weight.load(Ordering::Relaxed) + self.foreign.weight()
    }

    /// Uncached prompt tokens of requests without a first byte, those of other routers included.
    pub fn pending(&self) -> f64 {
        self.pending.load(Ordering::Relaxed) as f64 / PARTS + self.foreign.pending()
    }

    /// Prompt tokens of all requests in hand, those of other routers included.
    pub fn resident(&self) -> f64 {
        self.resident.load(Ordering::Relaxed) as f64 / PARTS + self.foreign.resident()
    }

    /// What this router alone has in hand here.
    pub fn own(&self) -> Held {
        Held {
            running: self.leases(),
            weight: self.weight.load(Ordering::Relaxed),
            pending: self.pending.load(Ordering::Relaxed) as f64 / PARTS,
            resident: self.resident.load(Ordering::Relaxed) as f64 / PARTS,
        }
    }

    /// Takes what all other routers together have in hand here.
    pub(crate) fn set_foreign(&self, held: &Held) {
        self.foreign.set(held);
    }

    /// Whether this router has nothing in hand here.
    pub fn is_idle(&self) -> bool {
        let own = self.own();
        own.running == 0 && self.tokens() == 0 && own.weight == 0
    }

    /// What its answers say of its cache.
    pub(crate) const fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Takes the engine's own counts, as of `now`.
    pub fn observe(&self, running: f64, waiting: f64, now: u64) {
        self.observed
            .set(running - self.running() as f64, waiting, now);
    }

    /// The engine's own (running, waiting) if they are younger than `max_age`, with what routers sent there and ended since:
    /// an engine is asked now and then, and whoever was the least loaded would get everything until it is asked again.
    pub fn observed(&self, now: u64, max_age: u64) -> Option<(f64, f64)> {
        let (beside_ours, waiting) = self.observed.get(now, max_age)?;
        Some(((beside_ours + self.running() as f64).max(0.0), waiting))
    }

    /// Prompt tokens a second that the worker prefills, waiting included; None where no stream has shown it.
    pub fn speed(&self) -> Option<f64> {
        let pace = self.pace.lock();
        (pace.millis > 0.0 && pace.tokens > 0.0).then(|| pace.tokens / pace.millis * 1e3)
    }

    /// What [`Worker::speed`] goes by: (tokens prefilled, milliseconds).
    pub(crate) fn pace(&self) -> (f64, f64) {
        let pace = self.pace.lock();
        (pace.tokens, pace.millis)
    }

    pub(crate) fn set_pace(&self, (tokens, millis): (f64, f64)) {
        let mut pace = self.pace.lock();
        (pace.tokens, pace.millis) = (tokens, millis);
    }

    /// Tokens that the worker's cache holds; None where that is not known.
    pub fn capacity(&self) -> Option<f64> {
        Some(f64::from_bits(self.capacity.load(Ordering::Relaxed))).filter(|tokens| *tokens > 0.0)
    }

    pub(crate) fn set_capacity(&self, tokens: Option<f64>) {
        let bits = tokens.unwrap_or(0.0).to_bits();
        self.capacity.store(bits, Ordering::Relaxed);
    }

    /// Notes that its engine ended.
    pub(crate) fn ended(&self, now: u64) {
        self.ended.store(now + 1, Ordering::Relaxed);
    }

    /// Whether that was within so many milliseconds.
    pub(crate) fn ended_within(&self, millis: u64, now: u64) -> bool {
        let ended = self.ended.load(Ordering::Relaxed).checked_sub(1);
        ended.is_some_and(|ended| now.saturating_sub(ended) < millis)
    }

    /// Uncached tokens that were recorded here lately.
    pub(crate) fn recorded(&self, now: u64) -> f64 {
        self.pace.lock().recorded(now)
    }

    pub(crate) fn record(&self, uncached: f64, now: u64) {
        let mut pace = self.pace.lock();
        pace.recorded = pace.recorded(now) + uncached;
        pace.recorded_at = now;
    }

    /// Books a burden. Returns (running, tokens) and pending after it.
    pub(super) fn take(&self, burden: &Burden) -> ((u64, u64), f64) {
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        let tokens = self.tokens.fetch_add(burden.tokens, Ordering::Relaxed) + burden.tokens;
        self.weight.fetch_add(burden.weight, Ordering::Relaxed);
        self.resident
            .fetch_add(parts(burden.prompt), Ordering::Relaxed);
        self.pending
            .fetch_add(parts(burden.uncached), Ordering::Relaxed);
        ((running, tokens), self.pending())
    }

    pub(super) fn give_pending(&self, uncached: f64) {
        self.pending.fetch_sub(parts(uncached), Ordering::Relaxed);
    }

    pub(super) fn give_tokens(&self, burden: &Burden) -> u64 {
        self.weight.fetch_sub(burden.weight, Ordering::Relaxed);
        self.tokens.fetch_sub(burden.tokens, Ordering::Relaxed) - burden.tokens
    }

    pub(super) fn give_running(&self, prompt: f64) -> u64 {
        self.resident.fetch_sub(parts(prompt), Ordering::Relaxed);
        self.running.fetch_sub(1, Ordering::Relaxed) - 1
    }

    /// Notes that a stream's first byte took `millis` with `tokens` to be prefilled before it.
    pub(super) fn prefilled(&self, tokens: f64, millis: u64) {
        let mut pace = self.pace.lock();
        pace.tokens = pace.tokens * MEMORY + tokens;
        pace.millis = pace.millis * MEMORY + millis as f64;
    }
}

impl Pace {
    fn recorded(&self, now: u64) -> f64 {
        let age = now.saturating_sub(self.recorded_at) as f64;
        self.recorded * (-age / HALF_LIFE).exp2()
    }
}

pub(super) fn parts(tokens: f64) -> u64 {
    (tokens * PARTS) as u64
}
