//! Orders that were given and have not gone to the runtime yet.
//!
//! Handing a task to the runtime from another thread costs a system call and wakes a thread. A consumer that has
//! several requests to send in one turn therefore gathers them and hands them over together.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::early;
use crate::error::{Failure, Kind};
use crate::exchange::Exchange;
use crate::request::Outgoing;
use crate::stream::{Guard, run};

/// Orders that go without being asked for, so that none waits for more than a few others.
const BATCH: usize = 16;

/// How long nothing was handed over before orders go early ([`early`]). The runtime's thread sleeps then, and to wake it
/// costs more than to write a request; where orders come faster, the time of the thread that gives them is what is scarce.
const CALM: Duration = Duration::from_millis(1);
/// Orders of one turn that go early: a request, or both legs of one.
const EARLY_JOBS: usize = 2;
/// Bytes of a body that go early.
const EARLY_BODY: usize = 64 * 1024;

/// An exchange that is to be run.
pub(crate) struct Job<S> {
    pub(crate) exchange: Arc<Exchange<S>>,
    pub(crate) guard: Guard<S>,
    pub(crate) outgoing: Outgoing,
    pub(crate) collect: bool,
}

pub(crate) struct Orders<S> {
    handle: Handle,
    /// None from the shutdown on.
    gathered: Mutex<Option<Gathered<S>>>,
}

struct Gathered<S> {
    jobs: Vec<Job<S>>,
    flushed: Option<Instant>,
}

impl<S: Send + Sync + 'static> Orders<S> {
    pub(crate) fn new(handle: Handle) -> Self {
        Self {
            handle,
            gathered: Mutex::new(Some(Gathered {
                jobs: Vec::new(),
                flushed: None,
            })),
        }
    }

    /// Adds a job. Returns whether it is the first of those that wait now: [`Orders::flush`] must follow.
    pub(crate) fn push(&self, job: Job<S>) -> bool {
        let mut state = self.gathered.lock();
        let Some(Gathered { jobs, .. }) = state.as_mut() else {
            drop(state);
            job.refuse();
            return false;
        };
        jobs.push(job);
        if jobs.len() < BATCH {
            return jobs.len() == 1;
        }
        let jobs = std::mem::take(jobs);
        drop(state);
        self.spawn(jobs);
        false
    }

    /// Hands over what has gathered.
    pub(crate) fn flush(&self, now: Instant) {
        let (mut jobs, calm) = {
            let mut state = self.gathered.lock();
            let Some(Gathered { jobs, flushed }) = state.as_mut() else {
                return;
            };
            let before = flushed.replace(now);
            let calm = before.is_none_or(|before| now.duration_since(before) >= CALM);
            (std::mem::take(jobs), calm)
        };
        if calm && jobs.len() <= EARLY_JOBS {
            jobs = jobs
                .into_iter()
                .filter_map(|job| job.begin(&self.handle))
                .collect();
        }
        self.spawn(jobs);
    }

    /// Ends the jobs that have gathered, and all that come.
    pub(crate) fn close(&self) {
        let gathered = self.gathered.lock().take();
        let jobs = gathered.into_iter().flat_map(|gathered| gathered.jobs);
        jobs.for_each(Job::refuse);
    }

    fn spawn(&self, mut jobs: Vec<Job<S>>) {
        if jobs.len() > 1 {
            // One task from here; the others are made where making one wakes nobody.
            self.handle.spawn(async move {
                let handle = Handle::current();
                for job in jobs {
                    job.spawn(&handle);
                }
            });
        } else if let Some(job) = jobs.pop() {
            job.spawn(&self.handle);
        }
    }
}

impl<S: Send + Sync + 'static> Job<S> {
    fn spawn(self, handle: &Handle) {
        if self.exchange.has_ended() {
            return;
        }
        let task = handle.spawn(run(self.guard, self.outgoing, self.collect));
        self.exchange.set_task(task.abort_handle());
    }

    /// Takes the first step here, or gives the job back where that would have to wait for more than a write.
    fn begin(self, handle: &Handle) -> Option<Self> {
        if self.outgoing.body.len() > EARLY_BODY || !self.guard.is_kept(&self.outgoing) {
            return Some(self);
        }
        let exchange = self.exchange;
        if !exchange.has_ended() {
            early::run(
                &exchange,
                handle,
                run(self.guard, self.outgoing, self.collect),
            );
        }
        None
    }

    fn refuse(self) {
        let failure = Failure::new(Kind::Closed, "the relay was shut down");
        self.exchange.abandon(failure);
        // The runtime, which would say so before it sleeps, has ended.
        self.exchange.requeue();
    }
}
