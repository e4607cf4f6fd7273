//! What other routers have in hand at a worker, beside what is booked here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::worker::{PARTS, parts};

/// Requests and tokens that a figure of another router counts for at the most: sums of them stay exact.
const MOST: u64 = 1 << 40;

/// What one router has in hand at a worker, as far as policies go by it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Held {
    /// Leases out.
    pub running: u64,
    /// What the prompts still to be prefilled weigh in a choice by tokens.
    pub weight: u64,
    /// Uncached prompt tokens of requests without a first byte.
    pub pending: f64,
    /// Prompt tokens of all requests in hand.
    pub resident: f64,
}

impl Held {
    /// The same with every figure within what can be counted; what is no number counts as nothing.
    #[must_use]
    pub fn bounded(self) -> Self {
        // `max` also turns what is no number into 0.
        let tokens = |tokens: f64| tokens.max(0.0).min(MOST as f64);
        Self {
            running: self.running.min(MOST),
            weight: self.weight.min(MOST),
            pending: tokens(self.pending),
            resident: tokens(self.resident),
        }
    }

    /// The sum with another's.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            running: self.running + other.running,
            weight: self.weight + other.weight,
            pending: self.pending + other.pending,
            resident: self.resident + other.resident,
        }
    }
}

/// The sum of what all other routers have in hand; set as a whole, and read without a lock.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    running: AtomicU64,
    weight: AtomicU64,
    pending: AtomicU64,
    resident: AtomicU64,
}

impl Foreign {
    pub(super) fn set(&self, held: &Held) {
        self.running.store(held.running, Relaxed);
        self.weight.store(held.weight, Relaxed);
        self.pending.store(parts(held.pending), Relaxed);
        self.resident.store(parts(held.resident), Relaxed);
    }

    pub(super) fn running(&self) -> u64 {
        self.running.load(Relaxed)
    }

    pub(super) fn weight(&self) -> u64 {
        self.weight.load(Relaxed)
    }

    pub(super) fn pending(&self) -> f64 {
        self.pending.load(Relaxed) as f64 / PARTS
    }

    pub(super) fn resident(&self) -> f64 {
        self.resident.load(Relaxed) as f64 / PARTS
    }
}
