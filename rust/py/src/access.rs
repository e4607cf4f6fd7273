//! Binding of the access log: one line and one count for every HTTP request.

use std::sync::Arc;

use fd_router_counts::traffic::{QUANTILES, Series, Traffic};
use fd_router_journal::access;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::clock::Clock;
use crate::journal::{Journal, Level, Lines};

/// What is told of every HTTP request.
#[pyclass(frozen, module = "fd_router._core")]
struct AccessLog {
    lines: Arc<Lines>,
    traffic: Traffic,
    clock: Clock,
}

#[pymethods]
impl AccessLog {
    #[new]
    fn new(journal: &Bound<'_, Journal>, methods: Vec<String>, endpoints: Vec<String>) -> Self {
        Self {
            lines: Arc::clone(&journal.get().0),
            traffic: Traffic::new(methods, endpoints),
            clock: Clock::start(),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one request's facts, passed as they are"
    )]
    fn note(
        &self,
        py: Python<'_>,
        method: &str,
        path: &str,
        query: &[u8],
        status: u16,
        seconds: f64,
        peer: &str,
        tags: &str,
    ) {
        self.traffic
            .note(method, path, status, seconds, self.clock.now());
        if self.lines.shows(Level::Info) {
            let message = access::line(method, path, query, status, seconds, peer);
            self.lines.put(py, Level::Info, tags, &message);
        }
    }

    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let series = py.detach(|| self.traffic.snapshot(self.clock.now()));
        series
            .into_iter()
            .map(
                |Series {
                     method,
                     endpoint,
                     statuses,
                     seconds,
                     quantiles,
                 }| {
                    (method, endpoint, statuses, seconds, quantiles).into_pyobject(py)
                },
            )
            .collect()
    }
}

/// Adds this part's class to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("QUANTILES", PyTuple::new(module.py(), QUANTILES)?)?;
    module.add_class::<AccessLog>()
}
