//! The last decisions, the oldest of which go when there is no room.
//!
//! Entries lie one after the other in memory that is asked for once. Each knows the one before it of the same request, and
//! a map knows the newest: a request is found without going through the others. Decisions are copied under the lock; JSON
//! is made after it.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use parking_lot::Mutex;

use crate::name;
use crate::page;
use crate::told::Told;

/// Bytes of decisions that are kept.
pub const MAX_BYTES: usize = 32 << 20;
/// Decisions of one answer.
pub const MAX_ANSWER: usize = 1_000;
/// What an entry takes: itself, and its place in the map, twice, as that grows by doubling.
const ENTRY: usize = size_of::<Entry>() + 2 * 3 * size_of::<u64>();

/// A ring of decisions.
#[derive(Debug)]
pub struct Ring {
    max_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Entry>,
    /// The number of the oldest entry; the others follow.
    oldest: u64,
    bytes: usize,
    /// The newest entry of a request, by the key of its name.
    newest: HashMap<u64, u64, BuildHasherDefault<Key>>,
}

#[derive(Debug)]
struct Entry {
    told: Told,
    bytes: usize,
    /// The entry of the same request before this one; it may be gone.
    before: Option<u64>,
}

/// A key is a hash already.
#[derive(Debug, Default)]
struct Key(u64);

impl Hasher for Key {
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn write(&mut self, bytes: &[u8]) {
        // For whatever else should come to be a key.
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Ring {
    /// A ring of at most `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        let kept = Kept {
            // Not touched before it is used.
            entries: VecDeque::with_capacity(max_bytes / ENTRY + 1),
            ..Kept::default()
        };
        Self {
            max_bytes,
            kept: Mutex::new(kept),
        }
    }

    /// Keeps a decision. Returns its number.
    pub(crate) fn put(&self, told: Told) -> u64 {
        let bytes = ENTRY + told.bytes();
        let mut kept = self.kept.lock();
        kept.shrink(self.max_bytes.saturating_sub(bytes));
        let number = kept.oldest + kept.entries.len() as u64;
        let before = kept.newest.insert(told.name.key, number);
        kept.bytes += bytes;
        kept.entries.push_back(Entry {
            told,
            bytes,
            before,
        });
        number
    }

    /// Changes the decision of a number, if it is still there.
    pub(crate) fn change(&self, number: u64, change: impl FnOnce(&mut Told)) {
        let mut kept = self.kept.lock();
        let place = kept.place(number);
        if let Some(entry) = place.and_then(|place| kept.entries.get_mut(place)) {
            change(&mut entry.told);
        }
    }

    /// Decisions that are kept, and their bytes.
    pub fn size(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.entries.len(), kept.bytes)
    }

    /// The last `count` decisions, at most [`MAX_ANSWER`], the newest first, as JSON.
    pub fn last(&self, count: usize) -> Vec<u8> {
        let kept = self.kept.lock();
        let newest = kept.entries.iter().rev().take(count.min(MAX_ANSWER));
        let told: Vec<Told> = newest.map(|entry| entry.told.clone()).collect();
        drop(kept);
        page::newest_first(&told)
    }

    /// The decisions about a request, the oldest first, as JSON; None where none is kept.
    pub fn about(&self, id: &str) -> Option<Vec<u8>> {
        let told = self.of(id);
        (!told.is_empty()).then(|| page::about(id, &told))
    }

    /// The newest decisions about a request, the newest first.
    fn of(&self, id: &str) -> Vec<Told> {
        let kept = self.kept.lock();
        let mut told = Vec::new();
        let mut number = kept.newest.get(&name::key(id)).copied();
        while let Some(index) = number.and_then(|number| kept.place(number)) {
            let entry = &kept.entries[index];
            if entry.told.name.is(id) {
                told.push(entry.told.clone());
            }
            if told.len() == MAX_ANSWER {
                break;
            }
            number = entry.before;
        }
        told
    }
}

impl Kept {
    fn place(&self, number: u64) -> Option<usize> {
        let index = number.checked_sub(self.oldest)?;
        Some(index as usize)
    }

    fn shrink(&mut self, max_bytes: usize) {
        while self.bytes > max_bytes {
            let Some(entry) = self.entries.pop_front() else {
                return;
            };
            self.bytes -= entry.bytes;
            let key = entry.told.name.key;
            if self.newest.get(&key) == Some(&self.oldest) {
                self.newest.remove(&key);
            }
            self.oldest += 1;
        }
    }
}
