//! Binding of a request's head.

use std::hash::{BuildHasher, RandomState};

use fd_router_core::head::{Head, uuid};
use fd_router_relay::HOP_HEADER;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

/// What the router reads of a request's head.
#[pyclass(frozen, module = "fd_router._core")]
struct RequestHead(Head);

#[pymethods]
impl RequestHead {
    #[new]
    fn new(headers: &Bound<'_, PyList>, http_version: &str) -> PyResult<Self> {
        let pairs = headers.iter().map(pair).collect::<PyResult<Vec<_>>>()?;
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        Ok(Self(Head::read(pairs, http_version, HOP_HEADER.as_ref())))
    }

    #[getter]
    const fn fault(&self) -> Option<&'static str> {
        self.0.fault
    }

    #[getter]
    const fn length(&self) -> Option<u64> {
        self.0.length
    }

    #[getter]
    fn length_fault(&self) -> Option<String> {
        self.0.length_fault.map(|fault| fault.to_string())
    }

    #[getter]
    fn coding<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let coding = self.0.coding.as_ref();
        coding.map(|coding| PyBytes::new(py, coding))
    }

    #[getter]
    fn trace_id(&self) -> Option<&str> {
        self.0.trace.as_deref()
    }

    #[getter]
    const fn has_id(&self) -> bool {
        self.0.named.header
    }

    #[getter]
    fn id(&self) -> Option<&str> {
        self.0.named.id.as_deref()
    }

    #[getter]
    fn trace(&self) -> Option<&str> {
        self.0.named.trace.as_deref()
    }

    fn came_by(&self, hop: &[u8]) -> bool {
        self.0.came_by(hop)
    }

    fn has_body_over(&self, size: u64) -> bool {
        self.0.has_body_over(size)
    }
}

/// A random UUID. It is to differ from others, not to be a secret: the system is asked once for each thread.
#[pyfunction]
fn made_id() -> String {
    let half = |salt: u8| u128::from(RandomState::new().hash_one(salt));
    uuid(half(0) << 64 | half(1))
}

fn pair(item: Bound<'_, PyAny>) -> PyResult<(Bound<'_, PyBytes>, Bound<'_, PyBytes>)> {
    let pair = item.cast_into::<PyTuple>()?;
    let name = pair.get_item(0)?.cast_into::<PyBytes>()?;
    let value = pair.get_item(1)?.cast_into::<PyBytes>()?;
    Ok((name, value))
}

/// Adds this part to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(made_id, module)?)?;
    module.add_class::<RequestHead>()
}
