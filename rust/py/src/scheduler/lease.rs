//! The handle that Python holds of a booking.

use std::sync::Arc;

use fd_router_core::scheduler::Usage;
use pyo3::prelude::*;

use super::booking::Booking;

/// One booked unit of load on one worker.
#[pyclass(frozen, module = "fd_router._core")]
pub(crate) struct Lease(pub(crate) Arc<Booking>);

impl Lease {
    pub(super) fn new(booking: Booking) -> Self {
        Self(Arc::new(booking))
    }
}

#[pymethods]
impl Lease {
    #[getter]
    fn url(&self) -> &str {
        self.0.url()
    }

    #[getter]
    fn policy(&self) -> &'static str {
        self.0.decision.policy.name()
    }

    #[getter]
    fn reason(&self) -> Option<&'static str> {
        self.0.decision.reason()
    }

    fn ended(&self, py: Python<'_>, status: u16) {
        self.0.ended(py, status);
    }

    fn answered(&self) {
        self.0.answered();
    }

    fn first_byte(&self, py: Python<'_>) {
        self.0.first_byte(py);
    }

    #[pyo3(signature = (prompt_tokens, cached_tokens = None))]
    fn learn(&self, prompt_tokens: u64, cached_tokens: Option<u64>) {
        self.0.learn(Usage {
            prompt: prompt_tokens,
            cached: cached_tokens,
        });
    }

    #[pyo3(signature = (completion_tokens = None))]
    fn completed(&self, completion_tokens: Option<u64>) {
        self.0.completed(completion_tokens);
    }

    fn release(&self, py: Python<'_>) {
        self.0.release(py);
    }
}
