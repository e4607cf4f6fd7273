//! The queue of completions: what the runtime's threads hand to the consumer's thread.
//!
//! An exchange stands in it at most once. The eventfd is written when exchanges wait and the consumer does not know
//! yet; not at each push but when the runtime's thread is about to sleep or [`BATCH`] exchanges have gathered, so
//! that one wake-up serves everything that became ready in the same turn of the runtime.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};

/// Exchanges after which the consumer is woken although the runtime has more to do.
const BATCH: usize = 16;

pub(crate) struct Completions<T> {
    waiting: Mutex<Waiting<T>>,
    /// Exchanges wait and the eventfd was not written for them.
    unannounced: AtomicBool,
    wake: OwnedFd,
}

struct Waiting<T> {
    items: VecDeque<T>,
    announced: bool,
}

impl<T> Completions<T> {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            waiting: Mutex::new(Waiting {
                items: VecDeque::new(),
                announced: false,
            }),
            unannounced: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Adds an item; [`Completions::announce`] must follow before the thread sleeps.
    pub(crate) fn push(&self, item: T) {
        let full = {
            let mut waiting = self.waiting.lock();
            waiting.items.push_back(item);
            if waiting.announced {
                return;
            }
            self.unannounced.store(true, Ordering::Release);
            waiting.items.len() >= BATCH
        };
        if full {
            self.announce();
        }
    }

    /// Wakes the consumer if items wait that it was not told of.
    pub(crate) fn announce(&self) {
        if !self.unannounced.swap(false, Ordering::AcqRel) {
            return;
        }
        {
            let mut waiting = self.waiting.lock();
            if waiting.announced || waiting.items.is_empty() {
                return;
            }
            waiting.announced = true;
        }
        self.write();
    }

    /// Moves up to `limit` items to `batch`. When more wait, the eventfd is written again.
    pub(crate) fn take(&self, batch: &mut Vec<T>, limit: usize) {
        // Cleared before the items are taken: a push after that writes anew. Empty is not an error here.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        let more = {
            let mut waiting = self.waiting.lock();
            let count = waiting.items.len().min(limit);
            batch.extend(waiting.items.drain(..count));
            waiting.announced = !waiting.items.is_empty();
            waiting.announced
        };
        if more {
            self.write();
        }
    }

    fn write(&self) {
        // Fails only when the counter is at its maximum, and then the eventfd is readable anyway.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}
