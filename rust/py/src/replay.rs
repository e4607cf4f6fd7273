//! Binding of the engine `recorded`.

use std::path::PathBuf;

use fd_router_core::ids::Role;
use fd_router_record::Recording;
use fd_router_simulate::recorded;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// How a replay went.
#[pyclass(frozen, get_all, module = "fd_router._core")]
struct Replay {
    decisions: u64,
    same: u64,
    same_predictions: u64,
    missing: u64,
    differences: Vec<(u64, Option<String>, Option<String>)>,
    workers: Vec<(String, u64, u64)>,
}

#[pyfunction]
#[pyo3(
    signature = (path, *, policies = Vec::new(), copy_cost = None, base_running = None),
    text_signature = "(path, *, policies=(), copy_cost=None, base_running=None)"
)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "what is extracted from Python is owned"
)]
fn replay(
    py: Python<'_>,
    path: PathBuf,
    policies: Vec<(String, String)>,
    copy_cost: Option<f64>,
    base_running: Option<f64>,
) -> PyResult<Replay> {
    py.detach(|| {
        let recording = Recording::read(&path).map_err(|error| error.to_string())?;
        let mut config = recording.head.config()?;
        for (role, policy) in &policies {
            let role: Role = role.parse().map_err(|error| format!("policies: {error}"))?;
            let policy = policy
                .parse()
                .map_err(|error| format!("policies: {error}"))?;
            config.policies.retain(|&(other, _)| other != role);
            config.policies.push((role, policy));
        }
        let settings = &mut config.settings;
        settings.copy_cost = copy_cost.unwrap_or(settings.copy_cost);
        settings.base_running = base_running.unwrap_or(settings.base_running);
        recorded::replay(&recording, &config).map_err(|error| error.to_string())
    })
    .map(Replay::from)
    .map_err(PyValueError::new_err)
}

impl From<recorded::Replayed> for Replay {
    fn from(replayed: recorded::Replayed) -> Self {
        let differences = replayed.differences.into_iter();
        let workers = replayed.workers.into_iter();
        Self {
            decisions: replayed.decisions,
            same: replayed.same,
            same_predictions: replayed.same_predictions,
            missing: replayed.missing,
            differences: differences
                .map(|each| (each.seq, each.recorded, each.replayed))
                .collect(),
            workers: workers.map(|(url, (then, now))| (url, then, now)).collect(),
        }
    }
}

/// Adds this part to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Replay>()?;
    module.add_function(wrap_pyfunction!(replay, module)?)
}
