//! Binding of the prefix tree's snapshot.

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
