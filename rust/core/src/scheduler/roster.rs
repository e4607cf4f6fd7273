//! Who is a candidate for what, and who left with leases still out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{Role, Slot};
use crate::load::Worker;
use crate::policy::Candidate;

#[derive(Debug, Default)]
pub(super) struct Roster {
    present: BTreeMap<Box<str>, Entry>,
    /// Left while something was in hand.
    departed: BTreeMap<Box<str>, (Role, Arc<Worker>)>,
    /// The candidates of each role, ascending by url; replaced as a whole so that a decision can keep what it saw.
    by_role: [Arc<[Candidate]>; Role::ALL.len()],
}

#[derive(Debug)]
struct Entry {
    role: Role,
    candidate: Candidate,
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
            running: worker.running(),
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
    pub(super) fn candidates(&self, role: Role) -> &Arc<[Candidate]> {
        &self.by_role[role.index()]
    }

    pub(super) fn worker(&self, url: &str) -> Option<&Worker> {
        self.present.get(url).map(|entry| &*entry.candidate.worker)
    }

    /// Adds a worker, or gives a known one another role; `slot` is asked for a new one's place in the tree.
    pub(super) fn add(&mut self, url: &str, role: Role, slot: impl FnOnce() -> Option<Slot>) {
        if let Some(entry) = self.present.get_mut(url) {
            let before = std::mem::replace(&mut entry.role, role);
            if before != role {
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
        let candidate = Candidate {
            worker,
            slot: slot(),
        };
        self.present.insert(url.into(), Entry { role, candidate });
        self.list(role);
    }

    pub(super) fn remove(&mut self, url: &str) -> Option<Candidate> {
        let Entry { role, candidate } = self.present.remove(url)?;
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

    /// Lists the candidates of a role anew.
    fn list(&mut self, role: Role) {
        let entries = self.present.values().filter(|entry| entry.role == role);
        self.by_role[role.index()] = entries.map(|entry| entry.candidate.clone()).collect();
    }
}
