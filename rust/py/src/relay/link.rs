//! The Python side of an exchange: the futures it resolves and the `send` it feeds.
//!
//! Touched in the loop's thread. The mutex is for free-threaded builds and for `tail`, and is never held while
//! Python code runs: `begin` takes out what a turn needs, `finish` puts back what came of it.

use std::sync::Arc;

use fd_router_relay::{Bytes, Exchange as Upstream, Failure};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::scheduler::booking::Booking;

use super::answer::Head;
use super::border::Border;

/// Bytes in one call of `send`. granian keeps four of them for a client that does not read, one is pending and one in
/// the server's write buffer.
pub(super) const SEND_LIMIT: usize = 64 * 1024;

/// What the relay keeps with each exchange for us.
pub(super) struct Link {
    pub(super) border: Arc<Border>,
    /// What is told of the answer's head and first byte.
    pub(super) booking: Option<Arc<Booking>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The future of the head, until it is resolved.
    head: Option<Py<PyAny>>,
    /// Keeps the request's bytes until the head is there, so that Python memory is given back by this thread.
    body: Option<Bytes>,
    sink: Option<Sink>,
    /// No body can be handed over any more.
    over: bool,
    tail: Tail,
    /// Something was sent to the receiver.
    started: bool,
}

/// Where the body goes.
struct Sink {
    /// ASGI's `send`; None discards.
    send: Option<Py<PyAny>>,
    /// What begins the answer, until the first bytes go out.
    start: Option<Start>,
    on_first: Option<Py<PyAny>>,
    end: Py<PyAny>,
    /// The first bytes were handed over.
    begun: bool,
    /// A `send` is under way: nothing more is handed over.
    busy: bool,
    /// How the body ended, once all of it was handed over.
    outcome: Option<Result<(), Failure>>,
}

/// What the message is made of that begins an answer.
pub(super) struct Start {
    pub(super) head: Py<Head>,
    /// Headers that go out with those of the head.
    pub(super) extra: Option<Py<PyList>>,
}

/// The last bytes that were handed over.
#[derive(Clone, Copy, Default)]
pub(super) struct Tail {
    bytes: [u8; 4],
    length: usize,
}

impl Tail {
    fn append(&mut self, data: &[u8]) {
        let kept = self.length.min(4_usize.saturating_sub(data.len()));
        let mut bytes = [0; 4];
        let recent = self.bytes[self.length - kept..self.length]
            .iter()
            .chain(&data[data.len() - data.len().min(4)..]);
        let mut length = 0;
        for (slot, byte) in bytes.iter_mut().zip(recent) {
            *slot = *byte;
            length += 1;
        }
        *self = Self { bytes, length };
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// What one turn hands over.
pub(super) struct Turn {
    pub(super) send: Option<Py<PyAny>>,
    /// To be sent before the bytes, as these are the first.
    pub(super) start: Option<Start>,
    /// These are the first bytes.
    pub(super) first: bool,
    /// To be called, as these are the first bytes.
    pub(super) on_first: Option<Py<PyAny>>,
    pub(super) bytes: Vec<u8>,
    pub(super) outcome: Option<Result<(), Failure>>,
}

/// A body that is through.
pub(super) struct Settled {
    pub(super) end: Py<PyAny>,
    pub(super) outcome: Result<(), Failure>,
}

impl Link {
    pub(super) fn new(
        border: Arc<Border>,
        head: Py<PyAny>,
        body: Bytes,
        booking: Option<Arc<Booking>>,
    ) -> Self {
        let state = State {
            head: Some(head),
            body: Some(body),
            ..State::default()
        };
        Self {
            border,
            booking,
            state: Mutex::new(state),
        }
    }

    /// Whether the head's future waits.
    pub(super) fn wants_head(&self) -> bool {
        self.state.lock().head.is_some()
    }

    /// Takes the head's future, with what was kept for the time until now; `over` tells that no body follows.
    pub(super) fn take_head(&self, over: bool) -> (Option<Py<PyAny>>, Option<Bytes>) {
        let mut state = self.state.lock();
        // A receiver that is attached already waits for the end.
        state.over |= over && state.sink.is_none();
        (state.head.take(), state.body.take())
    }

    /// Attaches the receiver of the body, or says why there is nothing to receive.
    pub(super) fn attach(
        &self,
        send: Option<Py<PyAny>>,
        start: Option<Start>,
        on_first: Option<Py<PyAny>>,
        end: Py<PyAny>,
    ) -> Result<(), &'static str> {
        let mut state = self.state.lock();
        if state.over {
            return Err(
                "the exchange has no body left: it was collected, handed over, or has failed",
            );
        }
        if state.sink.is_some() {
            return Err("forward or discard was called before");
        }
        state.sink = Some(Sink {
            send,
            start,
            on_first,
            end,
            begun: false,
            busy: false,
            outcome: None,
        });
        Ok(())
    }

    /// Starts a turn if there is anything to hand over and the receiver is free.
    pub(super) fn begin(&self, py: Python<'_>, upstream: &Upstream<Self>) -> Option<Turn> {
        let mut state = self.state.lock();
        let sink = state.sink.as_mut().filter(|sink| !sink.busy)?;
        let (bytes, outcome) = upstream.take_body(SEND_LIMIT);
        if bytes.is_empty() && outcome.is_none() {
            return None;
        }
        sink.busy = true;
        let first = !sink.begun && (!bytes.is_empty() || matches!(outcome, Some(Ok(()))));
        sink.begun |= first;
        let send = sink.send.as_ref().map(|send| send.clone_ref(py));
        let (start, on_first) = if first {
            (sink.start.take(), sink.on_first.take())
        } else {
            (None, None)
        };
        state.started |= first && send.is_some();
        if !bytes.is_empty() {
            state.tail.append(&bytes);
        }
        Some(Turn {
            send,
            start,
            first,
            on_first,
            bytes,
            outcome,
        })
    }

    /// Keeps the end of a turn whose `send` is under way.
    pub(super) fn hold(&self, outcome: Option<Result<(), Failure>>) {
        if let Some(sink) = &mut self.state.lock().sink {
            sink.outcome = outcome;
        }
    }

    /// Ends a turn: the receiver is free, or the body is through.
    pub(super) fn release(&self, outcome: Option<Result<(), Failure>>) -> Option<Settled> {
        let mut state = self.state.lock();
        let sink = state.sink.as_mut()?;
        sink.busy = false;
        let outcome = outcome.or_else(|| sink.outcome.take())?;
        state.settle(outcome)
    }

    /// Ends the body although a `send` may be under way.
    pub(super) fn settle(&self, outcome: Result<(), Failure>) -> Option<Settled> {
        self.state.lock().settle(outcome)
    }

    /// Whether the receiver of `forward` was sent anything.
    pub(super) fn started(&self) -> bool {
        self.state.lock().started
    }

    pub(super) fn tail(&self) -> Tail {
        self.state.lock().tail
    }
}

impl State {
    fn settle(&mut self, outcome: Result<(), Failure>) -> Option<Settled> {
        let sink = self.sink.take()?;
        self.over = true;
        Some(Settled {
            end: sink.end,
            outcome,
        })
    }
}
