//! The policies: one trait, one leaf file each, named as on the wire, and one exhaustive match that builds them.

mod cache_aware;
mod explain;
mod fd_metrics_score;
mod fd_remote_metrics_score;
mod least_work;
mod power_of_two;
mod process_tokens;
mod random;
mod remote_cache_aware;
mod request_num;
mod round_robin;
mod rule;
mod sight;

use strum::{VariantArray, VariantNames};

pub use self::explain::Explanation;
pub use self::rule::{Candidate, Fallback, Verdict};
pub(crate) use self::rule::{Choice, Replica, Rule, Scene};
pub use self::sight::{BEST, Terms, View};
pub(crate) use self::sight::{Seen, Sight};

/// The policies by their wire names.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    strum::EnumString,
    strum::IntoStaticStr,
    VariantArray,
    VariantNames,
)]
#[strum(
    serialize_all = "snake_case",
    parse_err_ty = UnknownPolicy,
    parse_err_fn = UnknownPolicy::new
)]
pub enum Policy {
    /// See [`random`].
    Random,
    /// See [`round_robin`].
    RoundRobin,
    /// See [`power_of_two`].
    PowerOfTwo,
    /// See [`process_tokens`].
    ProcessTokens,
    /// See [`request_num`].
    RequestNum,
    /// See [`fd_metrics_score`].
    FdMetricsScore,
    /// See [`fd_remote_metrics_score`].
    FdRemoteMetricsScore,
    /// See [`cache_aware`].
    CacheAware,
    /// See [`remote_cache_aware`].
    RemoteCacheAware,
    /// See [`least_work`].
    LeastWork,
}

impl Policy {
    /// Every policy, in the order in which they are documented.
    pub const ALL: &[Self] = <Self as VariantArray>::VARIANTS;

    /// The wire name.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether the policy looks at prefixes, so that the prompt has to be hashed.
    pub const fn reads_prefixes(self) -> bool {
        matches!(
            self,
            Self::CacheAware | Self::RemoteCacheAware | Self::LeastWork
        )
    }

    /// Whether the policy decides by the engines' own counts, so that they have to be asked for them.
    pub const fn reads_remote_load(self) -> bool {
        matches!(self, Self::FdRemoteMetricsScore | Self::RemoteCacheAware)
    }

    /// Whether the policy counts on a worker's cache only as far as it reaches, so that engines are to be asked how far.
    ///
    /// Others go by time, as the Go router's do: what is learned of their workers is shown and changes no choice.
    pub const fn reads_capacity(self) -> bool {
        matches!(self, Self::LeastWork)
    }

    pub(crate) fn build(self, settings: &Settings, seed: u64) -> Box<dyn Rule> {
        match self {
            Self::Random => Box::new(random::Random::new(seed)),
            Self::RoundRobin => Box::new(round_robin::RoundRobin::default()),
            Self::PowerOfTwo => Box::new(power_of_two::PowerOfTwo::new(seed)),
            Self::ProcessTokens => Box::new(process_tokens::ProcessTokens),
            Self::RequestNum => Box::new(request_num::RequestNum),
            Self::FdMetricsScore => Box::new(fd_metrics_score::FdMetricsScore),
            Self::FdRemoteMetricsScore => {
                Box::new(fd_remote_metrics_score::FdRemoteMetricsScore::new(settings))
            }
            Self::CacheAware => Box::new(cache_aware::CacheAware::new(settings)),
            Self::RemoteCacheAware => Box::new(remote_cache_aware::RemoteCacheAware::new(settings)),
            Self::LeastWork => Box::new(least_work::LeastWork::new(settings)),
        }
    }
}

/// A name that no policy has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown policy {name:?}: use one of {}", <Policy as VariantNames>::VARIANTS.join(", "))]
pub struct UnknownPolicy {
    name: String,
}

impl UnknownPolicy {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
        }
    }
}

/// What tunes the policies that score. 0 is a value like any other.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Loads further apart than this ...
    pub balance_abs_threshold: f64,
    /// ... and, as a share of the highest, than this are imbalanced.
    pub balance_rel_threshold: f64,
    /// Weight of the share of a prompt that a worker lacks.
    pub hit_ratio_weight: f64,
    /// Weight of a worker's load as a share of the highest.
    pub load_balance_weight: f64,
    /// Weight of a waiting request beside a running one.
    pub waiting_weight: f64,
    /// Milliseconds for which an engine's own counts are used.
    pub metrics_max_age: u64,
    /// `least_work`: by what share a prompt's uncached tokens count more than waiting ones.
    pub copy_cost: f64,
    /// `least_work`: requests that a worker counts as running beside its own.
    pub base_running: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for &policy in Policy::ALL {
            assert_eq!(policy.name().parse(), Ok(policy));
        }
        let error = "nonsense".parse::<Policy>().unwrap_err().to_string();
        assert!(
            error.starts_with("unknown policy \"nonsense\": use one of random, round_robin,"),
            "{error}"
        );
    }
}
