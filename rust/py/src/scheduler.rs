//! Binding of the scheduler.

mod config;
mod lease;
mod stats;

use std::sync::Arc;

use fd_router_core::ids::Role;
use fd_router_core::scheduler::{HIT_BOUNDS, Load, Options, Scheduler as Core, Standing};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyMapping, PyTuple};
use strum::VariantNames;

use crate::clock::Clock;
use crate::journal::{Journal, Lines};
use crate::request::Request;

use self::config::Arguments;
use self::lease::Lease;
use self::stats::{DecisionStats, TreeStats, TruthStats};

/// Workers, their counters, the prefix tree and the policies.
#[pyclass(frozen, module = "fd_router._core")]
struct Scheduler {
    core: Arc<Core>,
    clock: Clock,
    /// Where decisions are told of.
    lines: Option<Arc<Lines>>,
}

#[pymethods]
impl Scheduler {
    #[new]
    #[pyo3(signature = (
        *,
        policies,
        block_size,
        cache_max_bytes,
        eviction_secs,
        balance_abs_threshold,
        balance_rel_threshold,
        hit_ratio_weight,
        load_balance_weight,
        waiting_weight,
        metrics_max_age_secs,
        copy_cost,
        base_running,
        seed,
        journal = None,
    ))]
    #[expect(
        clippy::too_many_arguments,
        reason = "the constructor takes the configuration by keyword"
    )]
    fn new(
        policies: &Bound<'_, PyMapping>,
        block_size: usize,
        cache_max_bytes: usize,
        eviction_secs: f64,
        balance_abs_threshold: f64,
        balance_rel_threshold: f64,
        hit_ratio_weight: f64,
        load_balance_weight: f64,
        waiting_weight: f64,
        metrics_max_age_secs: f64,
        copy_cost: f64,
        base_running: f64,
        seed: u64,
        journal: Option<&Bound<'_, Journal>>,
    ) -> PyResult<Self> {
        let arguments = Arguments {
            policies: policies.items()?.extract()?,
            block_size,
            cache_max_bytes,
            eviction_secs,
            balance_abs_threshold,
            balance_rel_threshold,
            hit_ratio_weight,
            load_balance_weight,
            waiting_weight,
            metrics_max_age_secs,
            copy_cost,
            base_running,
            seed,
        };
        let config = arguments.check().map_err(PyValueError::new_err)?;
        Ok(Self {
            core: Arc::new(Core::new(&config)),
            clock: Clock::start(),
            lines: journal.map(|journal| Arc::clone(&journal.get().0)),
        })
    }

    fn add(&self, url: &str, role: &str) -> PyResult<()> {
        self.core.add(url, role_of(role)?);
        Ok(())
    }

    fn remove(&self, url: &str) -> Option<(u64, u64)> {
        self.core.remove(url)
    }

    fn count(&self, role: &str) -> PyResult<usize> {
        Ok(self.core.count(role_of(role)?))
    }

    #[pyo3(
        signature = (role, request, *, tags = "", tokens = None, exclude = Vec::new()),
        text_signature = "($self, role, request, *, tags='', tokens=None, exclude=())"
    )]
    fn select(
        &self,
        py: Python<'_>,
        role: &str,
        request: &Bound<'_, Request>,
        tags: &str,
        tokens: Option<Vec<i64>>,
        exclude: Vec<String>,
    ) -> PyResult<Option<Lease>> {
        let role = role_of(role)?;
        let request = request.get();
        let options = Options { tokens, exclude };
        let select = || {
            self.core
                .select(role, &request.scanned, &options, self.clock.now())
        };
        let decision = if request.is_long() {
            py.detach(select)
        } else {
            select()
        };
        let decision = decision.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(decision.map(|decision| {
            let core = Arc::clone(&self.core);
            Lease::new(py, core, self.clock, decision, self.lines.clone(), tags)
        }))
    }

    #[pyo3(
        signature = (role, exclude = Vec::new()),
        text_signature = "($self, role, exclude=())"
    )]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is extracted from Python is owned"
    )]
    fn left(&self, role: &str, exclude: Vec<String>) -> PyResult<(usize, usize)> {
        Ok(self.core.left(role_of(role)?, &exclude))
    }

    fn stand(&self, url: &str, standing: &str) -> PyResult<()> {
        let standing: Standing = standing.parse().map_err(|_| {
            let known = <Standing as VariantNames>::VARIANTS.join(", ");
            PyValueError::new_err(format!("unknown standing {standing:?}: use one of {known}"))
        })?;
        self.core.stand(url, standing);
        Ok(())
    }

    fn forget_prefixes(&self, url: &str) {
        self.core.forget_prefixes(url);
    }

    fn observe(&self, url: &str, running: f64, waiting: f64) {
        self.core.observe(url, running, waiting, self.clock.now());
    }

    fn loads(&self) -> Vec<(String, &'static str, u64, u64)> {
        let loads = self.core.loads().into_iter();
        loads
            .map(
                |Load {
                     url,
                     role,
                     running,
                     tokens,
                 }| (url, role.name(), running, tokens),
            )
            .collect()
    }

    fn reap(&self) -> (Vec<String>, Vec<String>) {
        let reaped = self.core.reap();
        (reaped.removed, reaped.preserved)
    }

    fn expire(&self) -> (u64, bool) {
        let expired = self.core.expire(self.clock.now());
        (expired.blocks, expired.more)
    }

    fn tell_capacity(&self, url: &str, tokens: f64) {
        self.core.tell_capacity(url, tokens);
    }

    fn capacities(&self) -> Vec<(String, f64)> {
        self.core.capacities()
    }

    fn truth(&self) -> TruthStats {
        self.core.truth().into()
    }

    fn tree(&self) -> TreeStats {
        self.core.tree().into()
    }

    fn decisions(&self) -> DecisionStats {
        self.core.decisions().into()
    }

    fn sessions(&self) -> (u64, u64) {
        self.core.sessions()
    }
}

fn role_of(name: &str) -> PyResult<Role> {
    name.parse()
        .map_err(|error: fd_router_core::ids::UnknownRole| PyValueError::new_err(error.to_string()))
}

/// Adds this part's classes to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_class::<Lease>()?;
    module.add_class::<Scheduler>()?;
    module.add_class::<TreeStats>()?;
    module.add_class::<DecisionStats>()?;
    module.add_class::<TruthStats>()?;
    module.add("HIT_BOUNDS", PyTuple::new(py, HIT_BOUNDS)?)
}
