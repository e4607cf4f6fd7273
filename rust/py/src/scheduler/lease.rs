//! Binding of one decision's lease, and where its lines go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use fd_router_core::scheduler::{Decision, Scheduler as Core, Usage, lines};
use fd_router_journal::layout::{Fact, Value, text};
use fd_router_record::Outcome;
use pyo3::prelude::*;

use crate::journal::{Level, Lines};

use super::recording::{Moment, Timeline};
use super::witnesses::Witnesses;

/// One booked unit of load on one worker.
#[pyclass(frozen, module = "fd_router._core")]
pub(super) struct Lease {
    core: Arc<Core>,
    timeline: Timeline,
    decision: Decision,
    /// The worker gave an answer, so what was recorded of the prompt stays.
    answered: AtomicBool,
    /// Its answer came in full, of so many tokens where that is known.
    completed: OnceLock<Option<u64>>,
    witnesses: Witnesses,
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
        timeline: Timeline,
        decision: Decision,
        witnesses: Witnesses,
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
                story.tell_stamped(py, &decision, &explanation);
            }
            story.tell(py, &decision, &lines::chosen(&decision), None);
        }
        Self {
            core,
            timeline,
            decision,
            answered: AtomicBool::new(false),
            completed: OnceLock::new(),
            witnesses,
            story,
        }
    }
}

impl Lease {
    /// Gives back what is still booked, and takes back what was recorded of a prompt that nobody answered.
    fn give_back(&self) -> Option<(u64, Option<u64>)> {
        let mut moment = self.timeline.moment();
        let left = self.decision.lease.release()?;
        let outcome = self.outcome();
        if outcome == Outcome::Unanswered {
            self.core.take_back(&self.decision);
        }
        self.end(&mut moment, outcome);
        Some(left)
    }

    fn outcome(&self) -> Outcome {
        if !self.answered.load(Ordering::Relaxed) {
            Outcome::Unanswered
        } else if self.completed.get().is_some() {
            Outcome::Completed
        } else {
            Outcome::Broken
        }
    }

    fn end(&self, moment: &mut Moment<'_>, outcome: Outcome) {
        let output = self.completed.get().copied().flatten();
        self.witnesses.end(moment, outcome, output);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Most were released: they need no turn for it.
        let turn = || self.timeline.moment();
        let moment = self.witnesses.entry.is_some().then(turn);
        if self.decision.lease.release().is_some() {
            self.end(&mut moment.unwrap_or_else(turn), Outcome::Dropped);
        }
    }
}

impl Story {
    fn tell(&self, py: Python<'_>, decision: &Decision, message: &str, status: Option<u16>) {
        let mut facts = self.facts(decision);
        if let Some(status) = status.filter(|_| !facts.is_empty()) {
            facts.push(("status".into(), Value::Whole(status.into())));
        }
        self.lines.put(py, Level::Info, &self.tags, message, &facts);
    }

    fn tell_stamped(&self, py: Python<'_>, decision: &Decision, message: &str) {
        let facts = self.facts(decision);
        self.lines
            .put_stamped(py, Level::Info, &self.tags, message, &facts);
    }

    fn facts<'a>(&self, decision: &'a Decision) -> Vec<Fact<'a>> {
        if !self.lines.has_facts() {
            return Vec::new();
        }
        let mut facts = vec![
            text("worker", decision.lease.worker().url()),
            text("role", decision.role.name()),
            text("policy", decision.policy.name()),
        ];
        facts.extend(decision.reason().map(|reason| text("reason", reason)));
        facts
    }
}

#[pymethods]
impl Lease {
    #[getter]
    fn url(&self) -> &str {
        self.decision.lease.worker().url()
    }

    #[getter]
    fn policy(&self) -> &'static str {
        self.decision.policy.name()
    }

    #[getter]
    fn reason(&self) -> Option<&'static str> {
        self.decision.reason()
    }

    fn ended(&self, py: Python<'_>, status: u16) {
        if let Some(story) = &self.story {
            story.tell(py, &self.decision, &lines::ended(status), Some(status));
        }
    }

    fn headed(&self, status: u16, whole: bool) {
        self.witnesses
            .headed(self.timeline.moment().now, status, whole);
    }

    fn begun(&self) {
        self.witnesses.begun(self.timeline.moment().now);
    }

    fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    fn first_byte(&self, py: Python<'_>) {
        self.answered();
        let mut moment = self.timeline.moment();
        let left = self.decision.lease.first_byte(moment.now);
        if left.is_some() {
            self.witnesses.first_byte(&mut moment);
        }
        drop(moment);
        if let (Some(left), Some(story)) = (left, &self.story) {
            let message = lines::tokens_released(&self.decision, left);
            story.tell(py, &self.decision, &message, None);
        }
    }

    #[pyo3(signature = (prompt_tokens, cached_tokens = None))]
    fn learn(&self, prompt_tokens: u64, cached_tokens: Option<u64>) {
        let usage = Usage {
            prompt: prompt_tokens,
            cached: cached_tokens,
        };
        let moment = self.timeline.moment();
        self.core.learn(&self.decision, usage);
        self.witnesses.usage(moment, usage);
    }

    #[pyo3(signature = (completion_tokens = None))]
    fn completed(&self, completion_tokens: Option<u64>) {
        // The first word counts.
        let _ = self.completed.set(completion_tokens);
    }

    fn release(&self, py: Python<'_>) {
        let Some((running, tokens)) = self.give_back() else {
            return;
        };
        if let Some(story) = &self.story {
            let (released, tokens) = lines::released(&self.decision, running, tokens);
            story.tell(py, &self.decision, &released, None);
            if let Some(tokens) = tokens {
                story.tell(py, &self.decision, &tokens, None);
            }
        }
    }
}
