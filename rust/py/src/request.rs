//! Binding of the request scan.

use std::sync::OnceLock;
use std::time::Instant;

use fd_router_core::scan::{Body, Members, Prompt};
use fd_router_explain::Trail;
use fd_router_record::Tape;
use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyString};

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
    pub(crate) scanned: Body<PyBackedBytes>,
    /// When it was read.
    pub(crate) since: Instant,
    /// Its number on a tape, given at its first decision.
    number: OnceLock<u64>,
    /// Its decisions, from when it is known what it is called.
    trail: OnceLock<Trail>,
    /// Nobody knows whether its answer comes in one piece.
    open: bool,
}

impl Request {
    fn of(scanned: Body<PyBackedBytes>) -> Self {
        Self {
            scanned,
            since: Instant::now(),
            number: OnceLock::new(),
            trail: OnceLock::new(),
            open: false,
        }
    }

    /// Scans JSON, without the GIL where it is long.
    fn json(py: Python<'_>, bytes: PyBackedBytes, prompt: Prompt) -> PyResult<Self> {
        let scanned = if bytes.len() > LONG {
            py.detach(|| Body::scan(bytes, prompt))
        } else {
            Body::scan(bytes, prompt)
        };
        scanned
            .map(Self::of)
            .map_err(|error| BodyError::new_err(error.to_string()))
    }

    /// Whether work over the whole prompt should release the GIL.
    pub(crate) fn is_long(&self) -> bool {
        self.scanned.text().len() > LONG
    }

    /// What names the request on a tape: the same for all its decisions.
    pub(crate) fn number(&self, tape: &Tape) -> u64 {
        *self.number.get_or_init(|| tape.request())
    }

    /// Where its decisions are told; None where nobody said what it is called.
    pub(crate) fn trail(&self) -> Option<&Trail> {
        self.trail.get()
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
        Self::json(body.py(), body.into(), prompt)
    }

    #[staticmethod]
    fn read(body: Bound<'_, PyBytes>, reading: &str, content_type: &[u8]) -> PyResult<Self> {
        let py = body.py();
        let bytes = PyBackedBytes::from(body);
        match reading {
            "texts" => Self::json(py, bytes, Prompt::Texts),
            "json" => Self::json(py, bytes, Prompt::Nowhere),
            "form" => Ok(Self::of(py.detach(|| Body::form(bytes, content_type)))),
            "any" => {
                let again = bytes.clone_ref(py);
                let known = Self::json(py, bytes, Prompt::Nowhere).ok();
                Ok(Self {
                    open: true,
                    ..known.unwrap_or_else(|| Self::of(Body::form(again, content_type)))
                })
            }
            _ => Err(PyValueError::new_err(format!(
                "unknown reading {reading:?}: use texts, json, form or any"
            ))),
        }
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(self.scanned.bytes().into_pyobject(py)?)
    }

    #[getter]
    const fn stream(&self) -> bool {
        self.scanned.stream()
    }

    #[getter]
    const fn whole(&self) -> bool {
        !self.open && !self.scanned.stream()
    }

    #[getter]
    fn request_id(&self) -> Option<&str> {
        self.scanned.request_id()
    }

    fn name(&self, request_id: &str, path: &str) {
        let stream = self.scanned.stream();
        self.trail
            .get_or_init(|| Trail::new(request_id, path, stream));
    }

    #[pyo3(signature = (reason, *, again = true))]
    fn lost(&self, reason: &str, again: bool) {
        if let Some(trail) = self.trail.get() {
            trail.lost(reason, again);
        }
    }

    /// Seconds since it was read.
    #[getter]
    fn age(&self) -> f64 {
        self.since.elapsed().as_secs_f64()
    }

    #[getter]
    fn session_id(&self) -> Option<&str> {
        self.scanned.session_id()
    }

    #[getter]
    fn req_id(&self) -> Option<&str> {
        self.scanned.req_id()
    }

    #[getter]
    fn model(&self) -> Option<&str> {
        self.scanned.model()
    }

    #[getter]
    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        PyString::from_bytes(py, self.scanned.text())
    }

    #[getter]
    const fn chars(&self) -> usize {
        self.scanned.chars()
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
        Ok(PyBytes::new(py, &self.scanned.splice(&wanted)))
    }
}

/// Adds this part's classes to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Request>()?;
    module.add("BodyError", module.py().get_type::<BodyError>())
}
