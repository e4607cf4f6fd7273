//! The bytes of a snapshot, little-endian throughout.
//!
//! | what | bytes |
//! |---|---|
//! | `fdrsnap` and a 0 | 8 |
//! | [`VERSION`] | u32 |
//! | code points or tokens in a block | u32 |
//! | [`probe`]: a hash as this build makes it | u64 |
//! | edges, from the one recorded longest ago, as [`Tree::copy_more`] writes them, and a 0 | |
//! | time by the tree's clock, and since the epoch, in milliseconds | u64, u64 |
//! | number of workers | u16 |
//! | of each: bytes of its url, url, index of its slot, the four of [`Learned`] in five numbers, tokens by age | u16, text, u16, 5 x f64, 80 x f32 |
//! | number of models | u16 |
//! | of each: key, scale | u64, f64 |
//! | XXH3 of everything before | u64 |
//!
//! A number that is not known is 0. The sum stands at the end, as a snapshot is written while it is made: one that was
//! cut, at whatever byte, has none.
//!
//! [`Tree::copy_more`]: crate::tree::Tree::copy_more

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::hash::Chain;
use crate::ids::Slot;
use crate::tree::{EdgeImage, History};

use super::super::roster::Learned;

const MAGIC: [u8; 8] = *b"fdrsnap\0";
/// Another one for every change of the layout.
const VERSION: u32 = 1;
/// Beyond it no clock is right, in milliseconds.
const LATEST: u64 = 1 << 48;

/// Why a snapshot is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// It is something else.
    #[error("it is no snapshot")]
    NoSnapshot,
    /// Another router wrote it.
    #[error("it is of version {0}, not {VERSION}")]
    Version(u32),
    /// It was not written to its end, or has changed since.
    #[error("it is damaged")]
    Damaged,
    /// Its blocks have another size than those of this router.
    #[error("its blocks are of {0}, not {1} (scheduler.cache-block-size)")]
    BlockSize(u32, usize),
    /// Prompts had other hashes.
    #[error("its hashes are made in another way")]
    Hashes,
}

/// What stands behind the edges.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) clock: u64,
    pub(super) wall: u64,
    pub(super) workers: Vec<WorkerImage>,
    pub(super) scales: Vec<(u64, f64)>,
}

#[derive(Debug)]
pub(super) struct WorkerImage {
    pub(super) url: String,
    pub(super) slot: u16,
    pub(super) learned: Learned,
    pub(super) history: History,
}

/// A snapshot that was read.
pub(super) struct Image<'a> {
    /// From the one recorded longest ago.
    pub(super) edges: Vec<EdgeImage<'a>>,
    pub(super) tail: Tail,
}

/// The sum at the end, as it grows.
#[derive(Default)]
pub(super) struct Sum(Box<Xxh3>);

impl std::fmt::Debug for Sum {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Sum")
    }
}

impl Sum {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn end(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.0.digest().to_le_bytes());
    }
}

/// The hash of a prompt that never changes, in blocks of this size: the same as long as hashes are made in the same way.
fn probe(block_size: usize) -> u64 {
    let text = vec![b'f'; block_size];
    let chain = Chain::new(Some("probe"), block_size).end_with_text(&text);
    chain.hashes().first().copied().unwrap_or(0)
}

pub(super) fn head(block_size: usize, bytes: &mut Vec<u8>) {
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((block_size as u32).to_le_bytes());
    bytes.extend(probe(block_size).to_le_bytes());
}

/// Writes the end of the edges and what follows, but for the sum.
pub(super) fn tail(tail: &Tail, bytes: &mut Vec<u8>) {
    bytes.push(0);
    bytes.extend(tail.clock.to_le_bytes());
    bytes.extend(tail.wall.to_le_bytes());
    bytes.extend((tail.workers.len() as u16).to_le_bytes());
    for worker in &tail.workers {
        bytes.extend((worker.url.len() as u16).to_le_bytes());
        bytes.extend(worker.url.as_bytes());
        bytes.extend(worker.slot.to_le_bytes());
        let Learned {
            capacity,
            told,
            pace: (tokens, millis),
            started,
        } = worker.learned;
        let known = [capacity, told, Some(tokens), Some(millis), started];
        for value in known {
            bytes.extend(value.unwrap_or(0.0).to_le_bytes());
        }
        for tokens in worker.history {
            bytes.extend(tokens.to_le_bytes());
        }
    }
    bytes.extend((tail.scales.len() as u16).to_le_bytes());
    for (model, scale) in &tail.scales {
        bytes.extend(model.to_le_bytes());
        bytes.extend(scale.to_le_bytes());
    }
}

/// Reads a snapshot for a scheduler with blocks of this size.
pub(super) fn read(bytes: &[u8], block_size: usize) -> Result<Image<'_>, RestoreError> {
    let mut head = Reader(bytes);
    if head.array() != Some(MAGIC) {
        return Err(RestoreError::NoSnapshot);
    }
    let version = head.u32().ok_or(RestoreError::Damaged)?;
    if version != VERSION {
        return Err(RestoreError::Version(version));
    }
    let (body, sum) = bytes.split_last_chunk().ok_or(RestoreError::Damaged)?;
    if u64::from_le_bytes(*sum) != xxh3_64(body) {
        return Err(RestoreError::Damaged);
    }
    let mut rest = Reader(&body[MAGIC.len() + size_of::<u32>()..]);
    let size = rest.u32().ok_or(RestoreError::Damaged)?;
    if u32::try_from(block_size) != Ok(size) {
        return Err(RestoreError::BlockSize(size, block_size));
    }
    if rest.u64() != Some(probe(block_size)) {
        return Err(RestoreError::Hashes);
    }
    rest.image().ok_or(RestoreError::Damaged)
}

/// Takes pieces off the front. None where there is too little left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn f64(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes)
    }

    fn image(&mut self) -> Option<Image<'a>> {
        let mut edges = Vec::new();
        while let Some(edge) = self.edge()? {
            edges.push(edge);
        }
        let clock = self.u64().filter(|clock| *clock < LATEST)?;
        let wall = self.u64()?;
        let count = usize::from(self.u16()?);
        let workers = (0..count.min(Slot::LIMIT)).map(|_| self.worker());
        let workers = workers.collect::<Option<_>>()?;
        let count = self.u16()?;
        let scales = (0..count).map(|_| Some((self.u64()?, self.f64()?)));
        let scales = scales.collect::<Option<_>>()?;
        let tail = Tail {
            clock,
            wall,
            workers,
            scales,
        };
        self.0.is_empty().then_some(Image { edges, tail })
    }

    /// Some(None) is the end of the edges.
    #[expect(clippy::option_option, reason = "an end is no want of bytes")]
    fn edge(&mut self) -> Option<Option<EdgeImage<'a>>> {
        let [blocks] = self.array()?;
        if blocks == 0 {
            return Some(None);
        }
        let holders = usize::from(self.u16()?);
        Some(Some(EdgeImage {
            stamp: self.u64()?,
            holders: self.take(3 * holders)?,
            hashes: self.take(8 * usize::from(blocks))?,
        }))
    }

    fn worker(&mut self) -> Option<WorkerImage> {
        let length = self.u16()?;
        let url = std::str::from_utf8(self.take(length.into())?).ok()?;
        let slot = self.u16()?;
        let mut known = [0.0; 5];
        for value in &mut known {
            *value = self.f64()?;
        }
        let [capacity, told, tokens, millis, started] = known;
        let mut history: History = [0.0; 80];
        for tokens in &mut history {
            let read = f32::from_le_bytes(self.array()?);
            *tokens = if read.is_finite() { read } else { 0.0 };
        }
        let learned = Learned {
            capacity: Some(capacity),
            told: Some(told),
            pace: (tokens, millis),
            started: Some(started),
        };
        Some(WorkerImage {
            url: url.to_owned(),
            slot,
            learned: learned.checked(),
            history,
        })
    }
}
