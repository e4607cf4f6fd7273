//! The relay's counters as Python sees them.

use fd_router_relay::Snapshot;
use pyo3::prelude::*;

/// Counters of a relay since its start.
#[pyclass(frozen, get_all, module = "fd_router._core")]
pub(super) struct RelayStats {
    active: u64,
    idle_connections: u64,
    connections: u64,
    resends: u64,
    chunks: u64,
    bytes: u64,
    gap_buckets: Vec<u64>,
    gap_sum: f64,
}

impl From<Snapshot> for RelayStats {
    fn from(stats: Snapshot) -> Self {
        Self {
            active: stats.active,
            idle_connections: stats.idle_connections,
            connections: stats.connections,
            resends: stats.resends,
            chunks: stats.chunks,
            bytes: stats.bytes,
            gap_buckets: stats.gaps.buckets,
            gap_sum: stats.gaps.sum,
        }
    }
}
