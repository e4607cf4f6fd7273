//! Binding of snapshots.

use std::sync::Arc;

use fd_router_core::scheduler::{Scheduler as Core, SnapshotCopy as Copy};
use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// A snapshot that is being made.
#[pyclass(frozen, module = "fd_router._core")]
pub(super) struct SnapshotCopy {
    core: Arc<Core>,
    copy: Mutex<Copy>,
}

impl SnapshotCopy {
    pub(super) fn begin(core: &Arc<Core>) -> Self {
        Self {
            core: Arc::clone(core),
            copy: Mutex::new(core.copy_begin()),
        }
    }
}

#[pymethods]
impl SnapshotCopy {
    fn piece<'py>(&self, py: Python<'py>, wall_secs: f64) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let wall = millis(wall_secs);
        let piece = py.detach(|| self.core.copy_more(&mut self.copy.lock(), wall));
        let piece = piece.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        Ok(piece.map(|bytes| PyBytes::new(py, &bytes)))
    }
}

/// A time since the epoch.
pub(super) fn millis(secs: f64) -> u64 {
    (secs * 1e3) as u64
}
