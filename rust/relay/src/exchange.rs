//! One exchange: what its task and its consumer share.
//!
//! The task appends, the consumer takes. One mutex guards the state and is held for moments only, never across a
//! wake-up, a system call or a call into the consumer's world. The end is set once and stays: whoever comes second
//! (the task's own result, a cancellation, the shutdown, the guard of a task that was dropped) is too late.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::completions::Completions;
use crate::error::{Failure, Kind};
use crate::head::Head;
use crate::usage::Usage;

/// One request and its answer. `S` is what the consumer keeps with it.
pub struct Exchange<S> {
    /// The consumer's own part.
    pub side: S,
    state: Mutex<State>,
    /// Any byte of the answer has come. Outside of the state, as it is noted before there is anything to hand over.
    received: AtomicBool,
    /// Stands in the queue, or is about to.
    queued: AtomicBool,
    completions: Arc<Completions<Arc<Exchange<S>>>>,
    task: OnceLock<AbortHandle>,
}

#[derive(Default)]
struct State {
    head: Option<Head>,
    buffer: Vec<u8>,
    end: Option<Result<(), Failure>>,
    usage: Option<Usage>,
    /// The task, where it waits for the consumer to take bytes.
    held: Option<Waker>,
    /// The task, where the runtime does not have it yet.
    early: Option<Waker>,
}

impl<S> Exchange<S> {
    pub(crate) fn new(side: S, completions: Arc<Completions<Arc<Self>>>) -> Arc<Self> {
        Arc::new(Self {
            side,
            state: Mutex::default(),
            received: AtomicBool::new(false),
            queued: AtomicBool::new(false),
            completions,
            task: OnceLock::new(),
        })
    }

    /// The head, once, or why there is none. For the consumer.
    pub fn take_head(&self) -> Option<Result<Head, Failure>> {
        let mut state = self.state.lock();
        match (state.head.take(), &state.end) {
            (Some(_), Some(Err(failure))) if failure.kind == Kind::Cancelled => {
                Some(Err(failure.clone()))
            }
            (Some(head), _) => Some(Ok(head)),
            (None, Some(Err(failure))) => Some(Err(failure.clone())),
            (None, _) => None,
        }
    }

    /// Up to `limit` of the bytes that have gathered and, when nothing can follow them, the end. For the consumer.
    pub fn take_body(&self, limit: usize) -> (Vec<u8>, Option<Result<(), Failure>>) {
        let (bytes, end, held) = {
            let mut state = self.state.lock();
            let rest = if state.buffer.len() > limit {
                state.buffer.split_off(limit)
            } else {
                Vec::new()
            };
            let bytes = std::mem::replace(&mut state.buffer, rest);
            let end = state.end.clone().filter(|_| state.buffer.is_empty());
            (bytes, end, state.held.take())
        };
        if let Some(task) = held {
            task.wake();
        }
        (bytes, end)
    }

    /// Why the exchange was ended from this side, if it was. For the consumer.
    pub fn aborted(&self) -> Option<Failure> {
        match &self.state.lock().end {
            Some(Err(failure)) if matches!(failure.kind, Kind::Cancelled | Kind::Closed) => {
                Some(failure.clone())
            }
            _ => None,
        }
    }

    /// What the answer says of its prompt; None before its end, and where it says nothing.
    pub fn usage(&self) -> Option<Usage> {
        self.state.lock().usage
    }

    /// Closes the upstream connection and drops what was not taken. Does nothing after the end.
    pub fn cancel(self: &Arc<Self>) {
        let early = {
            let mut state = self.state.lock();
            if state.end.is_some() {
                return;
            }
            let failure = Failure::new(Kind::Cancelled, "the exchange was given up");
            state.end = Some(Err(self.noted(failure)));
            state.buffer = Vec::new();
            state.early.take()
        };
        if let Some(task) = early {
            task.wake();
        }
        if let Some(task) = self.task.get() {
            task.abort();
        }
        self.enqueue();
        self.completions.announce();
    }

    /// Puts the exchange before the consumer once more, which had not the time for all of it.
    pub fn requeue(self: &Arc<Self>) {
        self.enqueue();
        self.completions.announce();
    }

    /// To be called when the exchange was taken from the queue, before its state is looked at.
    pub(crate) fn unqueued(&self) {
        self.queued.store(false, Ordering::SeqCst);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.state.lock().end.is_some()
    }

    pub(crate) fn set_task(&self, task: AbortHandle) {
        if self.has_ended() {
            task.abort();
        }
        let _ = self.task.set(task);
    }

    /// To be called before the first step of a task that the runtime does not have. `waker` gives it to the runtime, or drops
    /// it where the exchange has ended.
    pub(crate) fn set_early(&self, waker: Waker) {
        self.state.lock().early = Some(waker);
    }

    /// The runtime has the task, or it is over.
    pub(crate) fn over_early(&self) {
        self.state.lock().early = None;
    }

    pub(crate) fn put_head(self: &Arc<Self>, head: Head) {
        self.state.lock().head = Some(head);
        self.enqueue();
    }

    /// A head whose body is whole.
    pub(crate) fn put_whole(self: &Arc<Self>, head: Head, usage: Option<Usage>) {
        {
            let mut state = self.state.lock();
            if state.end.is_none() {
                state.head = Some(head);
                state.end = Some(Ok(()));
                state.usage = usage;
            }
        }
        self.enqueue();
    }

    /// Appends a piece of the body; returns the bytes that wait now.
    pub(crate) fn put_bytes(self: &Arc<Self>, bytes: &[u8]) -> usize {
        let waiting = {
            let mut state = self.state.lock();
            if state.end.is_some() {
                return 0;
            }
            state.buffer.extend_from_slice(bytes);
            state.buffer.len()
        };
        self.enqueue();
        waiting
    }

    /// Sets the end unless it is set, with what was said at a good one. Returns whether it was set here.
    pub(crate) fn finish(self: &Arc<Self>, end: Result<Option<Usage>, Failure>) -> bool {
        {
            let mut state = self.state.lock();
            if state.end.is_some() {
                return false;
            }
            let end = end.map_err(|failure| self.noted(failure));
            state.end = Some(end.map(|usage| state.usage = usage));
        }
        self.enqueue();
        true
    }

    /// Sets the end where no thread of the runtime may come to announce it.
    pub(crate) fn abandon(self: &Arc<Self>, failure: Failure) {
        if self.finish(Err(failure)) {
            self.completions.announce();
        }
    }

    /// To be set when the first byte of the answer comes.
    pub(crate) fn received(&self) -> &AtomicBool {
        &self.received
    }

    fn noted(&self, failure: Failure) -> Failure {
        Failure {
            received: self.received.load(Ordering::Relaxed),
            ..failure
        }
    }

    /// Waits until fewer than `limit` bytes wait for the consumer.
    pub(crate) async fn room(&self, limit: usize) {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            if state.buffer.len() < limit {
                return Poll::Ready(());
            }
            state.held = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn enqueue(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            self.completions.push(Arc::clone(self));
        }
    }
}
