//! How selections ended: counted here, reported as metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use fd_router_counts::histogram::{self, Histogram};
use strum::VariantArray;

use crate::policy::Policy;

/// Upper bounds of predicted hit ratios; one more bucket, without bound, follows the last.
pub const HIT_BOUNDS: [f64; 11] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// How a selection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// The configured policy chose.
    Chosen,
    /// The policy that another fell back to chose.
    Fallback,
    /// There was nobody to choose.
    NoWorker,
}

impl Outcome {
    /// The name in metrics.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A snapshot of what was decided since the start.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionStats {
    /// How often each policy decided in the end, and how; only what happened.
    pub outcomes: Vec<(Policy, Outcome, u64)>,
    /// Predicted hit ratios, by [`HIT_BOUNDS`].
    pub hits: histogram::Snapshot,
}

/// Counts decisions.
#[derive(Debug)]
pub(super) struct Decisions {
    outcomes: [[AtomicU64; Outcome::VARIANTS.len()]; Policy::ALL.len()],
    hits: Histogram,
}

impl Default for Decisions {
    fn default() -> Self {
        Self {
            outcomes: Default::default(),
            hits: Histogram::new(&HIT_BOUNDS),
        }
    }
}

impl Decisions {
    /// Counts one decision; `hit_ratio` where a match was made.
    pub(super) fn note(&self, policy: Policy, outcome: Outcome, hit_ratio: Option<f64>) {
        self.outcomes[policy as usize][outcome as usize].fetch_add(1, Relaxed);
        if let Some(ratio) = hit_ratio {
            self.hits.observe(ratio);
        }
    }

    pub(super) fn snapshot(&self) -> DecisionStats {
        let count = |policy: Policy, outcome: Outcome| {
            self.outcomes[policy as usize][outcome as usize].load(Relaxed)
        };
        let cells = Policy::ALL.iter().flat_map(|&policy| {
            let outcomes = Outcome::VARIANTS.iter();
            outcomes.map(move |&outcome| (policy, outcome, count(policy, outcome)))
        });
        DecisionStats {
            outcomes: cells.filter(|&(_, _, count)| count > 0).collect(),
            hits: self.hits.snapshot(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_counted_by_policy_and_outcome() {
        let decisions = Decisions::default();
        decisions.note(Policy::CacheAware, Outcome::Chosen, Some(0.5));
        decisions.note(Policy::CacheAware, Outcome::Chosen, Some(0.25));
        decisions.note(Policy::ProcessTokens, Outcome::Fallback, None);
        let stats = decisions.snapshot();
        assert_eq!(
            stats.outcomes,
            [
                (Policy::ProcessTokens, Outcome::Fallback, 1),
                (Policy::CacheAware, Outcome::Chosen, 2),
            ]
        );
        assert_eq!(stats.hits.buckets, [0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert!((stats.hits.sum - 0.75).abs() < f64::EPSILON);
    }

    #[test]
    fn every_policy_has_a_row_of_its_own() {
        for (row, policy) in Policy::ALL.iter().enumerate() {
            assert_eq!(*policy as usize, row);
        }
    }
}
