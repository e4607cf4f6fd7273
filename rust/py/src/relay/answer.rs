//! What the futures of an exchange resolve to.

use fd_router_relay::Head as UpstreamHead;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

/// The head of an upstream answer.
#[pyclass(frozen, module = "fd_router._core")]
pub(super) struct Head {
    head: UpstreamHead,
    body: Option<Py<PyBytes>>,
}

impl Head {
    pub(super) fn new(py: Python<'_>, mut head: UpstreamHead) -> Self {
        let body = head
            .body
            .take()
            .map(|body| PyBytes::new(py, &body).unbind());
        Self { head, body }
    }

    /// The message that begins an answer with this head and `extra` headers, which stand in place of its own.
    pub(super) fn start_message<'py>(
        &self,
        py: Python<'py>,
        extra: Option<&Bound<'py, PyList>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let mut ours: Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> = Vec::new();
        for pair in extra.into_iter().flatten() {
            ours.push(pair.extract()?);
        }
        let headers = self.gather(py, |name| {
            ours.iter().all(|(known, _)| known.as_bytes() != name)
        })?;
        for pair in ours {
            headers.append(pair)?;
        }
        let message = PyDict::new(py);
        message.set_item(intern!(py, "type"), intern!(py, "http.response.start"))?;
        message.set_item(intern!(py, "status"), self.status())?;
        message.set_item(intern!(py, "headers"), headers)?;
        Ok(message)
    }

    /// The headers whose names are wanted.
    fn gather<'py>(
        &self,
        py: Python<'py>,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for (name, value) in self.head.headers() {
            let name: &[u8] = name.as_ref();
            if wanted(name) {
                list.append((PyBytes::new(py, name), PyBytes::new(py, value.as_bytes())))?;
            }
        }
        Ok(list)
    }

    /// The collected body.
    pub(super) fn whole<'py>(&self, py: Python<'py>) -> Option<&Bound<'py, PyBytes>> {
        self.body.as_ref().map(|body| body.bind(py))
    }
}

#[pymethods]
impl Head {
    #[getter]
    fn status(&self) -> u16 {
        self.head.status()
    }

    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.gather(py, |_| true)
    }

    #[getter]
    fn body(&self, py: Python<'_>) -> Option<Py<PyBytes>> {
        self.body.as_ref().map(|body| body.clone_ref(py))
    }

    /// Whether the answer is made of server-sent events.
    #[getter]
    fn event_stream(&self) -> bool {
        self.head.event_stream()
    }

    /// Whether the answer has a content-encoding.
    #[getter]
    fn encoded(&self) -> bool {
        self.head.encoded()
    }
}

/// A message that hands over bytes of a body.
pub(super) fn body_message<'py>(
    body: &Bound<'py, PyBytes>,
    more_body: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let py = body.py();
    let message = PyDict::new(py);
    message.set_item(intern!(py, "type"), intern!(py, "http.response.body"))?;
    message.set_item(intern!(py, "body"), body)?;
    message.set_item(intern!(py, "more_body"), more_body)?;
    Ok(message)
}
