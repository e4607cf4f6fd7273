//! Numbers for everything that changes the scheduler.
//!
//! Decisions and what follows them may happen on several threads. An exact replay needs the order in which the scheduler
//! saw them, so each event happens within a [`Turn`], of which there is one at a time.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::facts::Item;
use crate::ids::Ids;
use crate::line::{Change, What};
use crate::writer::Writer;

/// The events of one run, on their way to the writer.
#[derive(Debug)]
pub struct Tape {
    next: Mutex<u64>,
    requests: AtomicU64,
    ids: Ids,
    writer: Writer,
}

/// The right to change the scheduler, alone.
#[derive(Debug)]
pub struct Turn<'a> {
    tape: &'a Tape,
    next: MutexGuard<'a, u64>,
}

impl Tape {
    /// A tape from number 0.
    pub fn new(writer: Writer, ids: Ids) -> Self {
        Self {
            next: Mutex::default(),
            requests: AtomicU64::new(0),
            ids,
            writer,
        }
    }

    /// Waits for the others' turns. The time of what happens is to be read after it.
    pub fn turn(&self) -> Turn<'_> {
        Turn {
            tape: self,
            next: self.next.lock(),
        }
    }

    /// A number for a request that may have several decisions.
    pub fn request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// What hides names and hashes.
    pub const fn ids(&self) -> &Ids {
        &self.ids
    }

    pub(crate) fn put(&self, item: Item) {
        self.writer.put(item);
    }

    /// Where the lines go.
    pub const fn writer(&self) -> &Writer {
        &self.writer
    }
}

impl Turn<'_> {
    /// The number of what happens.
    pub fn number(&mut self) -> u64 {
        let number = *self.next;
        *self.next += 1;
        number
    }

    /// Tells of something beside decisions that happened at `now`.
    pub fn change(mut self, now: u64, what: What) {
        self.tell(now, what);
    }

    /// The same of one of several things that happen within the turn.
    pub fn tell(&mut self, now: u64, what: What) {
        let seq = self.number();
        self.tape.put(Item::Change(Change {
            seq,
            timestamp: now,
            what,
        }));
    }
}
