//! The scheduler: choosing a worker and booking it are one step.
//!
//! # Locks
//! Taken in this order, any of them left out, each held for microseconds and never across a call out of this crate.
//! Before them stand those of [`sharing`] for whoever takes and brings batches, which are held for a batch.
//! 1. `roster`: who is a candidate. Shared by decisions, exclusive for joining and leaving.
//! 2. `foreign`: what other routers have in hand. Never together with those below.
//! 3. `rules`: the policies and their cursors. Held from the choice to the booking, so that no two decisions see the
//!    same idle worker.
//! 4. `unary`: whole answers whose prompts may be through.
//! 5. `scales`: tokens by model.
//! 6. `tree`: prefixes.
//! 7. `sessions`: stickiness.
//!
//! The queue of what is to be told to others is held for itself.
//!
//! Counters are atomic and need none of them: a lease is given back without waiting for a decision.

mod capacity;
mod config;
mod decision;
mod foreign;
mod learning;
pub mod lines;
mod models;
mod outcomes;
mod roster;
mod rules;
mod scales;
mod sessions;
mod sharing;
mod snapshot;
mod unary;

#[cfg(test)]
mod tests;

use std::cmp;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::hash::{self, Chain, Prefix};
use crate::ids::Role;
use crate::load::{Burden, Lease, Truth};
use crate::policy::{Candidate, Explanation, Policy, Replica, Scene, View};
use crate::scan::{Body, Rendered};
use crate::share::{Given, News};
use crate::tree::{Expired, Tree, TreeStats};

use self::outcomes::Decisions;
use self::roster::Roster;
use self::rules::Rules;
use self::sessions::Stickiness;
use self::sharing::Sharing;

pub use self::config::SchedulerConfig;
pub use self::decision::{Ask, Decision, NotServed, Options};
pub use self::models::ANY_MODEL;
pub use self::outcomes::{DecisionStats, HIT_BOUNDS, Outcome};
pub use self::roster::{Load, Reaped, Standing};
pub use self::sharing::{Applied, Heard};
pub use self::snapshot::{RestoreError, Restored, SnapshotCopy, Unfinished};
pub use crate::load::{Held, TruthStats, Usage};

use self::decision::Recorded;
use self::foreign::Foreign;
use self::models::Serves;
use self::scales::Scales;
use self::unary::Unary;

/// The rule for those that serve an endpoint by name.
pub const FOR_ENDPOINTS: Policy = Policy::RequestNum;

/// Workers, their counters, the prefix tree and the policies. Times are milliseconds on one clock.
#[derive(Debug)]
pub struct Scheduler {
    roster: RwLock<Roster>,
    foreign: Mutex<Foreign>,
    /// This router's among those that send to the same workers; None without one.
    name: Option<Box<str>>,
    /// What it is among them; None where no other has said anything.
    replica: Mutex<Option<Replica>>,
    rules: Mutex<Rules>,
    tree: Mutex<Tree>,
    unary: Mutex<Unary>,
    scales: Mutex<Scales>,
    sessions: Mutex<Stickiness>,
    decisions: Decisions,
    truth: Truth,
    sharing: Sharing,
    block_size: usize,
}

impl Scheduler {
    /// A scheduler without workers.
    pub fn new(config: &SchedulerConfig) -> Self {
        Self {
            roster: RwLock::new(Roster::new(&config.policies)),
            foreign: Mutex::default(),
            name: None,
            replica: Mutex::default(),
            rules: Mutex::new(Rules::new(config)),
            tree: Mutex::new(Tree::new(config.cache_max_bytes, config.idle_limit)),
            unary: Mutex::default(),
            scales: Mutex::default(),
            sessions: Mutex::default(),
            decisions: Decisions::default(),
            truth: Truth::default(),
            sharing: Sharing::default(),
            block_size: config.block_size.max(1),
        }
    }

    /// The same with a name among the routers that send to the same workers.
    #[must_use]
    pub fn named(mut self, replica: &str) -> Self {
        self.name = Some(replica.into());
        self
    }

    /// Goes on with the policies, settings and seed of `config`, on the counters and prefixes that there are.
    ///
    /// A request whose prompt was not hashed, as the policy before did not look, is chosen for as one without a prompt.
    pub fn retune(&self, config: &SchedulerConfig) {
        let mut roster = self.roster.write();
        roster.set_policies(&config.policies);
        *self.rules.lock() = Rules::new(config);
        roster.apply_capacities(&mut self.tree.lock());
    }

    /// Makes a worker a candidate; a known url keeps its counters and takes the new role.
    ///
    /// One that left and comes back goes on with its counters as far as leases are still out, and has no prefix.
    pub fn add(&self, url: &str, role: Role) {
        let mut roster = self.roster.write();
        roster.add(url, role, || self.tree.lock().assign());
        if let Some(worker) = roster.worker(url) {
            worker.set_foreign(&self.foreign.lock().at(url));
        }
        roster.apply_capacity(url, &mut self.tree.lock());
    }

    /// Takes a worker out of selection and forgets its prefixes. Returns its (running, tokens).
    pub fn remove(&self, url: &str) -> Option<(u64, u64)> {
        let mut roster = self.roster.write();
        let gone = roster.remove(url)?;
        if let Some(slot) = gone.slot {
            self.tree.lock().retire(slot);
        }
        Some((gone.worker.leases(), gone.worker.tokens()))
    }

    /// The policy of a role.
    pub fn policy(&self, role: Role) -> Option<Policy> {
        self.roster.read().policy(role)
    }

    /// Workers of a role that may be chosen for a model, be it in the last place.
    pub fn count(&self, role: Role, model: Option<&str>) -> usize {
        self.roster.read().count(role, model)
    }

    /// How many of a role that serve a model are open, and how many passed over, that are not excluded.
    pub fn left(&self, role: Role, model: Option<&str>, exclude: &[String]) -> (usize, usize) {
        self.roster.read().left(role, model, exclude)
    }

    /// Says which models a worker serves, by name: None for whatever is asked of it, an empty list for nothing at all;
    /// with `others` also names that no worker lists. An unknown url is ignored.
    ///
    /// Until this is said of a worker it takes models that nobody lists, and requests that name none.
    pub fn tell_models<T: AsRef<str>>(&self, url: &str, models: Option<&[T]>, others: bool) {
        let serves = Serves::new(models, others);
        self.roster.write().tell_models(url, serves);
    }

    /// How many of those that serve an endpoint by name, and a model, are open, and how many passed over, that are not
    /// excluded.
    pub fn left_for(
        &self,
        endpoint: &str,
        model: Option<&str>,
        exclude: &[String],
    ) -> (usize, usize) {
        self.roster.read().left_for(endpoint, model, exclude)
    }

    /// Says which endpoints a worker serves by name, whatever its role; an unknown url is ignored.
    pub fn tell_endpoints(&self, url: &str, endpoints: Vec<String>) {
        self.roster.write().tell_endpoints(url, endpoints);
    }

    /// Changes a worker's standing; an unknown url is ignored.
    pub fn stand(&self, url: &str, standing: Standing) {
        self.roster.write().stand(url, standing);
    }

    /// Takes a worker's credit for prefixes away: its engine ended, and its cache with it. Its counters stay.
    pub fn forget_prefixes(&self, url: &str, now: u64) {
        self.note_end(url, now);
        self.forget(url);
    }

    fn forget(&self, url: &str) {
        let mut roster = self.roster.write();
        let mut tree = self.tree.lock();
        roster.replace_slot(url, |slot| {
            if let Some(slot) = slot {
                tree.retire(slot);
            }
            tree.assign()
        });
        roster.apply_capacity(url, &mut tree);
    }

    /// Says when a worker's engine started, as it says itself, in seconds since the epoch; an unknown url is ignored.
    ///
    /// Returns whether it said an earlier time before: then it is another engine, whose cache is empty. With the same time
    /// it is the engine that it was, and what a snapshot says of it counts in full.
    pub fn tell_start(&self, url: &str, secs: f64) -> bool {
        let mut roster = self.roster.write();
        let than_before = roster.tell_start(url, secs);
        if than_before == Some(cmp::Ordering::Equal)
            && let Some(slot) = roster.slot(url)
        {
            self.tree.lock().trust(slot);
        }
        than_before == Some(cmp::Ordering::Greater)
    }

    /// Chooses a worker by the role's policy and books it; None where there is nobody.
    pub fn select<B: AsRef<[u8]>>(
        &self,
        role: Role,
        body: &Body<B>,
        options: &Options,
        now: u64,
    ) -> Result<Option<Decision>, NotServed> {
        let ask = self.ask(role, body, options)?;
        self.decide(role, ask, now)
    }

    /// Chooses among those that serve an endpoint by name, and the body's model, the one with the fewest requests, and books it; None where
    /// there is nobody.
    ///
    /// Prefill and decode workers among them are compared by all that they have under way. What is `explained` comes
    /// with a view.
    pub fn select_for<B: AsRef<[u8]>>(
        &self,
        endpoint: &str,
        body: &Body<B>,
        exclude: &[String],
        explained: bool,
        now: u64,
    ) -> Option<Decision> {
        self.decide_for(endpoint, &Self::ask_for(body, exclude), explained, now)
    }

    /// What is to be known of a request for a choice among those that serve an endpoint by name.
    pub fn ask_for<'a, B: AsRef<[u8]>>(body: &'a Body<B>, exclude: &'a [String]) -> Ask<'a> {
        Ask {
            tokens: body.token_estimate(),
            weight: body.weight(),
            prefix: None,
            exact: matches!(body.rendered(), Rendered::Ids(_)),
            model: body.model(),
            session: body.session_id(),
            stream: body.stream(),
            exclude,
        }
    }

    /// Chooses among those that serve an endpoint by name for what is known of a request, as `select_for` does.
    pub fn decide_for(
        &self,
        endpoint: &str,
        ask: &Ask<'_>,
        explained: bool,
        now: u64,
    ) -> Option<Decision> {
        let policy = FOR_ENDPOINTS;
        let roster = self.roster.read();
        let candidates = roster.candidates_for(endpoint, ask.model, ask.exclude);
        if candidates.is_empty() {
            self.decisions.note(policy, Outcome::NoWorker, None);
            return None;
        }
        let scene = Scene {
            role: Role::Mixed,
            group: 0,
            again: !ask.exclude.is_empty(),
            candidates: &candidates,
            prefix: None,
            tree: &self.tree,
            scale: 1.0,
            replica: None,
            now,
            explained,
        };
        let turn = self.rules.lock();
        let choice = scene.least(policy, |worker| [worker.running() as f64]);
        let view = explained.then(|| View::new(&scene, &choice.sight));
        let burden = Burden {
            tokens: ask.tokens,
            weight: ask.weight,
            uncached: 0.0,
            prompt: 0.0,
        };
        let chosen = Arc::clone(&candidates[choice.index].worker);
        let (lease, (running, tokens)) = Lease::new(chosen, burden, now);
        drop(turn);
        drop(roster);
        self.decisions.note(policy, Outcome::Chosen, None);
        Some(Decision {
            lease,
            role: Role::Mixed,
            policy,
            running,
            tokens,
            explanation: Explanation {
                candidates,
                index: choice.index,
                verdict: choice.verdict,
            },
            view,
            recorded: None,
        })
    }

    /// What is to be known of a request for a choice by the role's policy.
    pub fn ask<'a, B: AsRef<[u8]>>(
        &self,
        role: Role,
        body: &'a Body<B>,
        options: &'a Options,
    ) -> Result<Ask<'a>, NotServed> {
        let policy = self.policy(role).ok_or(NotServed(role))?;
        let prefix = policy
            .reads_prefixes()
            .then(|| self.prefix(body, options.tokens.as_deref()))
            .flatten();
        Ok(Ask {
            tokens: body.token_estimate(),
            weight: body.weight(),
            prefix,
            exact: options.tokens.is_some() || matches!(body.rendered(), Rendered::Ids(_)),
            model: options.model.as_deref().or_else(|| body.model()),
            session: body.session_id(),
            stream: body.stream(),
            exclude: &options.exclude,
        })
    }

    /// Chooses a worker for what is known of a request, and books it; None where there is nobody.
    pub fn decide(
        &self,
        role: Role,
        ask: Ask<'_>,
        now: u64,
    ) -> Result<Option<Decision>, NotServed> {
        self.decide_as(role, ask, false, now)
    }

    /// The same, and tells with it what was seen: the decision has a view.
    pub fn decide_explained(
        &self,
        role: Role,
        ask: Ask<'_>,
        now: u64,
    ) -> Result<Option<Decision>, NotServed> {
        self.decide_as(role, ask, true, now)
    }

    fn decide_as(
        &self,
        role: Role,
        ask: Ask<'_>,
        explained: bool,
        now: u64,
    ) -> Result<Option<Decision>, NotServed> {
        let roster = self.roster.read();
        let policy = roster.policy(role).ok_or(NotServed(role))?;
        let (candidates, group) = roster.candidates(role, ask.model, ask.exclude);
        if candidates.is_empty() {
            self.decisions.note(policy, Outcome::NoWorker, None);
            return Ok(None);
        }
        let model = scales::key(ask.model);
        let scale = if ask.exact || !policy.reads_prefixes() {
            1.0
        } else {
            self.scales.lock().of(model)
        };
        let scene = Scene {
            role,
            group,
            again: !ask.exclude.is_empty(),
            candidates: &candidates,
            prefix: ask.prefix.as_ref(),
            tree: &self.tree,
            scale,
            replica: *self.replica.lock(),
            now,
            explained,
        };
        let mut rules = self.rules.lock();
        if policy == Policy::LeastWork {
            self.unary.lock().release(now);
        }
        let choice = rules.choose(policy, &scene);
        let view = explained.then(|| View::new(&scene, &choice.sight));
        let chosen = &candidates[choice.index];
        let matched = choice.verdict.matched();
        let (prompt, uncached) = tokens_of(scene.prefix, matched, scale);
        let burden = Burden {
            tokens: ask.tokens,
            weight: ask.weight,
            uncached,
            prompt,
        };
        let (lease, (running, tokens)) = Lease::new(Arc::clone(&chosen.worker), burden, now);
        if policy == Policy::LeastWork && !ask.stream {
            self.expect(&lease, &candidates, now);
        }
        drop(rules);
        let recorded = matched.and_then(|matched| {
            let model = (!ask.exact).then_some(model);
            self.record(chosen, role, ask, matched, (prompt, uncached), model, now)
        });
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
            view,
            recorded,
        };
        self.decisions
            .note(choice.policy, decision.outcome(), decision.hit_ratio());
        Ok(Some(decision))
    }

    /// Sees to it that a whole answer's pending tokens are given back in time.
    fn expect(&self, lease: &Lease, candidates: &[Candidate], now: u64) {
        let due = lease.first_byte_due(|| {
            let speeds = candidates.iter().filter_map(|each| each.worker.speed());
            let (count, sum) =
                speeds.fold((0, 0.0), |(count, sum), speed| (count + 1, sum + speed));
            (count > 0).then(|| sum / f64::from(count))
        });
        if let Some(due) = due {
            self.unary.lock().add(lease.booked(), due, now);
        }
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

    /// What engines said that they had cached, since the start.
    pub fn truth(&self) -> TruthStats {
        self.truth.snapshot()
    }

    /// The same by worker, of those that are present; by url.
    pub fn truths(&self) -> Vec<(String, TruthStats)> {
        self.roster.read().truths()
    }

    /// Session stickiness since the start: (hits, scored requests with a session).
    pub fn sessions(&self) -> (u64, u64) {
        self.sessions.lock().totals()
    }

    /// Block hashes of the prompt; None for one with nothing in it.
    pub fn prefix<B: AsRef<[u8]>>(&self, body: &Body<B>, tokens: Option<&[i64]>) -> Option<Prefix> {
        let rendered = body.rendered();
        let empty = matches!(rendered, Rendered::Text(b"")) && body.tools().is_empty();
        let chain = || Chain::new(body.model(), self.block_size).whole_text(body.tools());
        (!empty).then(|| match (tokens, rendered) {
            (Some(tokens), _) => chain().end_with_ids(tokens.iter().copied()),
            (None, Rendered::Ids(ids)) => chain().end_with_ids(ids.iter().map(|&id| id.into())),
            (None, Rendered::Text(text)) => chain().end_with_text(text),
        })
    }

    /// Records a choice that looked at prefixes.
    #[expect(
        clippy::too_many_arguments,
        reason = "one decision's facts, which are nowhere together"
    )]
    fn record(
        &self,
        chosen: &Candidate,
        role: Role,
        ask: Ask<'_>,
        matched: u32,
        (prompt, uncached): (f64, f64),
        model: Option<u64>,
        now: u64,
    ) -> Option<Recorded> {
        if let Some(session) = ask.session {
            // Seeded by role: a session's prefill and decode workers are two different habits.
            let session = hash::of_name(session, role.index() as u64);
            self.sessions.lock().note(session, chosen.worker.key());
        }
        chosen.worker.record(uncached, now);
        let (slot, prefix) = (chosen.slot?, ask.prefix?);
        if self.sharing.is_on() {
            self.sharing.put(News::Recorded(Given {
                worker: Arc::clone(&chosen.worker),
                hashes: prefix.hashes().into(),
                tokens: prompt,
                uncached,
            }));
        }
        let mut tree = self.tree.lock();
        let spans = tree.spans(prefix.hashes(), slot);
        tree.record(prefix.hashes(), slot, prompt, now);
        drop(tree);
        Some(Recorded {
            prefix,
            slot,
            matched,
            uncached,
            spans,
            model,
        })
    }
}

/// Tokens of a prompt, and those beyond the first `matched` blocks; 0 where nobody looked at them.
fn tokens_of(prefix: Option<&Prefix>, matched: Option<u32>, scale: f64) -> (f64, f64) {
    let Some(prefix) = prefix else {
        return (0.0, 0.0);
    };
    let prompt = prefix.tokens() * scale;
    let uncached = matched.map_or(0.0, |matched| {
        (prompt - prefix.tokens_of(matched as usize) * scale).max(1.0)
    });
    (prompt, uncached)
}
