//! Counters of a relay, written where things happen, without locks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

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
    /// Gaps between chunks of streamed answers, by [`GAP_BOUNDS`], not cumulated.
    pub gap_buckets: Vec<u64>,
    /// Sum of those gaps.
    pub gap_sum: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) active: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) resends: AtomicU64,
    chunks: AtomicU64,
    bytes: AtomicU64,
    gaps: [AtomicU64; GAP_BOUNDS.len() + 1],
    gap_nanos: AtomicU64,
}

impl Stats {
    pub(crate) fn chunk(&self, bytes: usize) {
        self.chunks.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn gap(&self, gap: Duration) {
        let seconds = gap.as_secs_f64();
        let bucket = GAP_BOUNDS.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.gaps.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        self.gap_nanos
            .fetch_add(u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn snapshot(&self, idle_connections: usize) -> Snapshot {
        Snapshot {
            active: self.active.load(Relaxed),
            idle_connections: idle_connections as u64,
            connections: self.connections.load(Relaxed),
            resends: self.resends.load(Relaxed),
            chunks: self.chunks.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            gap_buckets: self.gaps.iter().map(|count| count.load(Relaxed)).collect(),
            gap_sum: Duration::from_nanos(self.gap_nanos.load(Relaxed)),
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
        assert_eq!(snapshot.gap_buckets[..2], [2, 1]);
        assert_eq!(snapshot.gap_buckets.last(), Some(&1));
        assert_eq!(snapshot.gap_buckets.len(), GAP_BOUNDS.len() + 1);
        assert_eq!(snapshot.gap_sum, Duration::from_millis(20_003));
    }
}
