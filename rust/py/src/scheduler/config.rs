//! The scheduler's arguments, checked.

use fd_router_core::policy::Settings;
use fd_router_core::scheduler::SchedulerConfig;
use fd_router_core::tree::MIN_CAPACITY;
use pyo3::prelude::*;
use pyo3::types::PyMapping;

/// The keyword arguments as they came.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Arguments {
    #[pyo3(from_py_with = items)]
    pub(super) policies: Vec<(String, String)>,
    pub(super) block_size: usize,
    pub(super) cache_max_bytes: usize,
    pub(super) eviction_secs: f64,
    pub(super) balance_abs_threshold: f64,
    pub(super) balance_rel_threshold: f64,
    pub(super) hit_ratio_weight: f64,
    pub(super) load_balance_weight: f64,
    pub(super) waiting_weight: f64,
    pub(super) metrics_max_age_secs: f64,
    pub(super) copy_cost: f64,
    pub(super) base_running: f64,
    pub(super) seed: u64,
}

impl Arguments {
    /// The core's configuration, or what is wrong with which argument.
    pub(crate) fn check(&self) -> Result<SchedulerConfig, String> {
        if self.block_size == 0 {
            return Err("block_size is 0: at least 1 is accepted".to_owned());
        }
        if self.cache_max_bytes < MIN_CAPACITY {
            return Err(format!(
                "cache_max_bytes is {}: at least {MIN_CAPACITY} is accepted",
                self.cache_max_bytes
            ));
        }
        let mut policies = Vec::with_capacity(self.policies.len());
        for (role, policy) in &self.policies {
            let role = role.parse().map_err(|error| format!("policies: {error}"))?;
            policies.push((
                role,
                policy
                    .parse()
                    .map_err(|error| format!("policies: {error}"))?,
            ));
        }
        let settings = Settings {
            balance_abs_threshold: not_negative(
                "balance_abs_threshold",
                self.balance_abs_threshold,
            )?,
            balance_rel_threshold: not_negative(
                "balance_rel_threshold",
                self.balance_rel_threshold,
            )?,
            hit_ratio_weight: not_negative("hit_ratio_weight", self.hit_ratio_weight)?,
            load_balance_weight: not_negative("load_balance_weight", self.load_balance_weight)?,
            waiting_weight: not_negative("waiting_weight", self.waiting_weight)?,
            metrics_max_age: millis("metrics_max_age_secs", self.metrics_max_age_secs)?,
            copy_cost: not_negative("copy_cost", self.copy_cost)?,
            base_running: not_negative("base_running", self.base_running)?,
        };
        let idle_limit = millis("eviction_secs", self.eviction_secs)?;
        if idle_limit == 0 {
            return Err(format!(
                "eviction_secs is {}: at least 0.001 is accepted",
                self.eviction_secs
            ));
        }
        Ok(SchedulerConfig {
            policies,
            block_size: self.block_size,
            cache_max_bytes: self.cache_max_bytes,
            idle_limit,
            settings,
            seed: self.seed,
        })
    }
}

/// The pairs of a mapping of text to text.
fn items(mapping: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    mapping.cast::<PyMapping>()?.items()?.extract()
}

fn not_negative(name: &str, value: f64) -> Result<f64, String> {
    if value.is_finite() && value >= 0.0 {
        return Ok(value);
    }
    Err(format!(
        "{name} is {value}: a finite number from 0 on is accepted"
    ))
}

fn millis(name: &str, secs: f64) -> Result<u64, String> {
    not_negative(name, secs).map(|secs| (secs * 1_000.0) as u64)
}
