//! `fd_router._core`: the narrow border between Python and the Rust crates.
//!
//! The contract, with units and errors, is `python/fd_router/_core.pyi`; this crate only converts.

mod access;
mod clock;
mod journal;
mod relay;
mod request;
mod scheduler;

use pyo3::prelude::*;

/// The extension module.
#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    journal::register(module)?;
    access::register(module)?;
    request::register(module)?;
    scheduler::register(module)?;
    relay::register(module)?;
    Ok(())
}
