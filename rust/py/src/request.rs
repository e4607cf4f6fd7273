//! Binding of the request.

use pyo3::prelude::*;

/// Adds this part's classes to the module.
pub(crate) fn register(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
