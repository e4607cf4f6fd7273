//! How selections ended: counted here, reported as metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use strum::VariantArray;

use crate::policy::Policy;

/// Upper bounds of predicted hit ratios; one more bucket, without bound, follows the last.
pub const HIT_BOUNDS: [f64; 11] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// Units of a ratio in the sum of ratios, which is a whole number so that it can be added to without a lock.
const RATIO_UNITS: f64 = 1e9;

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
    /// Predicted hit ratios, by [`HIT_BOUNDS`], not cumulated.
    pub hit_buckets: Vec<u64>,
    /// Sum of those ratios.
    pub hit_sum: f64,
}

/// Counts decisions.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    outcomes: [[AtomicU64; Outcome::VARIANTS.len()]; Policy::ALL.len()],
    hits: [AtomicU64; HIT_BOUNDS.len() + 1],
    hit_sum: AtomicU64,
}

impl Decisions {
    /// Counts one decision; `hit_ratio` where a match was made.
    pub(super) fn note(&self, policy: Policy, outcome: Outcome, hit_ratio: Option<f64>) {
        self.outcomes[policy as usize][outcome as usize].fetch_add(1, Relaxed);
        if let Some(ratio) = hit_ratio {
            let bucket = HIT_BOUNDS.partition_point(|bound| *bound < ratio);
            self.hits[bucket].fetch_add(1, Relaxed);
            let units = (ratio * RATIO_UNITS).round() as u64;
            self.hit_sum.fetch_add(units, Relaxed);
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
            hit_buckets: self.hits.iter().map(|count| count.load(Relaxed)).collect(),
            hit_sum: self.hit_sum.load(Relaxed) as f64 / RATIO_UNITS,
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
        assert_eq!(stats.hit_buckets, [0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert!((stats.hit_sum - 0.75).abs() < f64::EPSILON);
    }

    #[test]
    fn every_policy_has_a_row_of_its_own() {
        for (row, policy) in Policy::ALL.iter().enumerate() {
            assert_eq!(*policy as usize, row);
        }
    }
}
