//! What each worker has in hand, as a router counts it.

use fd_router_simulate::Ticket;
use rustc_hash::FxHashMap;

/// Counters of every worker and the units that are out.
#[derive(Debug)]
pub(crate) struct Loads {
    workers: Vec<Load>,
    out: FxHashMap<Ticket, Unit>,
}

/// One worker's counters.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Requests sent and not over.
    pub(crate) running: usize,
    /// Tokens that they lacked, of those that gave no first byte.
    pub(crate) pending: usize,
    /// Blocks of the prompts of running requests, and how many requests share each.
    blocks: FxHashMap<u64, usize>,
    /// Blocks of theirs that have no id, because they are partial.
    partial: usize,
}

/// A booked request.
#[derive(Debug)]
struct Unit {
    worker: usize,
    pending: usize,
    blocks: Box<[u64]>,
}

impl Load {
    /// Blocks in use.
    pub(crate) fn kv_blocks(&self) -> usize {
        self.blocks.len() + self.partial
    }

    /// Blocks in use if a prompt came, its partial block included.
    pub(crate) fn kv_blocks_with(&self, blocks: &[u64]) -> usize {
        // Blocks are prefixes: the first that is not there is followed by none that is.
        let shared = blocks
            .iter()
            .take_while(|block| self.blocks.contains_key(block))
            .count();
        self.kv_blocks() + blocks.len() - shared + 1
    }
}

impl Loads {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            workers: std::iter::repeat_with(Load::default).take(count).collect(),
            out: FxHashMap::default(),
        }
    }

    pub(crate) fn workers(&self) -> &[Load] {
        &self.workers
    }

    pub(crate) fn book(&mut self, ticket: Ticket, worker: usize, pending: usize, blocks: &[u64]) {
        let load = &mut self.workers[worker];
        load.running += 1;
        load.pending += pending;
        load.partial += 1;
        for &block in blocks {
            *load.blocks.entry(block).or_default() += 1;
        }
        let unit = Unit {
            worker,
            pending,
            blocks: blocks.into(),
        };
        self.out.insert(ticket, unit);
    }

    pub(crate) fn first_byte(&mut self, ticket: Ticket) {
        if let Some(unit) = self.out.get_mut(&ticket) {
            self.workers[unit.worker].pending -= std::mem::take(&mut unit.pending);
        }
    }

    pub(crate) fn end(&mut self, ticket: Ticket) {
        let Some(unit) = self.out.remove(&ticket) else {
            return;
        };
        let load = &mut self.workers[unit.worker];
        load.running -= 1;
        load.pending -= unit.pending;
        load.partial -= 1;
        for block in unit.blocks {
            if let Some(count) = load.blocks.get_mut(&block) {
                *count -= 1;
                if *count == 0 {
                    load.blocks.remove(&block);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_given_back() {
        let mut loads = Loads::new(1);
        loads.book(0, 0, 100, &[1, 2]);
        loads.book(1, 0, 10, &[1, 3]);
        let load = &loads.workers()[0];
        assert_eq!((load.running, load.pending, load.kv_blocks()), (2, 110, 5));
        assert_eq!(load.kv_blocks_with(&[1, 4]), 7);
        loads.first_byte(0);
        loads.first_byte(0);
        assert_eq!(loads.workers()[0].pending, 10);
        loads.end(0);
        loads.end(1);
        let load = &loads.workers()[0];
        assert_eq!((load.running, load.pending, load.kv_blocks()), (0, 0, 0));
    }
}
