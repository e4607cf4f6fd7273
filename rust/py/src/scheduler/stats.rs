//! Bindings of the scheduler's snapshots.

use fd_router_core::stats;
use pyo3::prelude::*;

/// A snapshot of the prefix tree.
#[pyclass(frozen, module = "fd_router._core")]
pub(super) struct TreeStats(pub(super) stats::TreeStats);

#[pymethods]
impl TreeStats {
    #[getter]
    const fn blocks(&self) -> u64 {
        self.0.blocks
    }

    #[getter]
    const fn nodes(&self) -> u64 {
        self.0.nodes
    }

    #[getter]
    const fn bytes(&self) -> u64 {
        self.0.bytes
    }

    #[getter]
    const fn evicted(&self) -> u64 {
        self.0.evicted
    }

    #[getter]
    const fn expired(&self) -> u64 {
        self.0.expired
    }
}

/// A snapshot of what was decided.
#[pyclass(frozen, module = "fd_router._core")]
pub(super) struct DecisionStats(pub(super) stats::DecisionStats);

#[pymethods]
impl DecisionStats {
    #[getter]
    fn outcomes(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.0
            .outcomes
            .iter()
            .map(|&(policy, outcome, count)| (policy.name(), outcome.name(), count))
            .collect()
    }

    #[getter]
    fn hit_buckets(&self) -> Vec<u64> {
        self.0.hit_buckets.clone()
    }

    #[getter]
    const fn hit_sum(&self) -> f64 {
        self.0.hit_sum
    }
}
