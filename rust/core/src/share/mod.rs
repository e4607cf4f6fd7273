//! Prefixes for other routers: what was recorded here, in bytes, and what others recorded, out of theirs. And loads, in
//! [`loads`].
//!
//! Block hashes are the same on every machine, so routers need to agree on nothing: each tells whom it gave which chain
//! of blocks. A chain is told as a block of it that the same router has told lately, and the blocks after it: a next turn
//! of a conversation costs its new blocks and some twenty bytes.
//!
//! Not every block can be gone on from: the end of a chain as it was told, and each eighth of it ([`STRIDE`]). So the
//! tables of both sides have an eighth of the entries, which is what their time goes by, as none of it is in a cache; what
//! branches off between two is told from the one before on.
//!
//! - [`queue`] is what waits to be told. All that whoever decides pays for is a copy of the chain's hashes.
//! - [`told`] knows which blocks were told lately, and [`wire`] writes and reads batches.
//! - [`chains`] knows what others told, so that a block stands for the chain up to it.
//!
//! Nothing is told for ever: after so many bytes a router begins anew, and tells each chain once more from its first
//! block. So whoever reads the last part of a stream of batches, as long as that, understands the rest.

mod chains;
pub(crate) mod loads;
mod queue;
mod told;
mod wire;

use std::sync::Arc;

use crate::load::Worker;

pub(crate) use self::chains::Chains;
pub(crate) use self::queue::{News, Queue};
pub(crate) use self::told::Told;
pub(crate) use self::wire::{Item, Reader, Start};

/// Blocks of a chain, counted from its first, of which the last can be gone on from wherever the chain was told.
pub(crate) const STRIDE: usize = 8;

/// Blocks that others can go on from, of those that a chain has after the first `from`: each with its place in the chain.
pub(crate) fn landmarks(chain: &[u64], from: usize) -> impl Iterator<Item = (usize, u64)> {
    let first = (from / STRIDE + 1) * STRIDE - 1;
    let regular = (first..chain.len()).step_by(STRIDE);
    let end = chain
        .len()
        .checked_sub(1)
        .filter(|end| *end >= from && (end + 1) % STRIDE != 0);
    regular.chain(end).map(|place| (place, chain[place]))
}

/// Least memory for sharing, in bytes.
pub const MIN_LIMIT: usize = 1 << 20;

/// Parts of the limit: 4 for what waits, 1 for what was told, 10 for what others told; the rest is for what is on its way.
const PART: usize = 16;

/// How the memory of sharing is divided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares {
    /// Bytes of what waits.
    pub(crate) waiting: usize,
    /// Bytes of what was told, and of the batches after which it is told anew.
    pub(crate) told: usize,
    /// Bytes of what others told.
    pub(crate) heard: usize,
}

impl Shares {
    pub(crate) const fn of(limit: usize) -> Self {
        let part = limit / PART;
        Self {
            waiting: 4 * part,
            told: part,
            heard: 10 * part,
        }
    }
}

/// A chain that a worker was given.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) worker: Arc<Worker>,
    /// The whole chain.
    pub(crate) hashes: Box<[u64]>,
    /// Tokens of the prompt.
    pub(crate) tokens: f64,
    /// Of these, those that the worker was thought to lack.
    pub(crate) uncached: f64,
}
