//! The handle that Python holds of an exchange.

use std::sync::Arc;

use fd_router_core::scheduler::Usage;
use fd_router_relay::Exchange as Upstream;
use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::scheduler::booking::Booking;

use super::answer::{Head, body_message};
use super::link::{Link, Start};
use super::pump;

/// One request to a worker and its answer. Dropping it cancels what is under way.
#[pyclass(frozen, module = "fd_router._core")]
pub(super) struct Exchange {
    upstream: Arc<Upstream<Link>>,
    booking: Option<Arc<Booking>>,
    head: Mutex<Option<Py<PyAny>>>,
}

impl Exchange {
    pub(super) fn new(
        upstream: Arc<Upstream<Link>>,
        head: Py<PyAny>,
        booking: Option<Arc<Booking>>,
    ) -> Self {
        let head = Mutex::new(Some(head));
        Self {
            upstream,
            booking,
            head,
        }
    }

    fn attach(
        &self,
        py: Python<'_>,
        send: Option<Py<PyAny>>,
        start: Option<Start>,
        on_first: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let link = &self.upstream.side;
        let end = link.border.create_future(py)?;
        link.attach(send, start, on_first, end.clone_ref(py))
            .map_err(PyRuntimeError::new_err)?;
        pump::pump(py, &self.upstream);
        Ok(end)
    }
}

#[pymethods]
impl Exchange {
    /// The future of the head. It is handed over: one that failed holds the error, that its traceback, and that the frame
    /// that waited and holds this exchange; a circle of those would wait for Python's collector.
    fn head(&self) -> PyResult<Py<PyAny>> {
        let head = self.head.lock().take();
        head.ok_or_else(|| PyRuntimeError::new_err("the head was asked for before"))
    }

    /// Hand the body to ASGI's `send` as it arrives; call once, after the head.
    #[pyo3(signature = (send, on_first = None, head = None, extra = None))]
    fn forward(
        &self,
        py: Python<'_>,
        send: Py<PyAny>,
        on_first: Option<Py<PyAny>>,
        head: Option<Py<Head>>,
        extra: Option<Py<PyList>>,
    ) -> PyResult<Py<PyAny>> {
        let start = head.map(|head| Start { head, extra });
        self.attach(py, Some(send), start, on_first)
    }

    /// Hand a collected answer to ASGI's `send`.
    #[pyo3(signature = (send, head, extra = None))]
    fn answer<'py>(
        &self,
        send: &Bound<'py, PyAny>,
        head: &Bound<'py, Head>,
        extra: Option<&Bound<'py, PyList>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = send.py();
        let head = head.get();
        let Some(body) = head.whole(py) else {
            return Err(PyRuntimeError::new_err(
                "the answer was not collected: forward it",
            ));
        };
        let border = &self.upstream.side.border;
        border.send(send, head.start_message(py, extra)?)?;
        let pending = border.send(send, body_message(body, false)?)?;
        if let Some(booking) = &self.booking {
            booking.handed_on();
        }
        Ok(pending)
    }

    /// Whether `forward` has sent anything to the client.
    #[getter]
    fn started(&self) -> bool {
        self.upstream.side.started()
    }

    /// Read the body to its end and drop it.
    #[pyo3(signature = (on_first = None))]
    fn discard(&self, py: Python<'_>, on_first: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        self.attach(py, None, None, on_first)
    }

    /// Close the upstream connection. Idempotent.
    fn cancel(&self) {
        self.upstream.cancel();
    }

    /// The client has the whole answer, of this status: tell the lease so, with what the engine says of it.
    fn complete(&self, py: Python<'_>, status: u16) {
        if let Some(booking) = &self.booking {
            let said = self.upstream.usage();
            let usage = said.as_ref().map(|usage| Usage {
                prompt: usage.prompt_tokens,
                cached: usage.cached_tokens,
            });
            let output = said.and_then(|usage| usage.completion_tokens);
            booking.complete(py, status, usage, output);
        }
    }

    /// Close the upstream connection, and release the lease. Idempotent.
    fn release(&self, py: Python<'_>) {
        self.upstream.cancel();
        if let Some(booking) = &self.booking {
            booking.release(py);
        }
    }

    /// Tokens of the prompt, and those of them that were cached.
    #[getter]
    fn usage(&self) -> Option<(u64, Option<u64>)> {
        let usage = self.upstream.usage()?;
        Some((usage.prompt_tokens, usage.cached_tokens))
    }

    #[getter]
    fn completion_tokens(&self) -> Option<u64> {
        self.upstream.usage()?.completion_tokens
    }

    /// The last bytes handed over, at most 4.
    #[getter]
    fn tail<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.upstream.side.tail().as_slice())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.upstream.cancel();
    }
}
