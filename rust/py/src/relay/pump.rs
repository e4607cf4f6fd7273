//! Moving what an exchange has for Python across: its head, its bytes, its end.
//!
//! Runs in the loop's thread. An error that Python code raises where nobody can catch it goes to
//! `sys.unraisablehook`; it never keeps other exchanges waiting.

use std::sync::Arc;

use fd_router_relay::{Exchange as Upstream, Failure};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::answer::{Head, body_message};
use super::border::{raise, reject, resolve};
use super::link::{Link, SEND_LIMIT, Settled, Turn};

/// Calls of `send` for one exchange before others get their turn.
const TURNS: usize = 8;

/// Moves across what there is.
pub(super) fn pump(py: Python<'_>, exchange: &Arc<Upstream<Link>>) {
    let link = &exchange.side;
    if link.wants_head()
        && let Some(outcome) = exchange.take_head()
    {
        report(py, deliver_head(py, exchange, outcome));
    }
    for _ in 0..TURNS {
        let Some(turn) = link.begin(py, exchange) else {
            if let Some(failure) = exchange.aborted() {
                // A receiver that is busy is not waited for.
                report(py, finish(py, link.settle(Err(failure))));
            }
            return;
        };
        // Less than a full piece was all there was.
        let last = turn.bytes.len() < SEND_LIMIT;
        report(py, hand_over(py, exchange, turn));
        if last {
            return;
        }
    }
    exchange.requeue();
}

fn deliver_head(
    py: Python<'_>,
    exchange: &Arc<Upstream<Link>>,
    outcome: Result<fd_router_relay::Head, Failure>,
) -> PyResult<()> {
    let link = &exchange.side;
    let over = outcome.as_ref().map_or(true, |head| head.body.is_some());
    let (future, _request) = link.take_head(over);
    let Some(future) = future else { return Ok(()) };
    let future = future.into_bound(py);
    match outcome {
        Ok(head) => {
            if let Some(booking) = &link.booking {
                booking.headed(head.status(), head.body.is_some(), head.event_stream());
            }
            resolve(&future, Bound::new(py, Head::new(py, head))?.as_any())
        }
        Err(failure) => reject(&future, &failure),
    }
}

fn hand_over(py: Python<'_>, exchange: &Arc<Upstream<Link>>, turn: Turn) -> PyResult<()> {
    let link = &exchange.side;
    let Turn {
        send,
        start,
        first,
        on_first,
        bytes,
        outcome,
    } = turn;
    let whole = matches!(outcome, Some(Ok(())));
    if let (Some(send), Some(start)) = (&send, start) {
        // Not waited for: a server that takes its time takes its messages in order all the same.
        let extra = start.extra.as_ref().map(|extra| extra.bind(py));
        let message = start.head.get().start_message(py, extra);
        if let Err(error) = message.and_then(|message| link.border.send(send.bind(py), message)) {
            return fail(py, exchange, error);
        }
    }
    let sent = match send {
        Some(send) if whole || !bytes.is_empty() => {
            let message = body_message(&PyBytes::new(py, &bytes), !whole)?;
            link.border.send(send.bind(py), message)
        }
        _ => Ok(None),
    };
    if let Some(booking) = link.booking.as_ref().filter(|_| first) {
        booking.begun(py);
    }
    if let Some(on_first) = on_first {
        report(py, on_first.call0(py).map(drop));
    }
    match sent {
        Ok(None) => finish(py, link.release(outcome)),
        Ok(Some(pending)) => {
            link.hold(outcome);
            let resume = Resume(Arc::clone(exchange));
            pending
                .call_method1(intern!(py, "add_done_callback"), (resume,))
                .map(drop)
        }
        Err(error) => fail(py, exchange, error),
    }
}

/// Done callback of a `send` that was pending: the stream goes on, or ends with what `send` raised.
#[pyclass(frozen, module = "fd_router._core")]
struct Resume(Arc<Upstream<Link>>);

#[pymethods]
impl Resume {
    fn __call__(&self, sent: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, exchange) = (sent.py(), &self.0);
        match sent.call_method0(intern!(py, "result")) {
            Ok(_) => {
                finish(py, exchange.side.release(None))?;
                pump(py, exchange);
                Ok(())
            }
            Err(error) => fail(py, exchange, error),
        }
    }
}

/// Gives up an exchange whose receiver raised; the future of its end raises the same.
fn fail(py: Python<'_>, exchange: &Arc<Upstream<Link>>, error: PyErr) -> PyResult<()> {
    exchange.cancel();
    match exchange.side.settle(Ok(())) {
        Some(settled) => raise(settled.end.bind(py), error.into_value(py).bind(py)),
        None => Ok(()),
    }
}

fn finish(py: Python<'_>, settled: Option<Settled>) -> PyResult<()> {
    let Some(Settled { end, outcome }) = settled else {
        return Ok(());
    };
    let end = end.into_bound(py);
    match outcome {
        Ok(()) => resolve(&end, py.None().bind(py)),
        Err(failure) => reject(&end, &failure),
    }
}

/// An error with no place to go.
fn report(py: Python<'_>, result: PyResult<()>) {
    if let Err(error) = result {
        error.write_unraisable(py, None);
    }
}
