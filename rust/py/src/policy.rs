//! Binding of the policies' names and of what each looks at.

use fd_router_core::policy::Policy as Core;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// One policy.
#[pyclass(frozen, get_all, module = "fd_router._core")]
struct Policy {
    name: &'static str,
    reads_prefixes: bool,
    reads_remote_load: bool,
    reads_capacity: bool,
}

impl From<Core> for Policy {
    fn from(policy: Core) -> Self {
        Self {
            name: policy.name(),
            reads_prefixes: policy.reads_prefixes(),
            reads_remote_load: policy.reads_remote_load(),
            reads_capacity: policy.reads_capacity(),
        }
    }
}

/// Adds this part's class and the policies to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let policies = Core::ALL
        .iter()
        .map(|&policy| Bound::new(py, Policy::from(policy)))
        .collect::<PyResult<Vec<_>>>()?;
    module.add_class::<Policy>()?;
    module.add("POLICIES", PyTuple::new(py, policies)?)
}
