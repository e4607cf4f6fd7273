//! `least_work`: the worker on which the request, and what waits there, is least work, weighed by how busy it is.
//!
//! For each candidate: **(W + (1 + d) x u) x (running + k) + K**; the lowest wins.
//!
//! - `u`: tokens of the prompt that the worker does not hold, at least 1.
//! - `W`: what waits there. `P`, the same summed over the worker's requests without a first byte, less what goes along in
//!   a step that is under way in any case: the root of P^2 + s^2, less s (see [`STEP`]). So little as a few hundred tokens
//!   are no reason to leave a prefix, and thousands count in full. A whole answer shows no first byte: its part of P is
//!   given back when the worker should be through with it, by the speed at which it served streams.
//! - `K`: prompt tokens of all the worker's requests in hand. Every token of an answer reads them all again, so a worker
//!   with much of it decodes slowly, however few requests that is.
//! - `d`: sending a prompt elsewhere copies its prefix there, and something else has to go. It counts for all candidates
//!   alike, as far as their caches are known to be full (that share of it). Caches with room lose nothing, so that a
//!   popular prefix spreads; and of those whose capacity is not known, an index believes in blocks long gone, which would
//!   tie sessions to them. Counted for each by itself it would draw work to whoever fills up last.
//! - `k`: the sum alone is best for the first byte and blind to decoding; the product alone (k = 0) makes an idle worker
//!   cost nothing, whatever it lacks.
//!
//! Ties go to fewer running, then to the worker that was recorded least lately, then by a hash of prompt and url: an idle
//! fleet does not pile everything on the first url.
//!
//! A router that is not alone books what others cannot see at once, and they choose as it does meanwhile. So each has
//! workers that it would rather leave to others ([`Scene::reluctance`]), which seem up to a fifth dearer to it. It is no
//! more than twice what the request itself costs there: that is little where most of the prompt is cached, and where
//! queues are long a fifth of them would be worth any prefix.
//!
//! Decode workers prefill nothing; what fills them is their KV cache. There the fewest prompt tokens in hand win, then the
//! fewest running, then the first.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Candidate, Choice, Policy, Rule, Scene, Settings, Sight, Verdict};
use crate::hash::Prefix;
use crate::ids::Role;
use crate::load::Worker;

/// Tokens of a prompt that an engine computes in a step at hardly any cost: a step takes its time with few as well.
const STEP: f64 = 240.0;

/// How much dearer a worker seems to a router that would rather leave it to others, as a share of its cost ...
const SHY: f64 = 0.2;
/// ... and at most, in what the request itself costs there: so little is never worth a prefix.
const SHY_OWN: f64 = 2.0;

#[derive(Debug)]
pub(super) struct LeastWork {
    copy_cost: f64,
    base_running: f64,
    /// Matched blocks by slot, kept to spare an allocation.
    credit: Vec<u32>,
}

/// What the request costs at a worker.
struct Cost {
    /// All of it; less is better.
    work: f64,
    /// The part that is the request's own prompt.
    own: f64,
    /// What decides where the work is equal, in this order.
    ties: (u64, f64, u64),
}

impl LeastWork {
    pub(super) const fn new(settings: &Settings) -> Self {
        Self {
            copy_cost: settings.copy_cost,
            base_running: settings.base_running,
            credit: Vec::new(),
        }
    }

    fn least(&mut self, scene: &Scene<'_>) -> Choice {
        let empty = Prefix::default();
        let prefix = scene.prefix.unwrap_or(&empty);
        let tree = scene.tree.lock();
        tree.matches(prefix.hashes(), scene.now, &mut self.credit);
        let full = |each: &&Candidate| each.slot.is_some_and(|slot| tree.is_full(slot));
        let full = scene.candidates.iter().filter(full).count();
        let copied = 1.0 + self.copy_cost * full as f64 / scene.candidates.len() as f64;
        let sight = Sight::of_costs(scene.explained, true);
        let (index, sight) = scene.first_least(sight, |index, worker| {
            let matched = self.matched(scene, index);
            let lacking = prefix.tokens() - prefix.tokens_of(matched as usize);
            let uncached = (lacking * scene.scale).max(1.0);
            let Cost { work, own, ties } = self.cost(scene, worker, copied * uncached);
            let shy = scene.reluctance(index) * (SHY * work).min(SHY_OWN * own);
            ((work + shy, ties), [work], matched)
        });
        drop(tree);
        Choice {
            index,
            policy: Policy::LeastWork,
            verdict: Verdict::Weighed {
                matched: self.matched(scene, index),
                blocks: prefix.len() as u32,
            },
            sight,
        }
    }

    /// `own` is what the request adds to the worker's work.
    fn cost(&self, scene: &Scene<'_>, worker: &Worker, own: f64) -> Cost {
        let running = worker.running();
        let busy = running as f64 + self.base_running;
        let work = (waiting(worker.pending()) + own) * busy + worker.resident();
        let seed = scene.prefix.map_or(0, Prefix::lot);
        let lot = xxh3_64_with_seed(&worker.key().to_le_bytes(), seed);
        Cost {
            work,
            own: own * busy,
            ties: (running, worker.recorded(scene.now), lot),
        }
    }

    fn matched(&self, scene: &Scene<'_>, index: usize) -> u32 {
        let slot = scene.candidates[index].slot;
        let credit = slot.and_then(|slot| self.credit.get(slot.index()));
        credit.copied().unwrap_or(0)
    }
}

/// What so many pending tokens keep a request waiting, in tokens; 0 for none.
fn waiting(pending: f64) -> f64 {
    (pending * pending + STEP * STEP).sqrt() - STEP
}

impl Rule for LeastWork {
    fn choose(&mut self, scene: &Scene<'_>) -> Choice {
        if scene.role == Role::Decode {
            return scene.least(Policy::LeastWork, |worker| {
                [worker.resident(), worker.running() as f64]
            });
        }
        self.least(scene)
    }
}
