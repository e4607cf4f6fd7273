//! The log lines of one decision.

use std::sync::Arc;

use fd_router_core::scheduler::{Decision, lines};
use fd_router_journal::layout::{Fact, Value, text};
use pyo3::prelude::*;

use crate::journal::{Level, Lines};

/// Where its lines go, and what stands before them.
pub(super) struct Story {
    lines: Arc<Lines>,
    tags: Box<str>,
}

impl Story {
    /// Tells of the decision.
    pub(super) fn begin(
        py: Python<'_>,
        lines: &Arc<Lines>,
        tags: &str,
        decision: &Decision,
    ) -> Self {
        let story = Self {
            lines: Arc::clone(lines),
            tags: tags.into(),
        };
        if let Some(explanation) = decision.explanation.text() {
            story.tell_stamped(py, decision, &explanation);
        }
        story.tell(py, decision, &lines::chosen(decision), None);
        story
    }

    pub(super) fn tell(
        &self,
        py: Python<'_>,
        decision: &Decision,
        message: &str,
        status: Option<u16>,
    ) {
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
