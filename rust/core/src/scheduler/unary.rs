//! Whole answers whose first byte nobody sees: what they keep of their worker's pending tokens is given back when the
//! worker should be through with their prompt.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};

use crate::load::Booked;

/// Milliseconds after which a prompt is taken for prefilled, whatever its worker's speed.
const LONGEST: u64 = 600_000;

/// Leases by when they are due. One that has ended stays until then, which is seconds.
#[derive(Debug, Default)]
pub(super) struct Unary(BinaryHeap<Due>);

#[derive(Debug)]
struct Due {
    at: u64,
    booked: Weak<Booked>,
}

impl Unary {
    pub(super) fn add(&mut self, booked: &Arc<Booked>, at: u64, now: u64) {
        let at = at.min(now + LONGEST);
        let booked = Arc::downgrade(booked);
        self.0.push(Due { at, booked });
    }

    /// Gives back what is due.
    pub(super) fn release(&mut self, now: u64) {
        while self.0.peek().is_some_and(|due| due.at <= now) {
            if let Some(booked) = self.0.pop().and_then(|due| due.booked.upgrade()) {
                booked.release_pending();
            }
        }
    }
}

/// The one that is due first is the greatest, as a heap wants it.
impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}
