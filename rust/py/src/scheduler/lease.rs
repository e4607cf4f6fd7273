//! Binding of one decision's lease, and where its lines go.

use std::sync::Arc;

use fd_router_core::scheduler::{Decision, lines};
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
            if let Some(explanation) = decision.explanation.text() {
                story.tell_stamped(py, &explanation);
            }
            story.tell(py, &lines::chosen(&decision));
        }
        Self { decision, story }
    }
}

impl Story {
    fn tell(&self, py: Python<'_>, message: &str) {
        self.lines.put(py, Level::Info, &self.tags, message);
    }

    fn tell_stamped(&self, py: Python<'_>, message: &str) {
        self.lines.put_stamped(py, Level::Info, &self.tags, message);
    }
}

#[pymethods]
impl Lease {
    #[getter]
    fn url(&self) -> &str {
        self.decision.lease.worker().url()
    }

    fn release_tokens(&self, py: Python<'_>) {
        let left = self.decision.lease.release_tokens();
        if let (Some(left), Some(story)) = (left, &self.story) {
            story.tell(py, &lines::tokens_released(&self.decision, left));
        }
    }

    fn release(&self, py: Python<'_>) {
        let left = self.decision.lease.release();
        if let (Some((running, tokens)), Some(story)) = (left, &self.story) {
            let (released, tokens) = lines::released(&self.decision, running, tokens);
            story.tell(py, &released);
            if let Some(tokens) = tokens {
                story.tell(py, &tokens);
            }
        }
    }
}
