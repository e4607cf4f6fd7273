//! Binding of one decision's lease.

use fd_router_core::scheduler::Decision;
use pyo3::prelude::*;

/// One booked unit of load on one worker.
#[pyclass(frozen, module = "fd_router._core")]
pub(super) struct Lease(Decision);

impl Lease {
    pub(super) const fn new(decision: Decision) -> Self {
        Self(decision)
    }
}

#[pymethods]
impl Lease {
    #[getter]
    fn url(&self) -> &str {
        self.0.lease.worker().url()
    }

    #[getter]
    const fn role(&self) -> &'static str {
        self.0.role.name()
    }

    #[getter]
    const fn running(&self) -> u64 {
        self.0.running
    }

    #[getter]
    const fn tokens(&self) -> u64 {
        self.0.tokens
    }

    #[getter]
    const fn policy(&self) -> &'static str {
        self.0.policy.name()
    }

    #[getter]
    const fn reason(&self) -> Option<&'static str> {
        self.0.reason()
    }

    #[getter]
    fn hit_ratio(&self) -> Option<f64> {
        self.0.hit_ratio()
    }

    fn explain(&self) -> Option<String> {
        self.0.explanation.text()
    }

    fn release_tokens(&self) -> Option<u64> {
        self.0.lease.release_tokens()
    }

    fn release(&self) -> Option<(u64, Option<u64>)> {
        self.0.lease.release()
    }
}
