//! Who is a candidate for what, and who left with leases still out.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{Role, Slot};
use crate::load::{Held, TruthStats, Worker};
use crate::policy::{Candidate, Policy};
use crate::tree::Tree;

use super::models::{Lists, Serves, Tiers, Wanted};

/// Whether a worker is to be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Standing {
    /// As any other.
    #[default]
    Open,
    /// Only where nobody is open: it asked to be left alone for a while.
    PassedOver,
    /// Only where there is nobody else at all: it fails.
    Ejected,
    /// Never, not even as the last one: an operator said so.
    Out,
}

#[derive(Debug, Default)]
pub(super) struct Roster {
    present: BTreeMap<Box<str>, Entry>,
    /// Left while something was in hand.
    departed: BTreeMap<Box<str>, (Role, Arc<Worker>)>,
    by_role: [Lists; Role::ALL.len()],
    /// Whatever their roles, those that serve an endpoint by name.
    by_endpoint: BTreeMap<Box<str>, Lists>,
    /// Of a snapshot, and not here yet.
    expected: BTreeMap<Box<str>, Expected>,
    /// The policy of each role that is served.
    policies: [Option<Policy>; Role::ALL.len()],
}

/// A worker that a snapshot knows.
#[derive(Debug, Default)]
struct Expected {
    /// None for one of which no prefix is believed in.
    slot: Option<Slot>,
    learned: Learned,
}

/// What was learned of a worker, apart from its prefixes. None is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Learned {
    /// Tokens that its cache holds.
    pub(super) capacity: Option<f64>,
    /// The same as it was told last.
    pub(super) told: Option<f64>,
    /// See [`Worker::pace`].
    pub(super) pace: (f64, f64),
    /// When its engine started, by the engine's word.
    pub(super) started: Option<f64>,
}

#[derive(Debug)]
struct Entry {
    role: Role,
    standing: Standing,
    serves: Serves,
    candidate: Candidate,
    /// Its capacity as it was told last.
    told: Option<f64>,
    /// When its engine started, as it was told last.
    started: Option<f64>,
    /// What it serves by name, in order.
    endpoints: Vec<Box<str>>,
}

/// One worker's load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// The worker.
    pub url: String,
    /// What it serves, or served when it left.
    pub role: Role,
    /// Leases out.
    pub running: u64,
    /// Tokens of prompts still to be prefilled.
    pub tokens: u64,
}

impl Load {
    fn of(worker: &Worker, role: Role) -> Self {
        Self {
            url: worker.url().to_owned(),
            role,
            running: worker.leases(),
            tokens: worker.tokens(),
        }
    }
}

/// Departed workers, each list ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reaped {
    /// Forgotten.
    pub removed: Vec<String>,
    /// Kept for the leases that are out.
    pub preserved: Vec<String>,
}

impl Roster {
    /// Nobody yet.
    pub(super) fn new(policies: &[(Role, Policy)]) -> Self {
        let mut roster = Self::default();
        roster.set_policies(policies);
        roster
    }

    /// The policy of a role.
    pub(super) fn policy(&self, role: Role) -> Option<Policy> {
        self.policies[role.index()]
    }

    /// Has roles served by other policies; `apply_capacities` is to follow.
    pub(super) fn set_policies(&mut self, policies: &[(Role, Policy)]) {
        self.policies = Default::default();
        for &(role, policy) in policies {
            self.policies[role.index()] = Some(policy);
        }
    }

    /// Workers of a role that may be chosen for a model, be it in the last place.
    pub(super) fn count(&self, role: Role, model: Option<&str>) -> usize {
        self.tiers(role, model).len()
    }

    /// The candidates of a role for a model but for those excluded: of those that are open, else of those passed over;
    /// where all of these are excluded all of them again, and those ejected where there is nobody else. And the group
    /// of requests that this is, see [`Tiers::group`].
    pub(super) fn candidates(
        &self,
        role: Role,
        model: Option<&str>,
        exclude: &[String],
    ) -> (Arc<[Candidate]>, u64) {
        let tiers = self.tiers(role, model);
        (candidates(tiers, exclude), tiers.group)
    }

    /// How many of a role that serve a model are open, and how many passed over, that are not excluded.
    pub(super) fn left(
        &self,
        role: Role,
        model: Option<&str>,
        exclude: &[String],
    ) -> (usize, usize) {
        left(self.tiers(role, model), exclude)
    }

    /// The candidates for an endpoint and a model, as [`Roster::candidates`] has those of a role.
    pub(super) fn candidates_for(
        &self,
        endpoint: &str,
        model: Option<&str>,
        exclude: &[String],
    ) -> Arc<[Candidate]> {
        let tiers = self.tiers_for(endpoint, model);
        tiers.map_or_else(Arc::default, |tiers| candidates(tiers, exclude))
    }

    /// How many of them are open, and how many passed over, that are not excluded.
    pub(super) fn left_for(
        &self,
        endpoint: &str,
        model: Option<&str>,
        exclude: &[String],
    ) -> (usize, usize) {
        let tiers = self.tiers_for(endpoint, model);
        tiers.map_or((0, 0), |tiers| left(tiers, exclude))
    }

    /// Says what a worker serves by name; an unknown url is ignored.
    pub(super) fn tell_endpoints(&mut self, url: &str, endpoints: Vec<String>) {
        if let Some(entry) = self.present.get_mut(url) {
            entry.endpoints = endpoints.into_iter().map(Into::into).collect();
            // One that is named twice serves it once.
            entry.endpoints.sort_unstable();
            entry.endpoints.dedup();
            self.list_endpoints();
        }
    }

    /// Says what a worker serves; an unknown url is ignored.
    pub(super) fn tell_models(&mut self, url: &str, serves: Serves) {
        if let Some(entry) = self.present.get_mut(url) {
            let role = entry.role;
            if entry.serves != serves {
                self.by_role[role.index()].change(&entry.serves, &serves);
                entry.serves = serves;
                self.list(role);
            }
        }
    }

    /// Changes a worker's standing; an unknown url is ignored.
    pub(super) fn stand(&mut self, url: &str, standing: Standing) {
        if let Some(entry) = self.present.get_mut(url) {
            let role = entry.role;
            if std::mem::replace(&mut entry.standing, standing) != standing {
                self.list(role);
            }
        }
    }

    /// Whether a worker is here or expected.
    pub(super) fn knows(&self, url: &str) -> bool {
        self.present.contains_key(url) || self.expected.contains_key(url)
    }

    /// Expects a worker that a snapshot knows, and nobody else does.
    pub(super) fn expect(&mut self, url: &str, slot: Option<Slot>, learned: Learned) {
        self.expected.insert(url.into(), Expected { slot, learned });
    }

    /// Expects nobody any more. Returns the places in the tree of those who did not come.
    pub(super) fn settle(&mut self) -> Vec<Slot> {
        let left = std::mem::take(&mut self.expected).into_values();
        left.filter_map(|each| each.slot).collect()
    }

    /// Everybody who is here or expected, with a place in the tree: what a snapshot is to have.
    pub(super) fn learned(&self) -> Vec<(&str, Slot, Learned)> {
        let here = self.present.iter().map(|(url, entry)| {
            let worker = &entry.candidate.worker;
            let learned = Learned {
                capacity: worker.capacity(),
                told: entry.told,
                pace: worker.pace(),
                started: entry.started,
            };
            (&**url, entry.candidate.slot, learned)
        });
        let expected = self.expected.iter();
        let expected = expected.map(|(url, each)| (&**url, each.slot, each.learned));
        here.chain(expected)
            .filter_map(|(url, slot, learned)| Some((url, slot?, learned)))
            .collect()
    }

    /// Takes when a worker's engine started. Returns what that is to the time that was said before; None where none was.
    ///
    /// Of several engines that take turns behind one url the latest counts.
    pub(super) fn tell_start(&mut self, url: &str, secs: f64) -> Option<Ordering> {
        let entry = self.present.get_mut(url)?;
        let before = entry.started.replace(secs)?;
        entry.started = Some(before.max(secs));
        Some(secs.total_cmp(&before))
    }

    /// Gives a worker another place in the tree: `slot` takes the old one back and hands out a new one.
    pub(super) fn replace_slot(
        &mut self,
        url: &str,
        slot: impl FnOnce(Option<Slot>) -> Option<Slot>,
    ) {
        if let Some(expected) = self.expected.get_mut(url) {
            expected.slot = slot(expected.slot);
        } else if let Some(entry) = self.present.get_mut(url) {
            let role = entry.role;
            entry.candidate.slot = slot(entry.candidate.slot);
            self.list(role);
        }
    }

    pub(super) fn worker(&self, url: &str) -> Option<&Arc<Worker>> {
        self.present.get(url).map(|entry| &entry.candidate.worker)
    }

    /// Adds a worker, or gives a known one another role; `slot` is asked for a new one's place in the tree.
    pub(super) fn add(&mut self, url: &str, role: Role, slot: impl FnOnce() -> Option<Slot>) {
        if let Some(entry) = self.present.get_mut(url) {
            let before = std::mem::replace(&mut entry.role, role);
            if before != role {
                let nothing = Serves::Nothing;
                self.by_role[before.index()].change(&entry.serves, &nothing);
                self.by_role[role.index()].change(&nothing, &entry.serves);
                self.list(before);
                self.list(role);
            }
            return;
        }
        let back = self
            .departed
            .remove(url)
            .map(|(_, worker)| worker)
            .filter(|worker| !worker.is_idle());
        let worker = back.unwrap_or_else(|| Arc::new(Worker::new(url)));
        let Expected {
            slot: kept,
            learned,
        } = self.expected.remove(url).unwrap_or_default();
        if learned != Learned::default() {
            worker.set_capacity(learned.capacity);
            worker.set_pace(learned.pace);
        }
        let candidate = Candidate {
            worker,
            slot: kept.or_else(slot),
        };
        let entry = Entry {
            role,
            standing: Standing::default(),
            serves: Serves::default(),
            candidate,
            told: learned.told,
            started: learned.started,
            endpoints: Vec::new(),
        };
        self.present.insert(url.into(), entry);
        self.list(role);
    }

    /// A worker's place in the tree.
    pub(super) fn slot(&self, url: &str) -> Option<Slot> {
        self.present.get(url)?.candidate.slot
    }

    /// Lets the tree know of a worker's capacity, where the policy goes by it; elsewhere credit lapses by time alone.
    pub(super) fn apply_capacity(&self, url: &str, tree: &mut Tree) {
        if let Some(entry) = self.present.get(url) {
            self.apply(entry, tree);
        }
    }

    /// The same for every worker.
    pub(super) fn apply_capacities(&self, tree: &mut Tree) {
        for entry in self.present.values() {
            self.apply(entry, tree);
        }
    }

    fn apply(&self, entry: &Entry, tree: &mut Tree) {
        if let Some(slot) = entry.candidate.slot {
            let capacity = entry.candidate.worker.capacity();
            let counts = self.policy(entry.role).is_some_and(Policy::reads_capacity);
            tree.set_capacity(slot, capacity.filter(|_| counts));
        }
    }

    /// Changes what is known of a worker's capacity.
    pub(super) fn update_capacity(
        &self,
        url: &str,
        tree: &mut Tree,
        update: impl FnOnce(Option<f64>) -> Option<f64>,
    ) {
        if let Some(worker) = self.worker(url) {
            worker.set_capacity(update(worker.capacity()));
            self.apply_capacity(url, tree);
        }
    }

    /// Whether a worker's capacity was told as another number before, or never.
    pub(super) fn is_news(&mut self, url: &str, tokens: f64) -> bool {
        let entry = self.present.get_mut(url);
        entry.is_some_and(|entry| entry.told.replace(tokens) != Some(tokens))
    }

    /// The capacities that are known, by url.
    pub(super) fn capacities(&self) -> Vec<(String, f64)> {
        let workers = self.present.values().map(|entry| &entry.candidate.worker);
        let known = |worker: &Arc<Worker>| Some((worker.url().to_owned(), worker.capacity()?));
        workers.filter_map(known).collect()
    }

    /// Tokens that caches are thought to hold, by url; of those that have a slot in the tree.
    pub(super) fn held(&self, tree: &Tree) -> Vec<(String, f64)> {
        let workers = self.present.values().map(|entry| &entry.candidate);
        let held = |candidate: &Candidate| {
            let url = candidate.worker.url().to_owned();
            Some((url, tree.held(candidate.slot?)))
        };
        workers.filter_map(held).collect()
    }

    /// What answers say of the caches of those that are present, by url.
    pub(super) fn truths(&self) -> Vec<(String, TruthStats)> {
        let workers = self.present.values().map(|entry| &entry.candidate.worker);
        workers
            .map(|worker| (worker.url().to_owned(), worker.truth().snapshot()))
            .collect()
    }

    pub(super) fn remove(&mut self, url: &str) -> Option<Candidate> {
        let Entry {
            role,
            serves,
            candidate,
            ..
        } = self.present.remove(url)?;
        self.by_role[role.index()].change(&serves, &Serves::Nothing);
        if !candidate.worker.is_idle() {
            self.departed
                .insert(url.into(), (role, Arc::clone(&candidate.worker)));
        }
        self.list(role);
        Some(candidate)
    }

    pub(super) fn loads(&self) -> Vec<Load> {
        let present = self
            .present
            .values()
            .map(|entry| Load::of(&entry.candidate.worker, entry.role));
        let departed = self
            .departed
            .values()
            .filter(|(_, worker)| !worker.is_idle());
        let mut loads: Vec<Load> = present
            .chain(departed.map(|(role, worker)| Load::of(worker, *role)))
            .collect();
        loads.sort_by(|a, b| a.url.cmp(&b.url));
        loads
    }

    /// What this router has in hand at everybody that is present, and at those departed as long as that is anything.
    pub(super) fn own(&self) -> impl Iterator<Item = (&Arc<str>, Held)> {
        let present = self.present.values().map(|entry| &entry.candidate.worker);
        let departed = self.departed.values().map(|(_, worker)| worker);
        present
            .chain(departed.filter(|worker| !worker.is_idle()))
            .map(|worker| (worker.name(), worker.own()))
    }

    /// The same by url.
    pub(super) fn own_loads(&self) -> Vec<(String, Held)> {
        let mut loads: Vec<(String, Held)> = self
            .own()
            .map(|(url, held)| (url.as_ref().to_owned(), held))
            .collect();
        loads.sort_by(|a, b| a.0.cmp(&b.0));
        loads
    }

    pub(super) fn reap(&mut self) -> Reaped {
        let mut reaped = Reaped::default();
        self.departed.retain(|url, (_, worker)| {
            let idle = worker.is_idle();
            let list = if idle {
                &mut reaped.removed
            } else {
                &mut reaped.preserved
            };
            list.push(url.to_string());
            !idle
        });
        reaped
    }

    fn tiers(&self, role: Role, model: Option<&str>) -> &Tiers {
        self.by_role[role.index()].of(model, |wanted| self.who_takes(role, wanted))
    }

    fn who_takes(&self, role: Role, wanted: Wanted) -> Tiers {
        let of_role: Vec<&Entry> = self
            .present
            .values()
            .filter(|entry| entry.role == role)
            .collect();
        who_takes(&of_role, wanted)
    }

    /// None where nobody serves it by name.
    fn tiers_for(&self, endpoint: &str, model: Option<&str>) -> Option<&Tiers> {
        let lists = self.by_endpoint.get(endpoint)?;
        Some(lists.of(model, |wanted| {
            let names_it = |entry: &&Entry| entry.endpoints.iter().any(|each| &**each == endpoint);
            let serving: Vec<&Entry> = self.present.values().filter(names_it).collect();
            who_takes(&serving, wanted)
        }))
    }

    /// Lists the candidates of a role anew.
    fn list(&mut self, role: Role) {
        let all = self.who_takes(role, Wanted::Any);
        self.by_role[role.index()].renew(all);
        self.list_endpoints();
    }

    /// Lists the candidates of every endpoint anew.
    fn list_endpoints(&mut self) {
        let mut serving: BTreeMap<&Box<str>, Vec<&Entry>> = BTreeMap::new();
        for entry in self.present.values() {
            for endpoint in &entry.endpoints {
                serving.entry(endpoint).or_default().push(entry);
            }
        }
        let listed = serving.into_iter().map(|(endpoint, entries)| {
            let mut lists = Lists::default();
            for entry in &entries {
                lists.change(&Serves::default(), &entry.serves);
            }
            lists.renew(who_takes(&entries, Wanted::Any));
            (endpoint.clone(), lists)
        });
        self.by_endpoint = listed.collect();
    }
}

/// Those of some that take what is wanted.
fn who_takes(entries: &[&Entry], wanted: Wanted) -> Tiers {
    let tier = |standing: Standing| {
        let standing = entries.iter().filter(|entry| entry.standing == standing);
        standing
            .filter(|entry| entry.serves.takes(wanted))
            .map(|entry| entry.candidate.clone())
            .collect()
    };
    Tiers {
        open: tier(Standing::Open),
        passed_over: tier(Standing::PassedOver),
        ejected: tier(Standing::Ejected),
        group: 0,
    }
}

/// See [`Roster::candidates`].
fn candidates(tiers: &Tiers, exclude: &[String]) -> Arc<[Candidate]> {
    let left = [&tiers.open, &tiers.passed_over].map(|tier| without(tier, exclude));
    let all = [&tiers.open, &tiers.passed_over, &tiers.ejected].map(Arc::clone);
    let mut lists = left.into_iter().chain(all);
    lists.find(|list| !list.is_empty()).unwrap_or_default()
}

/// See [`Roster::left`].
fn left(tiers: &Tiers, exclude: &[String]) -> (usize, usize) {
    let count = |tier| without(tier, exclude).len();
    (count(&tiers.open), count(&tiers.passed_over))
}

/// The candidates that are not excluded.
fn without(candidates: &Arc<[Candidate]>, exclude: &[String]) -> Arc<[Candidate]> {
    if exclude.is_empty() {
        return Arc::clone(candidates);
    }
    let excluded = |worker: &Worker| exclude.iter().any(|url| url == worker.url());
    let left = candidates.iter().filter(|each| !excluded(&each.worker));
    left.cloned().collect()
}
