//! Binding of the access log: one line and one count for every HTTP request.

use std::sync::Arc;

use fd_router_counts::traffic::{QUANTILES, Series, Traffic};
use fd_router_journal::access;
use fd_router_journal::layout::{Value, text};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

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
    #[pyo3(signature = (method, path, query, status, seconds, peer, tags, facts = None))]
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
        facts: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        self.traffic
            .note(method, path, status, seconds, self.clock.now());
        if !self.lines.shows(Level::Info) {
            return Ok(());
        }
        let message = access::line(method, path, query, status, seconds, peer);
        let mut known = Vec::new();
        if self.lines.has_facts() {
            known.extend([
                text("method", method),
                text("path", path),
                ("status".into(), Value::Whole(status.into())),
                ("duration".into(), Value::Number(seconds)),
                text("client", peer),
            ]);
            known.extend(self.lines.facts(facts)?);
        }
        self.lines.put(py, Level::Info, tags, &message, &known);
        Ok(())
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
