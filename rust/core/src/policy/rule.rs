//! What a policy is given and what it gives back.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Policy;
use crate::hash::Prefix;
use crate::ids::{Role, Slot};
use crate::load::Worker;
use crate::tree::Tree;

/// A worker that may be chosen.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its counters and metrics.
    pub worker: Arc<Worker>,
    /// Its place in the prefix tree; None, and so no credit, beyond [`Slot::LIMIT`] workers.
    pub slot: Option<Slot>,
}

/// One decision's view of the world.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) role: Role,
    /// The same for requests that have the same candidates, as far as these are a matter of the model.
    pub(crate) group: u64,
    /// The request was sent to somebody before.
    pub(crate) again: bool,
    /// At least one, ascending by url as plain strings.
    pub(crate) candidates: &'a [Candidate],
    /// Block hashes of the prompt; None for a prompt with nothing in it.
    pub(crate) prefix: Option<&'a Prefix>,
    pub(crate) tree: &'a Mutex<Tree>,
    /// Tokens that an engine makes of one that the prefix estimates.
    pub(crate) scale: f64,
    /// Milliseconds.
    pub(crate) now: u64,
}

impl Scene<'_> {
    /// The first of the candidates with the least `key`. Keys of pairs compare their first parts first.
    pub(crate) fn least<K: PartialOrd>(&self, key: impl Fn(&Worker) -> K) -> usize {
        self.least_by(|_, worker| key(worker))
    }

    /// The same, where the key depends on the candidate's index as well.
    pub(crate) fn least_by<K: PartialOrd>(&self, key: impl Fn(usize, &Worker) -> K) -> usize {
        let mut keys = self
            .candidates
            .iter()
            .enumerate()
            .map(|(index, candidate)| (index, key(index, &candidate.worker)));
        let Some(mut best) = keys.next() else {
            return 0;
        };
        for next in keys {
            if next.1 < best.1 {
                best = next;
            }
        }
        best.0
    }
}

/// Who was chosen and why.
#[derive(Debug)]
pub(crate) struct Choice {
    /// Among the scene's candidates.
    pub(crate) index: usize,
    /// The policy that decided in the end.
    pub(crate) policy: Policy,
    pub(crate) verdict: Verdict,
}

impl Choice {
    /// The choice of a policy that has nothing to explain.
    pub(crate) const fn plain(policy: Policy, index: usize) -> Self {
        Self {
            index,
            policy,
            verdict: Verdict::Plain,
        }
    }
}

/// How a choice came about, as far as it is logged.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// Nothing to tell.
    Plain,
    /// A cache-aware policy left the choice to `process_tokens`.
    FellBack(Fallback),
    /// `least_work` weighed the candidates.
    Weighed {
        /// Blocks of the prompt that the chosen worker has.
        matched: u32,
        /// Blocks of the prompt.
        blocks: u32,
    },
    /// A cache-aware policy scored the candidates.
    Scored {
        /// Load of each candidate.
        loads: Box<[u64]>,
        /// Candidates with a hit ratio above 0, and that ratio in whole percent.
        hits: Box<[(u32, u8)]>,
        /// Blocks of the prompt that the chosen worker has.
        matched: u32,
        /// Blocks of the prompt.
        blocks: u32,
    },
}

impl Verdict {
    /// Blocks of the prompt that the chosen worker has; None where nobody looked.
    pub(crate) const fn matched(&self) -> Option<u32> {
        match self {
            Self::Weighed { matched, .. } | Self::Scored { matched, .. } => Some(*matched),
            Self::Plain | Self::FellBack(_) => None,
        }
    }
}

/// Why a cache-aware policy did not score.
#[derive(Debug, Clone)]
pub enum Fallback {
    /// The loads, one per candidate, are too far apart.
    Imbalanced(Box<[u64]>),
    /// The prompt has nothing in it.
    EmptyPrompt,
}

impl Fallback {
    /// The words of upstream's log line.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Imbalanced(_) => "load imbalanced",
            Self::EmptyPrompt => "tokenize failed: empty prompt for tokenizer",
        }
    }
}

/// A policy: looks at a scene and changes nothing but itself.
pub(crate) trait Rule: Send + std::fmt::Debug {
    fn choose(&mut self, scene: &Scene<'_>) -> Choice;
}
