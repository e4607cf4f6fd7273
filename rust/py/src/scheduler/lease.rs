//! Binding of one decision's lease, and the lines that tell of it.

use std::sync::Arc;

use fd_router_core::ids::Role;
use fd_router_core::scheduler::Decision;
use pyo3::prelude::*;

use crate::journal::{Level, Lines};

/// One booked unit of load on one worker.
#[pyclass(frozen, module = "fd_router._core")]
pub(super) struct Lease {
    decision: Decision,
    /// None where nobody is told.
    story: Option<Story>,
}

/// Where a lease's lines go, and what stands before them.
struct Story {
    lines: Arc<Lines>,
    tags: Box<str>,
}

impl Lease {
    /// Takes what was decided, and tells of it.
    pub(super) fn new(
        py: Python<'_>,
        decision: Decision,
        lines: Option<Arc<Lines>>,
        tags: &str,
    ) -> Self {
        let story = lines
            .filter(|lines| lines.shows(Level::Info))
            .map(|lines| Story {
                lines,
                tags: tags.into(),
            });
        if let Some(story) = &story {
            story.chosen(py, &decision);
        }
        Self { decision, story }
    }
}

impl Story {
    fn chosen(&self, py: Python<'_>, decision: &Decision) {
        if let Some(explanation) = decision.explanation.text() {
            self.lines
                .put_stamped(py, Level::Info, &self.tags, &explanation);
        }
        let (name, count) = match decision.role {
            Role::Prefill => ("tokens", decision.tokens),
            Role::Decode | Role::Mixed => ("count", decision.running),
        };
        let (role, url) = (decision.role.name(), decision.lease.worker().url());
        self.tell(
            py,
            &format!("select worker ({role}): {url}, {name}: {count}"),
        );
    }

    fn tokens_released(&self, py: Python<'_>, url: &str, left: u64) {
        self.tell(
            py,
            &format!("release prefill tokens: {url}, tokens: {left}"),
        );
    }

    fn released(&self, py: Python<'_>, url: &str, left: u64) {
        self.tell(py, &format!("release worker: {url}, count: {left}"));
    }

    fn tell(&self, py: Python<'_>, message: &str) {
        self.lines.put(py, Level::Info, &self.tags, message);
    }
}

#[pymethods]
impl Lease {
    #[getter]
    fn url(&self) -> &str {
        self.decision.lease.worker().url()
    }

    #[getter]
    fn role(&self) -> &'static str {
        self.decision.role.name()
    }

    #[getter]
    const fn running(&self) -> u64 {
        self.decision.running
    }

    #[getter]
    const fn tokens(&self) -> u64 {
        self.decision.tokens
    }

    #[getter]
    fn policy(&self) -> &'static str {
        self.decision.policy.name()
    }

    #[getter]
    const fn reason(&self) -> Option<&'static str> {
        self.decision.reason()
    }

    #[getter]
    fn hit_ratio(&self) -> Option<f64> {
        self.decision.hit_ratio()
    }

    fn explain(&self) -> Option<String> {
        self.decision.explanation.text()
    }

    fn release_tokens(&self, py: Python<'_>) -> Option<u64> {
        let left = self.decision.lease.release_tokens()?;
        if let Some(story) = &self.story {
            story.tokens_released(py, self.url(), left);
        }
        Some(left)
    }

    fn release(&self, py: Python<'_>) -> Option<(u64, Option<u64>)> {
        let (running, tokens) = self.decision.lease.release()?;
        if let Some(story) = &self.story {
            story.released(py, self.url(), running);
            // Upstream says nothing of a decode worker's tokens.
            if let Some(left) = tokens.filter(|_| self.decision.role != Role::Decode) {
                story.tokens_released(py, self.url(), left);
            }
        }
        Some((running, tokens))
    }
}
