//! Binding of the request scan.

use fd_router_core::scan::{Body, Members, Prompt};
use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Bytes of body from which on the GIL is released: below it the hand-over costs more than it frees.
const LONG: usize = 256 * 1024;

create_exception!(
    fd_router._core,
    BodyError,
    PyValueError,
    "The body is not a JSON object."
);

/// A scanned request body.
#[pyclass(frozen, module = "fd_router._core")]
pub(crate) struct Request {
    bytes: Py<PyBytes>,
    pub(crate) scanned: Body,
}

impl Request {
    /// Whether work over the whole prompt should release the GIL.
    pub(crate) const fn is_long(&self) -> bool {
        self.scanned.text.len() > LONG
    }
}

#[pymethods]
impl Request {
    #[staticmethod]
    fn scan(body: Bound<'_, PyBytes>, chat: bool) -> PyResult<Self> {
        let prompt = if chat {
            Prompt::Messages
        } else {
            Prompt::Plain
        };
        let bytes = body.as_bytes();
        let scanned = if bytes.len() > LONG {
            body.py().detach(|| Body::scan(bytes, prompt))
        } else {
            Body::scan(bytes, prompt)
        };
        let scanned = scanned.map_err(|error| BodyError::new_err(error.to_string()))?;
        Ok(Self {
            bytes: body.unbind(),
            scanned,
        })
    }

    #[getter]
    fn body(&self, py: Python<'_>) -> Py<PyBytes> {
        self.bytes.clone_ref(py)
    }

    #[getter]
    const fn stream(&self) -> bool {
        self.scanned.stream
    }

    #[getter]
    fn request_id(&self) -> Option<&str> {
        self.scanned.request_id.as_deref()
    }

    #[getter]
    fn session_id(&self) -> Option<&str> {
        self.scanned.session_id.as_deref()
    }

    #[getter]
    fn req_id(&self) -> Option<&str> {
        self.scanned.req_id.as_deref()
    }

    #[getter]
    fn model(&self) -> Option<&str> {
        self.scanned.model.as_deref()
    }

    #[getter]
    fn text(&self) -> &str {
        &self.scanned.text
    }

    #[getter]
    const fn chars(&self) -> usize {
        self.scanned.chars
    }

    #[getter]
    const fn token_estimate(&self) -> u64 {
        self.scanned.token_estimate()
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is extracted from Python is owned"
    )]
    fn splice<'py>(
        &self,
        py: Python<'py>,
        members: Vec<(String, Bound<'py, PyBytes>)>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut wanted = Members::default();
        for (key, value) in &members {
            let place = match key.as_str() {
                "request_id" => &mut wanted.request_id,
                "disaggregate_info" => &mut wanted.disaggregate_info,
                _ => {
                    return Err(PyValueError::new_err(format!(
                        "cannot splice {key:?}: use request_id or disaggregate_info"
                    )));
                }
            };
            *place = Some(value.as_bytes());
        }
        Ok(PyBytes::new(
            py,
            &self.scanned.splice(self.bytes.as_bytes(py), &wanted),
        ))
    }
}

/// Adds this part's classes to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Request>()?;
    module.add("BodyError", module.py().get_type::<BodyError>())
}
