//! Binding of the counts of answers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use fd_router_counts::answers::{Answers as Core, Author, Row, Times};
use parking_lot::Mutex;
use pyo3::prelude::*;

/// Worker, prefill worker, status, answers.
type RowTuple = (Option<String>, Option<String>, u16, u64);

/// Answers that a worker had a part in, and its own from 400 on by status.
type ShareTuple = (u64, BTreeMap<u16, u64>);

/// Worker, first digit of the status, histogram.
type TimesTuple = (Option<String>, u16, Vec<u64>, f64);

/// Answers of workers, and the times to their first bytes.
#[pyclass(frozen, module = "fd_router._core")]
pub(crate) struct Answers(pub(crate) Arc<Core>);

#[pymethods]
impl Answers {
    #[new]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a sequence is converted to a Vec of its own"
    )]
    fn new(bounds: Vec<f64>, max_series: usize) -> Self {
        Self(Arc::new(Core::new(&bounds, max_series)))
    }

    #[pyo3(signature = (worker, status, prefill = None))]
    fn answered(&self, worker: &str, status: u16, prefill: Option<&str>) {
        self.0.answered(Author { worker, prefill }, status);
    }

    fn first_byte(&self, worker: &str, status: u16, seconds: f64) {
        self.0.first_byte(worker, status, seconds);
    }

    fn latest(&self, worker: &str, seconds: f64) {
        self.0.latest(worker, seconds);
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "a sequence is converted to a Vec of its own"
    )]
    fn quantiles(&self, worker: &str, shares: Vec<f64>) -> Option<Vec<f64>> {
        self.0.quantiles(worker, &shares)
    }

    fn forget(&self, worker: &str) {
        self.0.forget(worker);
    }

    fn workers(&self, py: Python<'_>) -> HashSet<String> {
        py.detach(|| self.0.workers())
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "a set is converted to one of its own"
    )]
    fn remove(&self, py: Python<'_>, workers: HashSet<String>) {
        py.detach(|| self.0.remove(&workers));
    }

    fn totals(&self) -> (u64, u64) {
        self.0.totals()
    }

    fn shares(&self) -> HashMap<String, ShareTuple> {
        let shares = self.0.shares().into_iter();
        shares
            .map(|(worker, share)| (worker, (share.answers, share.errors)))
            .collect()
    }

    fn rows(&self, py: Python<'_>) -> Rows {
        Rows(Mutex::new(py.detach(|| self.0.rows()).into_iter()))
    }

    fn times(&self, py: Python<'_>) -> AllTimes {
        AllTimes(Mutex::new(py.detach(|| self.0.times()).into_iter()))
    }
}

/// Rows that become Python's one at a time, so that whoever reads thousands of them can pause.
#[pyclass(frozen, module = "fd_router._core")]
struct Rows(Mutex<std::vec::IntoIter<Row>>);

#[pymethods]
impl Rows {
    const fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self) -> Option<RowTuple> {
        let row = self.0.lock().next()?;
        let (worker, prefill) = row.author.unzip();
        Some((worker, prefill.flatten(), row.status, row.answers))
    }
}

/// The same for times.
#[pyclass(frozen, module = "fd_router._core")]
struct AllTimes(Mutex<std::vec::IntoIter<Times>>);

#[pymethods]
impl AllTimes {
    const fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self) -> Option<TimesTuple> {
        let each = self.0.lock().next()?;
        let seconds = each.seconds;
        Some((each.worker, each.class, seconds.buckets, seconds.sum))
    }
}

/// Adds this part's classes to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Answers>()
}
