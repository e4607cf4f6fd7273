//! What other routers say that they have in hand.
//!
//! Each says all of it every time, so a message that is lost leaves nothing behind: the next one replaces it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::hash;
use crate::load::Held;
use crate::policy::Replica;
use crate::share::loads;

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

    /// Forgets what a router said; the urls of it.
    fn clear(&mut self, origin: &str) -> Vec<Box<str>> {
        let rows = self.0.get_mut(origin).map(std::mem::take);
        rows.into_iter().flat_map(HashMap::into_keys).collect()
    }

    /// Takes what has changed of what a router says. Returns whether there is room for it.
    fn change(&mut self, origin: &str, news: &[(&str, Held)]) -> bool {
        if !self.0.contains_key(origin) && (self.0.len() >= ORIGINS || origin.len() > NAME) {
            return false;
        }
        let rows = self.0.entry(origin.into()).or_default();
        for (url, held) in news {
            if *held == Held::default() {
                rows.remove(*url);
            } else if let Some(row) = rows.get_mut(*url) {
                *row = held.bounded();
            } else if rows.len() < ROWS {
                rows.insert((*url).into(), held.bounded());
            }
        }
        // Who only stands by is none of those among whom requests are dealt out.
        if rows.is_empty() {
            self.0.remove(origin);
        }
        true
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

    /// What this router alone has in hand, in bytes for [`Scheduler::apply_loads`]: all of it, or what is another than it
    /// was told before; None where that is nothing.
    pub fn take_loads(&self, whole: bool, now: u64) -> Option<Vec<u8>> {
        self.unary.lock().release(now);
        let mut told = self.sharing.told_loads.lock();
        told.message(self.roster.read().own(), whole)
    }

    /// Takes what [`Scheduler::take_loads`] of another router, by its name, returned. Returns whether it was understood
    /// and there is room for one more router: for 64, each with 4,096 rows, beyond which they are not kept.
    pub fn apply_loads(&self, origin: &str, data: &[u8]) -> bool {
        let Some((whole, rows)) = loads::read(data) else {
            return false;
        };
        let roster = self.roster.read();
        let mut foreign = self.foreign.lock();
        let before = if whole {
            foreign.clear(origin)
        } else {
            Vec::new()
        };
        let kept = foreign.change(origin, &rows);
        let urls = before
            .iter()
            .map(|url| &**url)
            .chain(rows.iter().map(|(url, _)| *url));
        for url in urls {
            if let Some(worker) = roster.worker(url) {
                worker.set_foreign(&foreign.at(url));
            }
        }
        let name = self.name.as_deref();
        *self.replica.lock() = name.and_then(|name| foreign.replica(name));
        kept
    }

    /// What another router has in hand, as far as is known; by url.
    pub fn foreign(&self, origin: &str) -> Vec<(String, Held)> {
        let foreign = self.foreign.lock();
        let rows = foreign.0.get(origin).into_iter().flatten();
        let mut rows: Vec<_> = rows.map(|(url, held)| (url.to_string(), *held)).collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    }

    /// Requests that all other routers have in hand, by url.
    pub fn running_elsewhere(&self) -> Vec<(String, u64)> {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        let foreign = self.foreign.lock();
        for (url, held) in foreign.0.values().flatten() {
            *sums.entry(url).or_default() += held.running;
        }
        sums.into_iter()
            .map(|(url, running)| (url.to_owned(), running))
            .collect()
    }

    /// What this router alone has in hand, for others: a row for everybody who is present, and for those departed as long
    /// as that is anything; by url.
    pub fn own_loads(&self, now: u64) -> Vec<(String, Held)> {
        self.unary.lock().release(now);
        self.roster.read().own_loads()
    }
}
