//! The scheduler: choosing a worker and booking it are one step.
//!
//! # Locks
//! Taken in this order, any of them left out, each held for microseconds and never across a call out of this crate:
//! 1. `roster`: who is a candidate. Shared by decisions, exclusive for joining and leaving.
//! 2. `rules`: the policies and their cursors. Held from the choice to the booking, so that no two decisions see the
//!    same idle worker.
//! 3. `tree`: prefixes.
//! 4. `sessions`: stickiness.
//!
//! Counters are atomic and need none of them: a lease is given back without waiting for a decision.

mod config;
mod decision;
pub mod lines;
mod outcomes;
mod roster;
mod rules;
mod sessions;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::hash::{self, Chain, Prefix};
use crate::ids::Role;
use crate::load::{Burden, Lease};
use crate::policy::{Candidate, Explanation, Policy, Scene, Verdict};
use crate::scan::{Body, Rendered};
use crate::tree::{Expired, Tree, TreeStats};

use self::outcomes::Decisions;
use self::roster::Roster;
use self::rules::Rules;
use self::sessions::Stickiness;

pub use self::config::SchedulerConfig;
pub use self::decision::{Decision, NotServed, Options};
pub use self::outcomes::{DecisionStats, HIT_BOUNDS, Outcome};
pub use self::roster::{Load, Reaped, Standing};

use self::decision::Ask;

/// Workers, their counters, the prefix tree and the policies. Times are milliseconds on one clock.
#[derive(Debug)]
pub struct Scheduler {
    roster: RwLock<Roster>,
    rules: Mutex<Rules>,
    tree: Mutex<Tree>,
    sessions: Mutex<Stickiness>,
    decisions: Decisions,
    policies: [Option<Policy>; Role::ALL.len()],
    block_size: usize,
}

impl Scheduler {
    /// A scheduler without workers.
    pub fn new(config: &SchedulerConfig) -> Self {
        let mut policies = [None; Role::ALL.len()];
        for &(role, policy) in &config.policies {
            policies[role.index()] = Some(policy);
        }
        Self {
            roster: RwLock::default(),
            rules: Mutex::new(Rules::new(
                policies.iter().flatten(),
                &config.settings,
                config.seed,
            )),
            tree: Mutex::new(Tree::new(config.cache_max_bytes, config.idle_limit)),
            sessions: Mutex::default(),
            decisions: Decisions::default(),
            policies,
            block_size: config.block_size.max(1),
        }
    }

    /// Makes a worker a candidate; a known url keeps its counters and takes the new role.
    ///
    /// One that left and comes back goes on with its counters as far as leases are still out, and has no prefix.
    pub fn add(&self, url: &str, role: Role) {
        let mut roster = self.roster.write();
        roster.add(url, role, || self.tree.lock().assign());
    }

    /// Takes a worker out of selection and forgets its prefixes. Returns its (running, tokens).
    pub fn remove(&self, url: &str) -> Option<(u64, u64)> {
        let mut roster = self.roster.write();
        let gone = roster.remove(url)?;
        if let Some(slot) = gone.slot {
            self.tree.lock().retire(slot);
        }
        Some((gone.worker.running(), gone.worker.tokens()))
    }

    /// Workers of a role, whatever their standing.
    pub fn count(&self, role: Role) -> usize {
        self.roster.read().count(role)
    }

    /// How many of a role are open, and how many passed over, that are not excluded.
    pub fn left(&self, role: Role, exclude: &[String]) -> (usize, usize) {
        self.roster.read().left(role, exclude)
    }

    /// Changes a worker's standing; an unknown url is ignored.
    pub fn stand(&self, url: &str, standing: Standing) {
        self.roster.write().stand(url, standing);
    }

    /// Takes a worker's credit for prefixes away: its engine ended, and its cache with it. Its counters stay.
    pub fn forget_prefixes(&self, url: &str) {
        let mut roster = self.roster.write();
        let mut tree = self.tree.lock();
        roster.replace_slot(url, |slot| {
            if let Some(slot) = slot {
                tree.retire(slot);
            }
            tree.assign()
        });
    }

    /// Chooses a worker by the role's policy and books it; None where there is nobody.
    pub fn select<B: AsRef<[u8]>>(
        &self,
        role: Role,
        body: &Body<B>,
        options: &Options,
        now: u64,
    ) -> Result<Option<Decision>, NotServed> {
        let policy = self.policies[role.index()].ok_or(NotServed(role))?;
        let prefix = policy
            .reads_prefixes()
            .then(|| self.prefix(body, options.tokens.as_deref()))
            .flatten();
        let ask = Ask {
            burden: Burden {
                tokens: body.token_estimate(),
                weight: body.weight(),
            },
            prefix: prefix.as_ref(),
            session: body.session_id(),
            exclude: &options.exclude,
        };
        Ok(self.choose(role, policy, &ask, now))
    }

    fn choose(&self, role: Role, policy: Policy, ask: &Ask<'_>, now: u64) -> Option<Decision> {
        let roster = self.roster.read();
        let candidates = roster.candidates(role, ask.exclude);
        if candidates.is_empty() {
            self.decisions.note(policy, Outcome::NoWorker, None);
            return None;
        }
        let scene = Scene {
            role,
            again: !ask.exclude.is_empty(),
            candidates: &candidates,
            prefix: ask.prefix,
            tree: &self.tree,
            now,
        };
        let mut rules = self.rules.lock();
        let choice = rules.choose(policy, &scene);
        let chosen = &candidates[choice.index];
        let (lease, (running, tokens)) = Lease::new(Arc::clone(&chosen.worker), ask.burden);
        drop(rules);
        if matches!(choice.verdict, Verdict::Scored { .. }) {
            self.learn(chosen, role, ask, now);
        }
        drop(roster);
        let explanation = Explanation {
            candidates,
            index: choice.index,
            verdict: choice.verdict,
        };
        let decision = Decision {
            lease,
            role,
            policy: choice.policy,
            running,
            tokens,
            explanation,
        };
        self.decisions
            .note(choice.policy, decision.outcome(), decision.hit_ratio());
        Some(decision)
    }

    /// Takes an engine's own counts; an unknown url is ignored.
    pub fn observe(&self, url: &str, running: f64, waiting: f64, now: u64) {
        if let Some(worker) = self.roster.read().worker(url) {
            worker.observe(running, waiting, now);
        }
    }

    /// Loads of every candidate and of every departed worker with a lease out, by url.
    pub fn loads(&self) -> Vec<Load> {
        self.roster.read().loads()
    }

    /// Forgets departed workers without leases.
    pub fn reap(&self) -> Reaped {
        self.roster.write().reap()
    }

    /// Drops blocks that are too old, a bounded part per call.
    pub fn expire(&self, now: u64) -> Expired {
        self.tree.lock().expire(now)
    }

    /// A snapshot of the prefix tree.
    pub fn tree(&self) -> TreeStats {
        self.tree.lock().stats()
    }

    /// What was decided since the start.
    pub fn decisions(&self) -> DecisionStats {
        self.decisions.snapshot()
    }

    /// Session stickiness since the start: (hits, scored requests with a session).
    pub fn sessions(&self) -> (u64, u64) {
        self.sessions.lock().totals()
    }

    /// Block hashes of the prompt; None for one with nothing in it.
    fn prefix<B: AsRef<[u8]>>(&self, body: &Body<B>, tokens: Option<&[i64]>) -> Option<Prefix> {
        let rendered = body.rendered();
        let empty = matches!(rendered, Rendered::Text(b"")) && body.tools().is_empty();
        let chain = || Chain::new(body.model(), self.block_size).whole_text(body.tools());
        (!empty).then(|| match (tokens, rendered) {
            (Some(tokens), _) => chain().end_with_ids(tokens.iter().copied()),
            (None, Rendered::Ids(ids)) => chain().end_with_ids(ids.iter().map(|&id| id.into())),
            (None, Rendered::Text(text)) => chain().end_with_text(text),
        })
    }

    /// Records a scored choice.
    fn learn(&self, chosen: &Candidate, role: Role, ask: &Ask<'_>, now: u64) {
        if let (Some(slot), Some(prefix)) = (chosen.slot, ask.prefix) {
            self.tree.lock().record(prefix.hashes(), slot, 0.0, now);
        }
        if let Some(session) = ask.session {
            // Seeded by role: a session's prefill and decode workers are two different habits.
            let session = hash::of_name(session, role.index() as u64);
            self.sessions.lock().note(session, chosen.worker.key());
        }
    }
}
