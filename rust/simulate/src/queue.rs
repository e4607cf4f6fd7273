//! What happens next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Things that happen, in an order that depends on nothing but what was put in.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    next: u64,
}

/// Compared field by field: time, then kind, then the order of being put in.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: u64,
    rank: u8,
    number: u64,
    event: Event,
}

/// A thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// An engine's cache takes another size.
    Resize { engine: usize, cache_blocks: usize },
    /// A request reaches the router.
    Arrive { request: usize },
    /// A prompt's KV reaches its decode engine.
    Handover { request: usize },
    /// An engine may have come to the end of something.
    Wake { engine: usize },
}

impl Event {
    /// At one moment, requests come before engines move on: an iteration that starts now sees all that arrive now.
    const fn rank(self) -> u8 {
        match self {
            Self::Resize { .. } => 0,
            Self::Arrive { .. } | Self::Handover { .. } => 1,
            Self::Wake { .. } => 2,
        }
    }
}

impl Queue {
    pub(crate) fn push(&mut self, at: u64, event: Event) {
        let number = self.next;
        self.next += 1;
        self.heap.push(Reverse(Entry {
            at,
            rank: event.rank(),
            number,
            event,
        }));
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, Event)> {
        let Reverse(entry) = self.heap.pop()?;
        Some((entry.at, entry.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_time_then_kind_then_order() {
        let mut queue = Queue::default();
        let arrive = |request| Event::Arrive { request };
        let wake = Event::Wake { engine: 0 };
        for (at, event) in [(2, wake), (2, arrive(5)), (2, arrive(4)), (1, wake)] {
            queue.push(at, event);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(
            order,
            [(1, wake), (2, arrive(5)), (2, arrive(4)), (2, wake)]
        );
    }
}
