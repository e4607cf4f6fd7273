//! What a scheduler knows, as bytes that outlive the process: prefixes, and what was learned of workers and models.
//!
//! Who may be chosen is not in it, nor are counters: workers come in by other ways, and a snapshot only says what is
//! thought of them when they do. What it says of prefixes counts half, until the worker proves to be the engine that it
//! was ([`Scheduler::learn`], [`Scheduler::tell_start`]), or is given the prefix anew. Of those who are not back when the
//! start is over ([`Scheduler::settle`]) nothing is believed.
//!
//! The layout stands in [`format`].

mod format;

use std::collections::HashMap;

use crate::ids::Slot;
use crate::tree::TreeCopy;

use super::Scheduler;
use super::roster::Learned;

pub use self::format::RestoreError;
use self::format::{Image, Sum, Tail, WorkerImage};

/// Bytes of what [`Scheduler::copy_more`] gives at a time, about; the tree is let go more often.
const PIECE: usize = 1 << 20;

/// A snapshot under way.
#[derive(Debug)]
pub struct SnapshotCopy {
    tree: TreeCopy,
    /// Who had which slot at the beginning: a slot that somebody else has at the end stands for nobody.
    slots: HashMap<String, Slot>,
    sum: Sum,
    begun: bool,
    ended: bool,
}

/// A snapshot that comes to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another one was begun, or prefixes change faster than they are copied")]
pub struct Unfinished;

/// What was taken from a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Blocks of the prefix tree.
    pub blocks: u64,
    /// Workers of which something is known, should they come.
    pub workers: usize,
}

impl Scheduler {
    /// Begins a snapshot; one at a time.
    pub fn copy_begin(&self) -> SnapshotCopy {
        let roster = self.roster.read();
        let slots = roster.learned().into_iter();
        SnapshotCopy {
            slots: slots.map(|(url, slot, _)| (url.to_owned(), slot)).collect(),
            tree: self.tree.lock().begin_copy(),
            sum: Sum::default(),
            begun: false,
            ended: false,
        }
    }

    /// The next bytes of a snapshot; None at its end. `wall` is the time in milliseconds since the epoch.
    pub fn copy_more(
        &self,
        copy: &mut SnapshotCopy,
        wall: u64,
    ) -> Result<Option<Vec<u8>>, Unfinished> {
        if copy.ended {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(PIECE + PIECE / 8);
        if !copy.begun {
            copy.begun = true;
            format::head(self.block_size, &mut bytes);
        }
        let mut more = true;
        while more && bytes.len() < PIECE {
            let mut tree = self.tree.lock();
            let step = tree.copy_more(&mut copy.tree, &mut bytes);
            // Whoever waits has it next.
            parking_lot::MutexGuard::unlock_fair(tree);
            more = step.ok_or(Unfinished)?;
        }
        if !more {
            copy.ended = true;
            format::tail(&self.tail(copy, wall), &mut bytes);
        }
        copy.sum.add(&bytes);
        if copy.ended {
            copy.sum.end(&mut bytes);
        }
        Ok(Some(bytes))
    }

    fn tail(&self, copy: &SnapshotCopy, wall: u64) -> Tail {
        let roster = self.roster.read();
        let tree = self.tree.lock();
        let same = |url: &str, slot: Slot| copy.slots.get(url) == Some(&slot);
        let workers = roster.learned().into_iter();
        let workers = workers.filter(|&(url, slot, _)| same(url, slot));
        let workers = workers.map(|(url, slot, learned)| WorkerImage {
            url: url.to_owned(),
            slot: slot.index() as u16,
            learned,
            history: tree.history(slot),
        });
        let (workers, clock) = (workers.collect(), tree.clock());
        drop(tree);
        drop(roster);
        let scales = self.scales.lock().all();
        Tail {
            clock,
            wall,
            workers,
            scales,
        }
    }

    /// Goes on from a snapshot, before anybody is a candidate and anything is recorded; else prefixes are left as they
    /// are. `wall` is the time in milliseconds since the epoch: what passed since the snapshot counts.
    pub fn restore(&self, bytes: &[u8], now: u64, wall: u64) -> Result<Restored, RestoreError> {
        let Image { edges, tail } = format::read(bytes, self.block_size)?;
        let mut roster = self.roster.write();
        let mut tree = self.tree.lock();
        let fills = tree.go_on(tail.clock, wall.saturating_sub(tail.wall).min(1 << 48), now);
        let mut slots = vec![None; Slot::LIMIT];
        for worker in &tail.workers {
            if roster.knows(&worker.url) {
                continue;
            }
            let slot = fills.then(|| tree.expect(&worker.history)).flatten();
            if let Some(place) = slots.get_mut(usize::from(worker.slot)) {
                *place = slot;
            }
            roster.expect(&worker.url, slot, worker.learned);
        }
        let blocks = if fills {
            tree.restore(edges.into_iter().rev(), &slots)
        } else {
            0
        };
        drop(tree);
        drop(roster);
        self.scales.lock().restore(tail.scales.into_iter());
        Ok(Restored {
            blocks,
            workers: tail.workers.len(),
        })
    }

    /// Everybody who is to come has come: of other workers of a snapshot nothing is believed any more.
    pub fn settle(&self) {
        let mut roster = self.roster.write();
        let mut tree = self.tree.lock();
        for slot in roster.settle() {
            tree.retire(slot);
        }
    }
}

impl Learned {
    /// What of it can be true.
    fn checked(self) -> Self {
        let known = |value: Option<f64>| value.filter(|value| value.is_finite() && *value > 0.0);
        let (tokens, millis) = self.pace;
        let paced = tokens.is_finite() && millis.is_finite() && tokens >= 0.0 && millis >= 0.0;
        Self {
            capacity: known(self.capacity),
            told: known(self.told),
            pace: if paced { self.pace } else { (0.0, 0.0) },
            started: known(self.started),
        }
    }
}
