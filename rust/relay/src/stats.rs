//! Counters of a relay, written where things happen, without locks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use fd_router_counts::histogram::{self, Histogram};

/// Upper bounds in seconds of the gaps between chunks; one more bucket, without bound, follows the last.
pub const GAP_BOUNDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// What a relay has counted since its start.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Exchanges under way.
    pub active: u64,
    /// Connections kept for reuse.
    pub idle_connections: u64,
    /// Connections opened.
    pub connections: u64,
    /// Requests sent once more, as the worker had closed the kept connection that was taken first.
    pub resends: u64,
    /// Chunks of answers' bodies that were read.
    pub chunks: u64,
    /// Bytes of answers' bodies that were read.
    pub bytes: u64,
    /// Gaps in seconds between chunks of streamed answers, by [`GAP_BOUNDS`].
    pub gaps: histogram::Snapshot,
}

#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) active: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) resends: AtomicU64,
    chunks: AtomicU64,
    bytes: AtomicU64,
    gaps: Histogram,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            active: AtomicU64::default(),
            connections: AtomicU64::default(),
            resends: AtomicU64::default(),
            chunks: AtomicU64::default(),
            bytes: AtomicU64::default(),
            gaps: Histogram::new(&GAP_BOUNDS),
        }
    }
}

impl Stats {
    pub(crate) fn chunk(&self, bytes: usize) {
        self.chunks.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn gap(&self, gap: Duration) {
        self.gaps.observe(gap.as_secs_f64());
    }

    pub(crate) fn snapshot(&self, idle_connections: usize) -> Snapshot {
        Snapshot {
            active: self.active.load(Relaxed),
            idle_connections: idle_connections as u64,
            connections: self.connections.load(Relaxed),
            resends: self.resends.load(Relaxed),
            chunks: self.chunks.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            gaps: self.gaps.snapshot(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_falls_into_the_bucket_of_its_bound() {
        let stats = Stats::default();
        for millis in [0, 1, 2, 20_000] {
            stats.gap(Duration::from_millis(millis));
        }
        let snapshot = stats.snapshot(0);
        assert_eq!(snapshot.gaps.buckets[..2], [2, 1]);
        assert_eq!(snapshot.gaps.buckets.last(), Some(&1));
        assert_eq!(snapshot.gaps.buckets.len(), GAP_BOUNDS.len() + 1);
        assert!((snapshot.gaps.sum - 20.003).abs() < 1e-9);
    }
}
