//! Binding of the simulator.

use std::path::PathBuf;

use fd_router_core::ids::Role;
use fd_router_core::policy::Policy;
use fd_router_record::Recording;
use fd_router_simulate as sim;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::scheduler::config::Arguments;

/// Parts of a run after which its progress is told.
const PARTS: usize = 200;

/// Routers that are simulated: as many as one router listens to, and itself.
const MAX_ROUTERS: usize = 64;
/// Milliseconds after which they hear of each other at the latest.
const MAX_STALENESS_MS: f64 = 3_600_000.0;

/// Requests over time.
#[pyclass(frozen, module = "fd_router._core")]
struct Trace(sim::Trace);

#[pymethods]
impl Trace {
    #[staticmethod]
    fn mooncake(py: Python<'_>, text: &str, block_size: usize, name: &str) -> PyResult<Self> {
        py.detach(|| sim::Trace::from_mooncake(text, block_size))
            .map(Self)
            .map_err(|error| at_line(name, &error))
    }

    #[staticmethod]
    fn agents(
        py: Python<'_>,
        text: &str,
        block_size: usize,
        name: &str,
        sessions: Option<usize>,
    ) -> PyResult<Self> {
        py.detach(|| {
            let recorded = sim::Sessions::read(text, block_size)?;
            Ok(match sessions {
                Some(count) => recorded.trace(recorded.starts_of(count)),
                None => recorded.trace(recorded.starts()),
            })
        })
        .map(Self)
        .map_err(|error| at_line(name, &error))
    }

    #[staticmethod]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is extracted from Python is owned"
    )]
    fn recording(py: Python<'_>, path: PathBuf, output_tokens: usize) -> PyResult<Self> {
        let read = || {
            let recording = Recording::read(&path)?;
            Ok(sim::Trace::from_recording(&recording, output_tokens))
        };
        py.detach(read)
            .map(Self)
            .map_err(|error: fd_router_record::ReadError| PyValueError::new_err(error.to_string()))
    }

    fn faster(&self, factor: f64) -> PyResult<Self> {
        if factor.is_finite() && factor > 0.0 {
            return Ok(Self(self.0.clone().faster(factor)));
        }
        let problem = format!("factor is {factor}: a finite number above 0 is accepted");
        Err(PyValueError::new_err(problem))
    }

    #[getter]
    const fn requests(&self) -> usize {
        self.0.requests.len()
    }

    #[getter]
    const fn block_size(&self) -> usize {
        self.0.block_size
    }
}

fn at_line(name: &str, error: &sim::trace::TraceError) -> PyErr {
    PyValueError::new_err(format!("{name}:{}: {}", error.line, error.problem))
}

type Spread = (f64, f64, f64, f64);

/// A run in a few numbers.
#[pyclass(frozen, get_all, module = "fd_router._core")]
struct Simulation {
    requests: usize,
    errors: usize,
    hit: f64,
    predicted_hit: Option<f64>,
    over_predicted: Option<f64>,
    balance: f64,
    first_token: Spread,
    token_mean: f64,
    end_to_end: Spread,
    makespan: f64,
    first_tokens: Vec<f64>,
}

/// A run that is to be.
struct Run {
    fleet: sim::Fleet,
    setup: sim::Setup,
}

#[pyfunction]
#[pyo3(signature = (trace, settings, *, engine, workers, decode_workers = 0, cache_blocks, routers = 1, staleness_ms = 0.0, progress = None))]
#[expect(
    clippy::needless_pass_by_value,
    reason = "what is extracted from Python is owned"
)]
#[expect(
    clippy::too_many_arguments,
    reason = "what describes a run is given by keyword"
)]
fn simulate(
    py: Python<'_>,
    trace: &Bound<'_, Trace>,
    settings: Arguments,
    engine: &str,
    workers: usize,
    decode_workers: usize,
    cache_blocks: usize,
    routers: usize,
    staleness_ms: f64,
    progress: Option<Py<PyAny>>,
) -> PyResult<Simulation> {
    let trace = &trace.get().0;
    let pools = (workers, decode_workers);
    let Run { fleet, setup } = prepare(&settings, engine, pools, cache_blocks, trace.block_size)
        .map_err(PyValueError::new_err)?;
    let exchange = exchange(routers, staleness_ms).map_err(PyValueError::new_err)?;
    py.detach(|| {
        let mut router = sim::Routers::new(&setup, exchange, &fleet, trace.block_size);
        let every = trace.requests.len().div_ceil(PARTS).max(1);
        let (mut done, mut told) = (0, Ok(()));
        let records = sim::simulate(trace, &fleet, &mut router, |_| {
            done += 1;
            if let (Some(progress), true, true) = (&progress, done % every == 0, told.is_ok()) {
                told = Python::attach(|py| progress.call1(py, (done,)).map(drop));
            }
        });
        told?;
        let records = records.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Simulation::new(&records, fleet.workers()))
    })
}

/// How so many routers hear of each other.
fn exchange(routers: usize, staleness_ms: f64) -> Result<sim::Exchange, String> {
    if !(1..=MAX_ROUTERS).contains(&routers) {
        return Err(format!(
            "routers is {routers}: 1 to {MAX_ROUTERS} are accepted"
        ));
    }
    if !(0.0..=MAX_STALENESS_MS).contains(&staleness_ms) {
        return Err(format!(
            "staleness_ms is {staleness_ms}: 0 to {MAX_STALENESS_MS} is accepted"
        ));
    }
    Ok(sim::Exchange::new(
        routers,
        (staleness_ms * 1_000.0).round() as u64,
    ))
}

fn prepare(
    settings: &Arguments,
    engine: &str,
    (workers, decode_workers): (usize, usize),
    cache_blocks: usize,
    block_size: usize,
) -> Result<Run, String> {
    let profile: sim::Profile = engine
        .parse()
        .map_err(|error: sim::profile::UnknownProfile| error.to_string())?;
    for (name, count) in [("workers", workers), ("cache_blocks", cache_blocks)] {
        if count == 0 {
            return Err(format!("{name} is 0: at least 1 is accepted"));
        }
    }
    let engines = |count| profile.engines(count, cache_blocks, block_size);
    let (role, fleet) = if decode_workers == 0 {
        (Role::Mixed, sim::Fleet::Mixed(engines(workers)))
    } else {
        let fleet = sim::Fleet::Disaggregated {
            prefill: engines(workers),
            decode: engines(decode_workers),
            handover: sim::profile::HANDOVER,
        };
        (Role::Prefill, fleet)
    };
    let config = settings.check()?;
    let policy = |wanted: Role| -> Result<Policy, String> {
        let mut policies = config.policies.iter();
        let found = policies.find(|&&(role, _)| role == wanted);
        found
            .map(|&(_, policy)| policy)
            .ok_or_else(|| format!("policies: none for {}", wanted.name()))
    };
    let decode = if decode_workers == 0 {
        role
    } else {
        Role::Decode
    };
    let setup = sim::Setup {
        policy: policy(role)?,
        decode_policy: policy(decode)?,
        settings: config.settings,
        cache_max_bytes: config.cache_max_bytes,
        idle_limit: config.idle_limit,
        seed: config.seed,
        feedback: sim::Feedback {
            told: true,
            learned: true,
        },
    };
    Ok(Run { fleet, setup })
}

impl Simulation {
    fn new(records: &[sim::Record], workers: usize) -> Self {
        let report = sim::Report::new(records, workers);
        let served = records
            .iter()
            .filter(|record| record.outcome == sim::Outcome::Served);
        let mut first_tokens: Vec<u64> =
            served.map(|record| record.first - record.arrival).collect();
        first_tokens.sort_unstable();
        let spread =
            |spread: sim::report::Spread| (spread.mean, spread.p50, spread.p90, spread.p99);
        Self {
            requests: report.requests,
            errors: report.errors,
            hit: report.hit,
            predicted_hit: report.predicted_hit,
            over_predicted: report.over_predicted,
            balance: report.balance,
            first_token: spread(report.first_token),
            token_mean: report.token_mean,
            end_to_end: spread(report.end_to_end),
            makespan: report.makespan,
            first_tokens: first_tokens
                .into_iter()
                .map(|micros| micros as f64 / 1_000.0)
                .collect(),
        }
    }
}

/// Adds this part to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let profiles = sim::Profile::ALL.map(sim::Profile::name);
    module.add("ENGINES", PyTuple::new(py, profiles)?)?;
    module.add("CACHE_TOKENS", sim::profile::CACHE_TOKENS)?;
    module.add("MAX_ROUTERS", MAX_ROUTERS)?;
    module.add_class::<Trace>()?;
    module.add_class::<Simulation>()?;
    module.add_function(wrap_pyfunction!(simulate, module)?)
}
