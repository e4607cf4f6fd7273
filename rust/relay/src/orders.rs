//! Orders that were given and have not gone to the runtime yet.
//!
//! Handing a task to the runtime from another thread costs a system call and wakes a thread. A consumer that has
//! several requests to send in one turn therefore gathers them and hands them over together.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::error::{Failure, Kind};
use crate::exchange::Exchange;
use crate::request::Outgoing;
use crate::stream::{Guard, run};

/// Orders that go without being asked for, so that none waits for more than a few others.
const BATCH: usize = 16;

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
    gathered: Mutex<Option<Vec<Job<S>>>>,
}

impl<S: Send + Sync + 'static> Orders<S> {
    pub(crate) fn new(handle: Handle) -> Self {
        Self {
            handle,
            gathered: Mutex::new(Some(Vec::new())),
        }
    }

    /// Adds a job. Returns whether it is the first of those that wait now: [`Orders::flush`] must follow.
    pub(crate) fn push(&self, job: Job<S>) -> bool {
        let mut state = self.gathered.lock();
        let Some(gathered) = state.as_mut() else {
            drop(state);
            job.refuse();
            return false;
        };
        gathered.push(job);
        if gathered.len() < BATCH {
            return gathered.len() == 1;
        }
        let jobs = std::mem::take(gathered);
        drop(state);
        self.spawn(jobs);
        false
    }

    /// Hands over what has gathered.
    pub(crate) fn flush(&self) {
        let jobs = self.gathered.lock().as_mut().map(std::mem::take);
        self.spawn(jobs.unwrap_or_default());
    }

    /// Ends the jobs that have gathered, and all that come.
    pub(crate) fn close(&self) {
        let jobs = self.gathered.lock().take();
        jobs.into_iter().flatten().for_each(Job::refuse);
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

    fn refuse(self) {
        let failure = Failure::new(Kind::Closed, "the relay was shut down");
        self.exchange.finish(Err(failure));
        // The runtime, which would say so before it sleeps, has ended.
        self.exchange.requeue();
    }
}
