//! Binding of one decision's lease, and where its lines go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fd_router_core::scheduler::{Decision, Scheduler as Core, Usage, lines};
use pyo3::prelude::*;

use crate::clock::Clock;
use crate::journal::{Level, Lines};

/// One booked unit of load on one worker.
#[pyclass(frozen, module = "fd_router._core")]
pub(super) struct Lease {
    core: Arc<Core>,
    clock: Clock,
    decision: Decision,
    /// The worker gave an answer, so what was recorded of the prompt stays.
    answered: AtomicBool,
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
        core: Arc<Core>,
        clock: Clock,
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
        Self {
            core,
            clock,
            decision,
            answered: AtomicBool::new(false),
            story,
        }
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

    fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    fn first_byte(&self, py: Python<'_>) {
        self.answered();
        let left = self.decision.lease.first_byte(self.clock.now());
        if let (Some(left), Some(story)) = (left, &self.story) {
            story.tell(py, &lines::tokens_released(&self.decision, left));
        }
    }

    #[pyo3(signature = (prompt_tokens, cached_tokens = None))]
    fn learn(&self, prompt_tokens: u64, cached_tokens: Option<u64>) {
        let usage = Usage {
            prompt: prompt_tokens,
            cached: cached_tokens,
        };
        self.core.learn(&self.decision, usage);
    }

    fn release(&self, py: Python<'_>) {
        let left = self.decision.lease.release();
        let Some((running, tokens)) = left else {
            return;
        };
        if !self.answered.load(Ordering::Relaxed) {
            self.core.take_back(&self.decision);
        }
        if let Some(story) = &self.story {
            let (released, tokens) = lines::released(&self.decision, running, tokens);
            story.tell(py, &released);
            if let Some(tokens) = tokens {
                story.tell(py, &tokens);
            }
        }
    }
}
