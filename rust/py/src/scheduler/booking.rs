//! A request under way at a worker: what was booked for it, and what is counted and told of it until it is over.
//!
//! The relay tells of the head and of the first byte as it hands them on, so that Python is not asked for either.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use fd_router_core::ids::Role;
use fd_router_core::scheduler::{Decision, Scheduler as Core, Usage, lines};
use fd_router_counts::answers::{Answers, Author};
use fd_router_record::Outcome;
use pyo3::prelude::*;

use crate::journal::{Level, Lines};

use super::recording::{Moment, Timeline};
use super::story::Story;
use super::witnesses::Witnesses;

/// One booked unit of load on one worker, given back once.
pub(crate) struct Booking {
    core: Arc<Core>,
    timeline: Timeline,
    pub(super) decision: Decision,
    /// The worker gave an answer, so what was recorded of the prompt stays.
    answered: AtomicBool,
    /// The first byte gives the tokens back.
    early: AtomicBool,
    /// Its answer came in full, of so many tokens where that is known.
    completed: OnceLock<Option<u64>>,
    witnesses: Witnesses,
    /// None where nobody counts.
    counted: Option<Counted>,
    /// None where nobody is told.
    story: Option<Story>,
}

/// What counts an answer, and as what.
pub(super) struct Counted {
    answers: Arc<Answers>,
    /// The time to the first byte counts from here.
    since: Instant,
    /// The worker that prefills for this one.
    beside: Option<Box<str>>,
    status: AtomicU16,
}

impl Counted {
    pub(super) fn new(answers: Arc<Answers>, since: Instant, beside: Option<&str>) -> Self {
        Self {
            answers,
            since,
            beside: beside.map(Into::into),
            status: AtomicU16::new(0),
        }
    }

    fn headed(&self, worker: &str, status: u16) {
        self.status.store(status, Ordering::Relaxed);
        let prefill = self.beside.as_deref();
        self.answers.answered(Author { worker, prefill }, status);
    }

    fn first_byte(&self, worker: &str) {
        let status = self.status.load(Ordering::Relaxed);
        let seconds = self.since.elapsed().as_secs_f64();
        self.answers.first_byte(worker, status, seconds);
    }
}

impl Booking {
    /// Takes what was decided; `stream` is whether the client asks for a stream.
    pub(super) fn new(
        core: Arc<Core>,
        timeline: Timeline,
        decision: Decision,
        witnesses: Witnesses,
        counted: Option<Counted>,
        stream: bool,
    ) -> Self {
        Self {
            core,
            timeline,
            early: AtomicBool::new(stream && decision.role == Role::Mixed),
            decision,
            answered: AtomicBool::new(false),
            completed: OnceLock::new(),
            witnesses,
            counted,
            story: None,
        }
    }

    /// Tells of the decision, and from now on of what becomes of it.
    pub(super) fn told(mut self, py: Python<'_>, lines: Option<&Arc<Lines>>, tags: &str) -> Self {
        let lines = lines.filter(|lines| lines.shows(Level::Info));
        self.story = lines.map(|lines| Story::begin(py, lines, tags, &self.decision));
        self
    }

    pub(super) fn url(&self) -> &str {
        self.decision.lease.worker().url()
    }

    /// The head of an answer has come, with the `whole` of it or as the first part, and may be of `events`.
    pub(crate) fn headed(&self, status: u16, whole: bool, events: bool) {
        if let Some(counted) = &self.counted {
            counted.headed(self.url(), status);
        }
        if events && self.decision.role == Role::Mixed {
            self.early.store(true, Ordering::Relaxed);
        }
        self.witnesses
            .headed(self.timeline.moment().now, status, whole);
    }

    /// A whole answer goes to the client.
    pub(crate) fn handed_on(&self) {
        if let Some(counted) = &self.counted {
            counted.first_byte(self.url());
        }
    }

    /// The first byte of an answer that comes in parts goes to the client.
    pub(crate) fn begun(&self, py: Python<'_>) {
        self.handed_on();
        if self.early.load(Ordering::Relaxed) {
            self.first_byte(py);
        } else {
            self.witnesses.begun(self.timeline.moment().now);
        }
    }

    /// The client has the whole answer.
    pub(crate) fn complete(
        &self,
        py: Python<'_>,
        status: u16,
        usage: Option<Usage>,
        output: Option<u64>,
    ) {
        if let Some(usage) = usage {
            self.learn(usage);
        }
        self.completed(output);
        self.ended(py, status);
    }

    pub(super) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Gives the tokens back.
    pub(super) fn first_byte(&self, py: Python<'_>) {
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

    pub(super) fn learn(&self, usage: Usage) {
        let moment = self.timeline.moment();
        self.core.learn(&self.decision, usage);
        self.witnesses.usage(moment, usage);
    }

    pub(super) fn completed(&self, output: Option<u64>) {
        // The first word counts.
        let _ = self.completed.set(output);
    }

    pub(super) fn ended(&self, py: Python<'_>, status: u16) {
        if let Some(story) = &self.story {
            story.tell(py, &self.decision, &lines::ended(status), Some(status));
        }
    }

    /// Gives back what is still booked.
    pub(crate) fn release(&self, py: Python<'_>) {
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

impl Drop for Booking {
    fn drop(&mut self) {
        // Most were released: they need no turn for it.
        let turn = || self.timeline.moment();
        let moment = self.witnesses.entry.is_some().then(turn);
        if self.decision.lease.release().is_some() {
            self.end(&mut moment.unwrap_or_else(turn), Outcome::Dropped);
        }
    }
}
