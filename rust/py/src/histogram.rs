//! A histogram that Python feeds, as it feeds the log: the counts are kept in Rust.

use fd_router_counts::histogram::Histogram as Core;
use pyo3::prelude::*;

/// Values counted by upper bounds.
#[pyclass(frozen, module = "fd_router._core")]
struct Histogram(Core);

#[pymethods]
impl Histogram {
    #[new]
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a sequence is converted to a Vec of its own"
    )]
    fn new(bounds: Vec<f64>) -> Self {
        Self(Core::new(&bounds))
    }

    fn observe(&self, value: f64) {
        self.0.observe(value);
    }

    fn snapshot(&self) -> (Vec<u64>, f64) {
        let snapshot = self.0.snapshot();
        (snapshot.buckets, snapshot.sum)
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Histogram>()
}
