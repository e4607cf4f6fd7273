//! Telling other routers of prefixes, and taking what they tell. See [`crate::share`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::load::Worker;
use crate::share::loads::ToldLoads;
use crate::share::{Chains, Item, MIN_LIMIT, News, Queue, Reader, Shares, Start, Told};

use super::Scheduler;

/// Milliseconds within which what two routers say of an engine's end is of the same end.
const SAME_END: u64 = 10_000;

/// What is shared. Nobody waits for `telling`, `hearing` or `told_loads` but whoever takes and brings messages.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    on: AtomicBool,
    queue: Mutex<Queue>,
    telling: Mutex<Telling>,
    hearing: Mutex<Chains>,
    pub(super) told_loads: Mutex<ToldLoads>,
}

#[derive(Debug, Default)]
struct Telling {
    told: Told,
    /// What did not fit into the last batch.
    left: Option<News>,
}

/// What came of a batch, in records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Taken over.
    pub applied: u64,
    /// Nothing to hang them on: what they go on from was not told, or their worker is not here.
    pub unknown: u64,
    /// Not understood; what follows in the batch is not looked at.
    pub bad: u64,
}

/// Something that another router told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Heard<'a> {
    /// A worker was given a chain of blocks.
    Recorded {
        /// The worker.
        worker: &'a str,
        /// The whole chain.
        hashes: &'a [u64],
        /// Tokens of the prompt.
        tokens: f64,
        /// Of these, those that the worker was thought to lack.
        uncached: f64,
    },
    /// It gave no answer.
    TakenBack {
        /// The worker.
        worker: &'a str,
        /// The whole chain.
        hashes: &'a [u64],
        /// Blocks of it that the worker has.
        stay: u32,
        /// Tokens of the others.
        uncached: f64,
    },
    /// Its engine ended, and its cache with it.
    Forgotten {
        /// The worker.
        worker: &'a str,
    },
}

impl<'a> Heard<'a> {
    const fn worker(&self) -> &'a str {
        match self {
            Self::Recorded { worker, .. }
            | Self::TakenBack { worker, .. }
            | Self::Forgotten { worker } => worker,
        }
    }
}

impl Sharing {
    /// Whether anything is kept for others.
    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Keeps news for others. Not to be made where nothing is shared: see [`Sharing::is_on`].
    pub(super) fn put(&self, news: News) {
        self.queue.lock().push(news);
    }

    fn pop(&self) -> Option<News> {
        self.queue.lock().pop()
    }
}

/// A batch in the making.
struct Batch {
    bytes: Vec<u8>,
    workers: Vec<Arc<Worker>>,
}

impl Batch {
    /// A worker's place, and whether its name is still to be written.
    fn place(&self, worker: &Arc<Worker>) -> (u16, bool) {
        let known = self
            .workers
            .iter()
            .position(|each| Arc::ptr_eq(each, worker));
        let place = known.unwrap_or(self.workers.len());
        (place as u16, known.is_none())
    }
}

impl Scheduler {
    /// Begins to keep what is recorded for others, within so many bytes for all of it, at least [`MIN_LIMIT`]; 0 ends it.
    /// Called again, each chain is told from its first block once more.
    pub fn share(&self, limit: usize) {
        let shares = Shares::of(if limit == 0 { 0 } else { limit.max(MIN_LIMIT) });
        self.sharing.on.store(limit > 0, Ordering::Relaxed);
        self.sharing.queue.lock().set_limit(shares.waiting);
        let mut telling = self.sharing.telling.lock();
        telling.told.set_limit(shares.told);
        if limit == 0 {
            telling.left = None;
        }
        drop(telling);
        self.sharing.hearing.lock().set_limit(shares.heard);
    }

    /// News that wait to be taken, and those that were dropped as there were too many.
    pub fn sharing(&self) -> (usize, u64) {
        self.sharing.queue.lock().counts()
    }

    /// The next batch of what was recorded here, of at most so many bytes or one record; None where there is nothing.
    pub fn take_recorded(&self, max_bytes: usize) -> Option<Vec<u8>> {
        let mut telling = self.sharing.telling.lock();
        let mut batch = Batch {
            bytes: Start::bytes(self.block_size),
            workers: Vec::new(),
        };
        let empty = batch.bytes.len();
        while let Some(news) = telling.left.take().or_else(|| self.sharing.pop()) {
            let before = batch.bytes.len();
            if !telling
                .told
                .tell(&news, &mut batch, before == empty, max_bytes)
            {
                telling.left = Some(news);
                break;
            }
        }
        (batch.bytes.len() > empty).then_some(batch.bytes)
    }

    /// Takes a batch of another router; `heard` is told what of it changes anything, just before it does.
    pub fn apply_recorded(
        &self,
        data: &[u8],
        now: u64,
        mut heard: impl FnMut(&Heard<'_>),
    ) -> Applied {
        let mut applied = Applied::default();
        let Ok(items) = Reader::new(data, self.block_size) else {
            applied.bad = 1;
            return applied;
        };
        let mut chains = self.sharing.hearing.lock();
        let mut names: Vec<&str> = Vec::new();
        let mut chain = Vec::new();
        for item in items {
            let news = match item {
                Ok(Item::Name(name)) => {
                    names.push(name);
                    continue;
                }
                Ok(item) => understand(item, &names, &mut chains, &mut chain),
                Err(_) => Err(Problem::Bad),
            };
            match news {
                Ok(news) if self.is_here(news.worker()) => {
                    if self.changes_anything(&news, now) {
                        heard(&news);
                        self.hear(&news, now);
                    }
                    applied.applied += 1;
                }
                Ok(_) | Err(Problem::Unknown) => applied.unknown += 1,
                Err(Problem::Bad) => {
                    applied.bad += 1;
                    break;
                }
            }
        }
        applied
    }

    /// Takes what another router told; what is of a worker that is not here is ignored.
    pub fn hear(&self, heard: &Heard<'_>, now: u64) {
        let roster = self.roster.read();
        let Some(worker) = roster.worker(heard.worker()) else {
            return;
        };
        let slot = roster.slot(heard.worker());
        match heard {
            Heard::Recorded {
                hashes,
                tokens,
                uncached,
                ..
            } => {
                worker.record(*uncached, now);
                if let Some(slot) = slot {
                    self.tree.lock().record(hashes, slot, *tokens, now);
                }
            }
            Heard::TakenBack {
                hashes,
                stay,
                uncached,
                ..
            } => {
                if let Some(slot) = slot {
                    let mut tree = self.tree.lock();
                    tree.take_back(hashes, *stay as usize, slot, *uncached);
                }
            }
            Heard::Forgotten { worker: url } => {
                worker.ended(now);
                drop(roster);
                self.forget(url);
            }
        }
    }

    /// Notes an engine's end that this router saw, for others: unless one of them told of it.
    pub(super) fn note_end(&self, url: &str, now: u64) {
        let roster = self.roster.read();
        if let Some(worker) = roster.worker(url)
            && !worker.ended_within(SAME_END, now)
        {
            worker.ended(now);
            if self.sharing.is_on() {
                self.sharing.put(News::Forgotten(Arc::clone(worker)));
            }
        }
    }

    fn is_here(&self, url: &str) -> bool {
        self.roster.read().worker(url).is_some()
    }

    /// Several routers see an engine's end, one after the other: what was recorded since the first did is not forgotten.
    fn changes_anything(&self, heard: &Heard<'_>, now: u64) -> bool {
        let Heard::Forgotten { worker } = heard else {
            return true;
        };
        let roster = self.roster.read();
        let worker = roster.worker(worker);
        worker.is_some_and(|worker| !worker.ended_within(SAME_END, now))
    }
}

impl Told {
    /// Writes news into a batch unless they do not fit beside what is there; the `first` always do. Returns whether it did.
    fn tell(&mut self, news: &News, batch: &mut Batch, first: bool, max_bytes: usize) -> bool {
        let worker = news.worker();
        if worker.url().len() > usize::from(u16::MAX) {
            return true; // no batch can name it
        }
        let (place, is_new) = batch.place(worker);
        let before = batch.bytes.len();
        if is_new {
            Item::Name(worker.url()).write(&mut batch.bytes);
        }
        let (hashes, known) = match news {
            News::Recorded(given) => (&*given.hashes, self.known(&given.hashes)),
            _ => (&[][..], 0),
        };
        item(news, place, known).write(&mut batch.bytes);
        if !first && batch.bytes.len() > max_bytes {
            batch.bytes.truncate(before);
            return false;
        }
        if is_new {
            batch.workers.push(Arc::clone(worker));
        }
        self.note(hashes, known, batch.bytes.len() - before);
        true
    }
}

/// News of the worker of a place; of what was recorded others know so many blocks.
fn item(news: &News, worker: u16, known: usize) -> Item<'_> {
    match *news {
        News::Recorded(ref given) => Item::recorded(worker, given, known),
        News::TakenBack {
            last,
            stay,
            uncached,
            ..
        } => Item::TakenBack {
            worker,
            last,
            stay,
            uncached: uncached as f32,
        },
        News::Forgotten(_) => Item::Forgotten { worker },
    }
}

enum Problem {
    Unknown,
    Bad,
}

/// What an item says, with the whole `chain`.
fn understand<'a>(
    item: Item<'_>,
    names: &[&'a str],
    chains: &mut Chains,
    chain: &'a mut Vec<u64>,
) -> Result<Heard<'a>, Problem> {
    let name = |place: u16| names.get(usize::from(place)).copied().ok_or(Problem::Bad);
    match item {
        Item::Name(_) => Err(Problem::Bad),
        Item::Recorded {
            worker,
            parent,
            tokens,
            uncached,
            hashes,
        } => {
            let worker = name(worker)?;
            chain.clear();
            if parent.is_some_and(|parent| !chains.find(parent, chain)) {
                return Err(Problem::Unknown);
            }
            let known = chain.len();
            chain.extend_from_slice(&hashes);
            chains.add(parent, chain, known);
            Ok(Heard::Recorded {
                worker,
                hashes: chain,
                tokens: tokens.into(),
                uncached: uncached.into(),
            })
        }
        Item::TakenBack {
            worker,
            last,
            stay,
            uncached,
        } => {
            let worker = name(worker)?;
            if !chains.find(last, chain) {
                return Err(Problem::Unknown);
            }
            Ok(Heard::TakenBack {
                worker,
                hashes: chain,
                stay,
                uncached: uncached.into(),
            })
        }
        Item::Forgotten { worker } => Ok(Heard::Forgotten {
            worker: name(worker)?,
        }),
    }
}
