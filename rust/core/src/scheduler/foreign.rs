//! What other routers say that they have in hand.
//!
//! Each says all of it every time, so a message that is lost leaves nothing behind: the next one replaces it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::hash;
use crate::load::Held;
use crate::policy::Replica;

use super::Scheduler;

/// Routers that are listened to.
const ORIGINS: usize = 64;
/// Workers of which one router may speak.
const ROWS: usize = 4_096;
/// Bytes of a name.
const NAME: usize = 2_048;

/// What every other router said last, by its name and the worker's url: also of workers that are not here, which may be
/// registered in a moment.
#[derive(Debug, Default)]
pub(super) struct Foreign(BTreeMap<Box<str>, HashMap<Box<str>, Held>>);

impl Foreign {
    /// Takes all that a router says; nothing is nobody's any more. Returns the urls that it speaks or spoke of, and how
    /// many rows there is no room for.
    fn tell(&mut self, origin: &str, rows: &[(String, Held)]) -> (BTreeSet<Box<str>>, usize) {
        let before = self.0.remove(origin).unwrap_or_default();
        let mut urls: BTreeSet<Box<str>> = before.into_keys().collect();
        if rows.is_empty() {
            return (urls, 0);
        }
        if self.0.len() >= ORIGINS || origin.len() > NAME {
            return (urls, rows.len());
        }
        let fitting = rows.iter().filter(|(url, _)| url.len() <= NAME).take(ROWS);
        let own: HashMap<Box<str>, Held> = fitting
            .map(|(url, held)| (url.as_str().into(), held.bounded()))
            .collect();
        urls.extend(own.keys().cloned());
        let lost = rows.len() - own.len();
        self.0.insert(origin.into(), own);
        (urls, lost)
    }

    /// What all of them have in hand at a worker.
    pub(super) fn at(&self, url: &str) -> Held {
        let rows = self.0.values().filter_map(|rows| rows.get(url));
        rows.fold(Held::default(), |sum, held| sum.and(*held))
    }

    /// What a router of this name is among those that said anything; None where no other has a request in hand, as with
    /// those that only stand by.
    fn replica(&self, name: &str) -> Option<Replica> {
        let mut rows = self.0.values().flat_map(HashMap::values);
        rows.any(|held| held.running > 0).then(|| Replica {
            name: hash::of_name(name, 0),
            rank: self.0.keys().filter(|other| ***other < *name).count(),
            routers: self.0.len() + 1,
        })
    }
}

impl Scheduler {
    /// Takes what another router, by its name, has in hand at workers: all of it, in place of what it said before.
    /// Nothing at all forgets that router. Returns how many rows are not kept, as there is room for 64 routers with
    /// 4,096 rows each.
    pub fn tell_foreign(&self, origin: &str, rows: &[(String, Held)]) -> usize {
        let roster = self.roster.read();
        let mut foreign = self.foreign.lock();
        let (urls, lost) = foreign.tell(origin, rows);
        for url in urls {
            if let Some(worker) = roster.worker(&url) {
                worker.set_foreign(&foreign.at(&url));
            }
        }
        let name = self.name.as_deref();
        *self.replica.lock() = name.and_then(|name| foreign.replica(name));
        lost
    }

    /// What this router alone has in hand, for others: a row for everybody who is present, and for those departed as long
    /// as that is anything; by url.
    pub fn own_loads(&self, now: u64) -> Vec<(String, Held)> {
        self.unary.lock().release(now);
        self.roster.read().own_loads()
    }
}
