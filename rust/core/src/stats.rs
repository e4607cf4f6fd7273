//! What the router reports about its decisions and caches.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::policy::Policy;

/// Upper bounds of predicted hit ratios; one more bucket, without bound, follows the last.
pub const HIT_BOUNDS: [f64; 11] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// Units of a ratio in the sum of ratios, which is a whole number so that it can be added to without a lock.
const RATIO_UNITS: f64 = 1e9;

/// How a selection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The configured policy chose.
    Chosen,
    /// The policy that another fell back to chose.
    Fallback,
    /// There was nobody to choose.
    NoWorker,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Chosen, Self::Fallback, Self::NoWorker];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::Fallback => "fallback",
            Self::NoWorker => "no_worker",
        }
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
pub(crate) struct Decisions {
    outcomes: [[AtomicU64; Outcome::ALL.len()]; Policy::ALL.len()],
    hits: [AtomicU64; HIT_BOUNDS.len() + 1],
    hit_sum: AtomicU64,
}

impl Decisions {
    /// Counts one decision; `hit_ratio` where a match was made.
    pub(crate) fn note(&self, policy: Policy, outcome: Outcome, hit_ratio: Option<f64>) {
        self.outcomes[policy as usize][outcome as usize].fetch_add(1, Relaxed);
        if let Some(ratio) = hit_ratio {
            let bucket = HIT_BOUNDS.partition_point(|bound| *bound < ratio);
            self.hits[bucket].fetch_add(1, Relaxed);
            let units = (ratio * RATIO_UNITS).round() as u64;
            self.hit_sum.fetch_add(units, Relaxed);
        }
    }

    pub(crate) fn snapshot(&self) -> DecisionStats {
        let count = |policy: Policy, outcome: Outcome| {
            self.outcomes[policy as usize][outcome as usize].load(Relaxed)
        };
        let cells = Policy::ALL.into_iter().flat_map(|policy| {
            Outcome::ALL.map(|outcome| (policy, outcome, count(policy, outcome)))
        });
        DecisionStats {
            outcomes: cells.filter(|&(_, _, count)| count > 0).collect(),
            hit_buckets: self.hits.iter().map(|count| count.load(Relaxed)).collect(),
            hit_sum: self.hit_sum.load(Relaxed) as f64 / RATIO_UNITS,
        }
    }
}

/// A snapshot of the prefix tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeStats {
    /// Blocks recorded now.
    pub blocks: u64,
    /// Nodes in use.
    pub nodes: u64,
    /// Memory held, tables included.
    pub bytes: u64,
    /// Blocks dropped for space since the start.
    pub evicted: u64,
    /// Blocks dropped for age since the start.
    pub expired: u64,
}

/// How often a session comes back to the worker that it was given before: the `cache_hit_rate` of the stats line.
///
/// Sessions and workers are hashes. At most `2 * SESSIONS` are remembered, in two generations of which the older is
/// dropped when the newer is full: a session survives while at most `SESSIONS` others are seen between its requests.
#[derive(Debug, Default)]
pub struct Stickiness {
    recent: HashMap<u64, u64>,
    before: HashMap<u64, u64>,
    hits: u64,
    total: u64,
}

impl Stickiness {
    const SESSIONS: usize = 65_536;

    /// Counts one scored request of `session` that went to `worker`.
    pub fn note(&mut self, session: u64, worker: u64) {
        if self.recent.len() >= Self::SESSIONS && !self.recent.contains_key(&session) {
            self.before = std::mem::take(&mut self.recent);
        }
        let previous = self
            .recent
            .insert(session, worker)
            .or_else(|| self.before.get(&session).copied());
        self.total += 1;
        self.hits += u64::from(previous == Some(worker));
    }

    /// (hits, scored requests with a session) since the start.
    pub const fn totals(&self) -> (u64, u64) {
        (self.hits, self.total)
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
        for (row, policy) in Policy::ALL.into_iter().enumerate() {
            assert_eq!(policy as usize, row);
        }
    }

    #[test]
    fn a_hit_is_the_same_worker_again() {
        let mut sessions = Stickiness::default();
        for worker in [1, 1, 2, 2] {
            sessions.note(7, worker);
        }
        sessions.note(8, 1);
        assert_eq!(sessions.totals(), (2, 5));
    }

    #[test]
    fn old_sessions_are_forgotten() {
        let mut sessions = Stickiness::default();
        for session in 0..3 * Stickiness::SESSIONS as u64 {
            sessions.note(session, 1);
        }
        sessions.note(0, 1);
        assert_eq!(sessions.totals().0, 0);
        sessions.note(3 * Stickiness::SESSIONS as u64 - 1, 1);
        assert_eq!(sessions.totals().0, 1);
        assert!(sessions.recent.len() + sessions.before.len() <= 2 * Stickiness::SESSIONS);
    }
}
