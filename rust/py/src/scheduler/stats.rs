//! The scheduler's snapshots as Python sees them.

use fd_router_core::{scheduler, tree};
use pyo3::prelude::*;

/// A snapshot of the prefix tree.
#[pyclass(frozen, get_all, module = "fd_router._core")]
pub(super) struct TreeStats {
    blocks: u64,
    nodes: u64,
    bytes: u64,
    evicted: u64,
    expired: u64,
}

impl From<tree::TreeStats> for TreeStats {
    fn from(stats: tree::TreeStats) -> Self {
        Self {
            blocks: stats.blocks,
            nodes: stats.nodes,
            bytes: stats.bytes,
            evicted: stats.evicted,
            expired: stats.expired,
        }
    }
}

/// A snapshot of what engines said that they had cached.
#[pyclass(frozen, get_all, module = "fd_router._core")]
pub(super) struct TruthStats {
    prompt: u64,
    predicted: u64,
    cached: u64,
    gone: u64,
}

impl From<scheduler::TruthStats> for TruthStats {
    fn from(stats: scheduler::TruthStats) -> Self {
        Self {
            prompt: stats.prompt,
            predicted: stats.predicted,
            cached: stats.cached,
            gone: stats.gone,
        }
    }
}

/// A snapshot of what was decided.
#[pyclass(frozen, get_all, module = "fd_router._core")]
pub(super) struct DecisionStats {
    outcomes: Vec<(&'static str, &'static str, u64)>,
    hit_buckets: Vec<u64>,
    hit_sum: f64,
}

impl From<scheduler::DecisionStats> for DecisionStats {
    fn from(stats: scheduler::DecisionStats) -> Self {
        let outcomes = stats.outcomes.into_iter();
        Self {
            outcomes: outcomes
                .map(|(policy, outcome, count)| (policy.name(), outcome.name(), count))
                .collect(),
            hit_buckets: stats.hits.buckets,
            hit_sum: stats.hits.sum,
        }
    }
}
