//! fd-router itself behind the seam: the scheduler that serves requests, on the simulation's clock.
//!
//! Nothing of it is imitated. A choice is [`Scheduler::decide`] and its lease; what engines say of their caches goes to
//! [`Scheduler::learn`]; prefixes age in the rounds in which the router's upkeep ages them. The prompt's text alone is
//! missing: its blocks come from the trace, and their tokens are exact.

use std::sync::Arc;

use fd_router_core::hash::Prefix;
use fd_router_core::ids;
use fd_router_core::policy::{Policy, Settings};
use fd_router_core::scheduler::{Ask as CoreAsk, Decision, Scheduler, SchedulerConfig, Usage};
use rustc_hash::FxHashMap;

use crate::chooser::{Ask, Chooser, Ended, Outcome, Pick, Role, Ticket};
use crate::fleet::{Engine, Fleet};

/// Milliseconds between two rounds of ageing, as the router's upkeep has them.
const ROUND: u64 = 1_000;
/// Steps of one round at the most, as there.
const STEPS: usize = 100;
/// Workers of a role that urls are made for.
const PLACES: usize = 6;

/// What the scheduler is told of the engines' caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Feedback {
    /// Their sizes, at the start: from a setting, or from the engines' metrics.
    pub told: bool,
    /// With each answer, how much of the prompt was cached.
    pub learned: bool,
}

/// How the router is set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The policy of mixed or of prefill workers.
    pub policy: Policy,
    /// The policy of decode workers.
    pub decode_policy: Policy,
    /// What tunes the policies.
    pub settings: Settings,
    /// Bound on the prefix tree's memory.
    pub cache_max_bytes: usize,
    /// Milliseconds for which an unused prefix is remembered.
    pub idle_limit: u64,
    /// Seed of all chance.
    pub seed: u64,
    /// What it gets to know of caches.
    pub feedback: Feedback,
}

/// The real scheduler as a chooser.
#[derive(Debug)]
pub struct SchedulerChooser {
    scheduler: Arc<Scheduler>,
    decisions: FxHashMap<Ticket, Decision>,
    learned: bool,
    /// Milliseconds at which the next round of ageing is due.
    round_at: u64,
}

impl SchedulerChooser {
    /// A router in front of `fleet`, for a trace whose blocks have `block_size` tokens.
    pub fn new(setup: &Setup, fleet: &Fleet, block_size: usize) -> Self {
        Self::named(setup, fleet, block_size, None)
    }

    /// The same with a name among others.
    pub fn named(setup: &Setup, fleet: &Fleet, block_size: usize, name: Option<&str>) -> Self {
        use ids::Role::{Decode, Mixed, Prefill};
        let config = |policies| SchedulerConfig {
            policies,
            block_size,
            cache_max_bytes: setup.cache_max_bytes,
            idle_limit: setup.idle_limit,
            settings: setup.settings,
            seed: setup.seed,
        };
        let capacity = |engine: &Engine| (engine.cache_blocks * block_size) as f64;
        let (scheduler, pools) = match fleet {
            Fleet::Mixed(engines) => (
                Scheduler::new(&config(vec![(Mixed, setup.policy)])),
                vec![(Mixed, engines)],
            ),
            Fleet::Disaggregated {
                prefill, decode, ..
            } => (
                Scheduler::new(&config(vec![
                    (Prefill, setup.policy),
                    (Decode, setup.decode_policy),
                ])),
                vec![(Prefill, prefill), (Decode, decode)],
            ),
        };
        let scheduler = match name {
            Some(name) => scheduler.named(name),
            None => scheduler,
        };
        for (role, engines) in pools {
            for (place, engine) in engines.iter().enumerate() {
                let url = url(role, place);
                scheduler.add(&url, role);
                if setup.feedback.told {
                    scheduler.tell_capacity(&url, capacity(engine));
                }
            }
        }
        Self {
            scheduler: Arc::new(scheduler),
            decisions: FxHashMap::default(),
            learned: setup.feedback.learned,
            round_at: ROUND,
        }
    }

    /// The scheduler, to be asked what it knows.
    pub fn scheduler(&self) -> &Arc<Scheduler> {
        &self.scheduler
    }

    /// Does the upkeep that is due. Rounds missed while nothing happened are one.
    fn keep_up(&mut self, now: u64) {
        if now < self.round_at {
            return;
        }
        self.round_at = now - now % ROUND + ROUND;
        for _ in 0..STEPS {
            if !self.scheduler.expire(now).more {
                break;
            }
        }
    }
}

impl Chooser for SchedulerChooser {
    fn choose(&mut self, role: Role, ask: &Ask<'_>, ticket: Ticket, now: u64) -> Pick {
        let now = millis(now);
        self.keep_up(now);
        let session = ask.session.map(|session| session.to_string());
        let hashes = ask.blocks.iter().map(|&block| spread(block)).collect();
        let asked = CoreAsk {
            tokens: ask.input_tokens as u64,
            weight: ask.input_tokens as u64,
            prefix: Some(Prefix::of_blocks(
                hashes,
                ask.block_size as u32,
                ask.input_tokens as u32,
            )),
            exact: true,
            model: None,
            session: session.as_deref(),
            stream: ask.streamed,
            exclude: &[],
        };
        let decision = self.scheduler.decide(role.into(), asked, now);
        let Ok(Some(decision)) = decision else {
            // A fleet without engines: nobody is a worker that is not there.
            return Pick::blind(usize::MAX);
        };
        let matched = |ratio: f64| (ratio * ask.blocks.len() as f64).round() as usize;
        let pick = Pick {
            worker: place(decision.lease.worker().url()),
            predicted_tokens: decision
                .hit_ratio()
                .map(|ratio| matched(ratio) * ask.block_size),
        };
        self.decisions.insert(ticket, decision);
        pick
    }

    fn first_byte(&mut self, ticket: Ticket, now: u64) {
        if let Some(decision) = self.decisions.get(&ticket) {
            decision.lease.first_byte(millis(now));
        }
    }

    fn end(&mut self, ticket: Ticket, ended: &Ended, _: u64) {
        let Some(decision) = self.decisions.remove(&ticket) else {
            return;
        };
        match (ended.outcome, ended.cached_tokens) {
            (Outcome::Refused, _) => self.scheduler.take_back(&decision),
            (Outcome::Served, Some(cached)) if self.learned => {
                let usage = Usage {
                    prompt: ended.prompt_tokens as u64,
                    cached: Some(cached as u64),
                };
                self.scheduler.learn(&decision, usage);
            }
            (Outcome::Served, _) => {}
        }
        decision.lease.release();
    }
}

impl From<Role> for ids::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Mixed => Self::Mixed,
            Role::Prefill => Self::Prefill,
            Role::Decode => Self::Decode,
        }
    }
}

/// The scheduler compares urls as text, so all places have as many digits.
fn url(role: ids::Role, place: usize) -> String {
    format!("http://{role}-{place:0PLACES$}")
}

fn place(url: &str) -> usize {
    let digits = url.len().saturating_sub(PLACES);
    url[digits..].parse().unwrap_or(usize::MAX)
}

const fn millis(micros: u64) -> u64 {
    micros / 1_000
}

/// A block's id as a hash: the tree takes it that all bits differ. One to one (the finalizer of `SplitMix64`), so that
/// blocks stay what they are.
pub(crate) const fn spread(id: u64) -> u64 {
    let id = (id ^ (id >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let id = (id ^ (id >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    id ^ (id >> 31)
}
