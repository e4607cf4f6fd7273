//! What the futures of an exchange resolve to.

use fd_router_relay::Head as UpstreamHead;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

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
}

#[pymethods]
impl Head {
    #[getter]
    fn status(&self) -> u16 {
        self.head.status()
    }

    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for (name, value) in self.head.headers() {
            list.append((
                PyBytes::new(py, name.as_ref()),
                PyBytes::new(py, value.as_bytes()),
            ))?;
        }
        Ok(list)
    }

    #[getter]
    fn body(&self, py: Python<'_>) -> Option<Py<PyBytes>> {
        self.body.as_ref().map(|body| body.clone_ref(py))
    }
}

/// How a forwarded or discarded body went.
#[pyclass(frozen, module = "fd_router._core")]
pub(super) struct End {
    #[pyo3(get)]
    pub(super) bytes: u64,
    #[pyo3(get)]
    pub(super) chunks: u64,
}
