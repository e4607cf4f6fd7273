//! The prefix tree: which worker was given which prompt prefix lately, within a fixed memory.
//!
//! # Shape
//! A node is one edge of up to [`slab::EDGE`] block hashes. Because hashes are chained, the first hash of a node names
//! its whole prefix: one table from first hash to node finds any child, and no node knows its parent or its children.
//! That makes nodes free to move, so the slab stays dense and memory that falls idle is given back.
//!
//! # Holders
//! Each holder of a node has a mark of one byte: in which epoch of its worker's volume clock it was recorded last
//! ([`clocks`]), and whether in the node's own generation or the one before. Generations are `idle_limit` long and follow
//! from the clock; a node knows its own from the time of its last record. So ageing costs nothing: marks are looked at
//! when a node is next recorded, and compared with the clocks until then.
//! A worker loses credit by time between one and two idle limits after its last record on a node that others keep in use,
//! and exactly one idle limit after it on a node that nobody uses; by volume when it has used as many other
//! tokens since as its cache holds.
//!
//! # Order
//! All nodes stand in one list by their last record. A record moves its path to the front from the deepest node up,
//! so a node always stands before everything below it, and the last node of the list is always a leaf. Dropping from
//! the end therefore never cuts off a subtree, with no bookkeeping of children.
//!
//! # Memory
//! [`Tree::bytes`] counts every table. A node is only added while it stays within the capacity; after that each new
//! node takes the place of the last one in the list. What else can grow (a fuller table, rows of holders) is made up
//! for at once by giving a chunk of nodes back. No step is longer than one chunk or one shard of the table.
//!
//! # Workers that leave
//! A retired slot is handed out again only after a sweep over the whole slab has dropped its marks, so a worker that
//! comes back has no credit from before.

mod clocks;
mod copy;
mod evict;
mod holders;
mod insert;
mod lru;
mod restore;
mod slab;
mod slots;
mod stats;
mod table;
mod walk;

#[cfg(test)]
mod check;
#[cfg(test)]
mod tests;

use crate::ids::Slot;

use self::clocks::Clocks;
use self::slab::Slab;
use self::slots::Slots;
use self::table::Table;

pub use self::copy::TreeCopy;
pub use self::evict::Expired;
pub use self::restore::{EdgeImage, History};
pub use self::stats::TreeStats;
pub use self::walk::Span;

/// Least capacity in bytes: room for the fixed tables and a few chunks of the widest nodes.
pub const MIN_CAPACITY: usize = 1 << 20;

/// Prefixes and their holders. Times are milliseconds; a time earlier than one seen before counts as that one.
#[derive(Debug)]
pub struct Tree {
    slab: Slab,
    table: Table,
    slots: Slots,
    clocks: Clocks,
    capacity: usize,
    idle_limit: u64,
    clock: u64,
    /// What the tree's clock is ahead of its callers': it goes on where that of a snapshot was.
    offset: u64,
    /// When the last mark of a snapshot has lapsed.
    sure_from: u64,
    /// Counts copies that were begun.
    copies: u64,
    blocks: u64,
    evicted: u64,
    expired: u64,
}

impl Tree {
    /// An empty tree that holds at most `capacity` bytes (at least [`MIN_CAPACITY`]) and forgets what was not
    /// recorded for `idle_limit` milliseconds (at least 1).
    pub fn new(capacity: usize, idle_limit: u64) -> Self {
        Self {
            slab: Slab::new(),
            table: Table::new(),
            slots: Slots::default(),
            clocks: Clocks::default(),
            capacity: capacity.max(MIN_CAPACITY),
            idle_limit: idle_limit.max(1),
            clock: 0,
            offset: 0,
            sure_from: 0,
            copies: 0,
            blocks: 0,
            evicted: 0,
            expired: 0,
        }
    }

    /// A slot for a worker that has no credit yet; None when [`Slot::LIMIT`] are taken or wait for a sweep.
    pub fn assign(&mut self) -> Option<Slot> {
        let slot = self.slots.assign()?;
        self.clocks.start(slot);
        Some(slot)
    }

    /// Sets how many tokens the cache of a slot's worker holds; None is not known.
    pub fn set_capacity(&mut self, slot: Slot, tokens: Option<f64>) {
        self.clocks.set_capacity(slot, tokens);
    }

    /// Whether the cache of a slot's worker is known to be full, so that what comes pushes something out.
    pub fn is_full(&self, slot: Slot) -> bool {
        self.clocks.is_full(slot)
    }

    /// Tokens that the cache of a slot's worker is thought to hold.
    pub fn held(&self, slot: Slot) -> f64 {
        self.clocks.held(slot)
    }

    /// Takes a slot back. Its credit must not be asked for any more.
    pub fn retire(&mut self, slot: Slot) {
        self.slots.retire(slot);
    }

    /// Bytes held, tables included.
    pub fn bytes(&self) -> usize {
        self.slab.bytes() + self.table.bytes()
    }

    /// A snapshot of sizes and losses.
    pub fn stats(&self) -> TreeStats {
        TreeStats {
            blocks: self.blocks,
            nodes: self.slab.len() as u64,
            bytes: self.bytes() as u64,
            evicted: self.evicted,
            expired: self.expired,
        }
    }

    /// A worker proved to be the one that a snapshot knew: what the snapshot says of it counts in full.
    pub fn trust(&mut self, slot: Slot) {
        self.clocks.trust(slot);
    }

    /// A worker had nothing of what a snapshot says of it. Returns whether it did so too often to be believed in.
    pub fn doubt(&mut self, slot: Slot) -> bool {
        self.clocks.doubt(slot)
    }

    /// The time by the tree's own clock.
    fn time(&self, now: u64) -> u64 {
        (now + self.offset).max(self.clock)
    }

    fn advance(&mut self, now: u64) {
        self.clock = self.time(now);
    }

    /// Start of the generation that `now` is in.
    const fn generation_start(&self, now: u64) -> u64 {
        now - now % self.idle_limit
    }

    /// Whether a node last recorded at `stamp` is too old to count.
    const fn is_idle(&self, stamp: u64, now: u64) -> bool {
        now - stamp >= self.idle_limit
    }
}
