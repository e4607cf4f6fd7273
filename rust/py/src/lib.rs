//! `fd_router._core`: the narrow border between Python and the Rust crates.
//!
//! The contract, with units and errors, is `python/fd_router/_core.pyi`. Nothing is decided or counted here, and
//! no log line is worded. Beside converting values, and saying which of them is not accepted, this crate reads the clock
//! that the core takes as an argument, and does what takes Python objects: it asks once a second what the lines of the
//! log begin with, wakes their writer, resolves the futures of an exchange and calls its `send`.

mod access;
mod answers;
mod clock;
mod head;
mod histogram;
mod journal;
mod policy;
mod relay;
mod replay;
mod replies;
mod request;
mod scheduler;
mod simulate;

use pyo3::prelude::*;

/// The extension module.
#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    // Who builds a wheel says it; a build script that asked git would build this crate anew with each commit.
    module.add(
        "BUILT_FROM",
        option_env!("FD_ROUTER_BUILT_FROM").unwrap_or_default(),
    )?;
    journal::register(module)?;
    access::register(module)?;
    histogram::register(module)?;
    answers::register(module)?;
    replies::register(module)?;
    head::register(module)?;
    request::register(module)?;
    policy::register(module)?;
    scheduler::register(module)?;
    relay::register(module)?;
    replay::register(module)?;
    simulate::register(module)?;
    Ok(())
}
