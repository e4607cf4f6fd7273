//! The relay's dealings with asyncio: futures made and resolved, messages sent and waited for.

use std::sync::OnceLock;

use fd_router_relay::Failure;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use super::error;

/// Bound methods that are called again and again, and what was learnt of the server.
pub(super) struct Border {
    create_future: Py<PyAny>,
    ensure_future: Py<PyAny>,
    event_loop: Py<PyAny>,
    /// granian's awaitable of a `send` that had room. It needs no waiting for.
    finished: OnceLock<Py<PyType>>,
}

impl Border {
    pub(super) fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = event_loop.py();
        Ok(Self {
            create_future: event_loop.getattr("create_future")?.unbind(),
            ensure_future: py.import("asyncio")?.getattr("ensure_future")?.unbind(),
            event_loop: event_loop.clone().unbind(),
            finished: OnceLock::new(),
        })
    }

    pub(super) fn create_future(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.create_future.call0(py)
    }

    /// Calls ASGI's `send`. Returns what to wait for: None when it is done, else something with `add_done_callback`.
    pub(super) fn send<'py>(
        &self,
        send: &Bound<'py, PyAny>,
        message: Bound<'py, PyDict>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        send.call1((message,)).and_then(|sent| self.pending(sent))
    }

    fn pending<'py>(&self, sent: Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = sent.py();
        let class = sent.get_type();
        if self
            .finished
            .get()
            .is_some_and(|finished| class.is(finished))
            || sent.is_none()
        {
            return Ok(None);
        }
        if class.name()? == "PyEmptyAwaitable" && class.module()?.to_str()?.starts_with("granian") {
            let _ = self.finished.set(class.unbind());
            return Ok(None);
        }
        if sent.hasattr(intern!(py, "add_done_callback"))? {
            return Ok(Some(sent));
        }
        let options = PyDict::new(py);
        options.set_item(intern!(py, "loop"), &self.event_loop)?;
        self.ensure_future
            .bind(py)
            .call((sent,), Some(&options))
            .map(Some)
    }
}

/// Gives a future its result. One that is done, because it was cancelled, stays as it is.
pub(super) fn resolve(future: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    match future.call_method1(intern!(py, "set_result"), (value,)) {
        Err(_) if is_done(future)? => Ok(()),
        set => set.map(drop),
    }
}

fn is_done(future: &Bound<'_, PyAny>) -> PyResult<bool> {
    future
        .call_method0(intern!(future.py(), "done"))?
        .is_truthy()
}

/// Gives a future the exception of a failure.
pub(super) fn reject(future: &Bound<'_, PyAny>, failure: &Failure) -> PyResult<()> {
    raise(future, &error::exception(future.py(), failure)?)
}

/// Gives a future an exception.
pub(super) fn raise(future: &Bound<'_, PyAny>, exception: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    if is_done(future)? {
        return Ok(());
    }
    if exception.is_instance_of::<CancelledError>() {
        return future.call_method0(intern!(py, "cancel")).map(drop);
    }
    future.call_method1(intern!(py, "set_exception"), (exception,))?;
    // Marks it as seen: an exchange that was dropped has nobody who asks, and asyncio would log that.
    future.call_method0(intern!(py, "exception")).map(drop)
}
