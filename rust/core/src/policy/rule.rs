//! What a policy is given and what it gives back.

use std::sync::Arc;

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Policy;
use super::sight::{Seen, Sight};
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
    /// None where this router is alone.
    pub(crate) replica: Option<Replica>,
    /// Milliseconds.
    pub(crate) now: u64,
    /// Whether somebody wants to know what was seen.
    pub(crate) explained: bool,
}

/// A router among those that send to the same workers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replica {
    /// A hash of its name.
    pub(crate) name: u64,
    /// How many of the others have lesser names.
    pub(crate) rank: usize,
    /// All of them; at least 2.
    pub(crate) routers: usize,
}

/// Costs that are no further apart than this, as a share of the least, are the same to a router that is not alone.
const NEAR: f64 = 0.05;

impl Scene<'_> {
    /// The choice of a policy for the first of the candidates with the least costs, of which the first counts first.
    pub(crate) fn least<const N: usize>(
        &self,
        policy: Policy,
        costs: impl Fn(&Worker) -> [f64; N],
    ) -> Choice {
        let sight = Sight::of_costs(self.explained, false);
        let most = [f64::INFINITY; N];
        let (index, sight) = self.least_by(sight, most, |_, worker| (costs(worker), (), 0));
        Choice {
            index,
            policy,
            verdict: Verdict::Plain,
            sight,
        }
    }

    /// The same, where the costs depend on the candidate's index as well, and more is looked at where they are equal;
    /// with both are told the blocks of the prompt that the candidate has.
    ///
    /// Routers that are not alone know of each other's bookings only after a while. All of them would take the same
    /// cheapest worker meanwhile, so each has an order of its own among those that cost nearly as little: [`NEAR`] of the
    /// least, and of each cost no more than its `most`.
    pub(crate) fn least_by<const N: usize, K: PartialOrd>(
        &self,
        mut sight: Sight,
        most: [f64; N],
        mut key: impl FnMut(usize, &Worker) -> ([f64; N], K, u32),
    ) -> (usize, Sight) {
        let Some(replica) = self.replica else {
            return self.first_least(sight, |index, worker| {
                let (costs, more, matched) = key(index, worker);
                ((costs, more), costs, matched)
            });
        };
        let chosen = self.near_least(replica, &mut sight, most, key);
        sight.choose(chosen);
        (chosen.index as usize, sight)
    }

    /// The first of the candidates whose order is least; costs and blocks are what is told of it.
    pub(crate) fn first_least<const N: usize, O: PartialOrd>(
        &self,
        mut sight: Sight,
        mut key: impl FnMut(usize, &Worker) -> (O, [f64; N], u32),
    ) -> (usize, Sight) {
        let mut best: Option<(O, Seen)> = None;
        for (index, candidate) in self.candidates.iter().enumerate() {
            let (order, costs, matched) = key(index, &candidate.worker);
            let seen = Seen::new(index, &costs, matched);
            sight.see(seen);
            if best.as_ref().is_none_or(|(least, _)| order < *least) {
                best = Some((order, seen));
            }
        }
        let chosen = best.map_or_else(Seen::default, |(_, seen)| seen);
        sight.choose(chosen);
        (chosen.index as usize, sight)
    }

    fn near_least<const N: usize, K>(
        &self,
        replica: Replica,
        sight: &mut Sight,
        most: [f64; N],
        mut key: impl FnMut(usize, &Worker) -> ([f64; N], K, u32),
    ) -> Seen {
        let candidates = self.candidates.iter().enumerate();
        let mut left: Vec<(Seen, [f64; N])> = candidates
            .map(|(index, candidate)| {
                let (costs, _, matched) = key(index, &candidate.worker);
                let seen = Seen::new(index, &costs, matched);
                sight.see(seen);
                (seen, costs)
            })
            .collect();
        for (place, most) in most.into_iter().enumerate() {
            let costs = left.iter().map(|(_, costs)| costs[place]);
            let least = costs.fold(f64::INFINITY, f64::min);
            let near = least + (least * NEAR).min(most);
            left.retain(|(_, costs)| costs[place] <= near);
        }
        let drawn = left
            .into_iter()
            .max_by_key(|(seen, _)| self.lot(replica.name, seen.index as usize));
        drawn.map_or_else(Seen::default, |(seen, _)| seen)
    }

    /// How little this router likes to send the prompt to a candidate, from 0 (always, where it is alone) to 1.
    ///
    /// Half of it is by lot. The other half is for candidates that are another router's turn: they are dealt out by the
    /// order of the routers' names, so that requests of the same moment meet less often than lots would let them.
    pub(crate) fn reluctance(&self, index: usize) -> f64 {
        let Some(replica) = self.replica else {
            return 0.0;
        };
        let lot = self.lot(replica.name, index) as f64 / u64::MAX as f64;
        let others = index % replica.routers != replica.rank;
        f64::midpoint(lot, f64::from(u8::from(others)))
    }

    /// Tokens of the first `blocks` of the prompt, or of all of it where it has no more.
    pub(crate) fn tokens_of(&self, blocks: u32) -> f64 {
        let Some(prefix) = self.prefix else {
            return 0.0;
        };
        let tokens = match blocks {
            u32::MAX => prefix.tokens(),
            blocks => prefix.tokens_of(blocks as usize),
        };
        tokens * self.scale
    }

    /// A number for a replica, the prompt and a candidate: whose is the greatest is drawn (rendezvous hashing).
    fn lot(&self, replica: u64, index: usize) -> u64 {
        let prompt = self.prefix.map_or(0, Prefix::lot);
        let worker = self.candidates[index].worker.key();
        xxh3_64_with_seed(&worker.to_le_bytes(), replica ^ prompt)
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
    pub(crate) sight: Sight,
}

impl Choice {
    /// The choice of a policy that compares nothing.
    pub(crate) fn blind(policy: Policy, index: usize) -> Self {
        Self {
            index,
            policy,
            verdict: Verdict::Plain,
            sight: Sight::blind(index),
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
