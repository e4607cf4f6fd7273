//! `UpstreamError`: a failed exchange as Python sees it.

use fd_router_relay::Failure;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

pyo3::create_exception!(
    fd_router._core,
    UpstreamError,
    PyException,
    "An exchange failed."
);

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let class = module.py().get_type::<UpstreamError>();
    // Instances have their own; these are for an error that Python code makes itself.
    class.setattr("kind", "closed")?;
    class.setattr("received", false)?;
    module.add("UpstreamError", class)
}

/// The exception of a failure.
pub(super) fn exception<'py>(py: Python<'py>, failure: &Failure) -> PyResult<Bound<'py, PyAny>> {
    let error = UpstreamError::new_err(failure.to_string())
        .into_value(py)
        .into_bound(py)
        .into_any();
    error.setattr(pyo3::intern!(py, "kind"), failure.kind.name())?;
    error.setattr(pyo3::intern!(py, "received"), failure.received)?;
    Ok(error)
}
