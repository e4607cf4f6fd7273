//! Batches as bytes, little-endian.
//!
//! A batch begins with [`MAGIC`] and the block size (u32). Items follow, each with a byte of its kind:
//!
//! | kind | what follows |
//! |---|---|
//! | 0, a worker's name, by its place from 0 on | u16 bytes, the url |
//! | 1, a chain from its first block | u16 worker, f32 tokens, f32 uncached, u32 blocks, u64 each |
//! | 2, a chain after a block | u64 that block, and the same |
//! | 3, a chain taken back | u16 worker, u64 its last block, u32 blocks that stay, f32 uncached |
//! | 4, a worker's prefixes are forgotten | u16 worker |
//!
//! Whatever else the bytes are is no batch, or its end: nothing after the first thing that is wrong is read.

use std::borrow::Cow;

use super::Given;

/// What a batch begins with; the last is the version.
const MAGIC: [u8; 4] = *b"fdp1";

const NAME: u8 = 0;
const WHOLE: u8 = 1;
const AFTER: u8 = 2;
const TAKEN_BACK: u8 = 3;
const FORGOTTEN: u8 = 4;

/// Tokens of a prompt that are believed.
const MOST_TOKENS: f32 = 1e9;

/// The beginning of a batch.
pub(crate) struct Start;

impl Start {
    pub(crate) fn bytes(block_size: usize) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend((block_size as u32).to_le_bytes());
        bytes
    }
}

/// One item of a batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item<'a> {
    Name(&'a str),
    Recorded {
        worker: u16,
        parent: Option<u64>,
        tokens: f32,
        uncached: f32,
        hashes: Cow<'a, [u64]>,
    },
    TakenBack {
        worker: u16,
        last: u64,
        stay: u32,
        uncached: f32,
    },
    Forgotten {
        worker: u16,
    },
}

impl<'a> Item<'a> {
    /// A chain of which others know so many blocks.
    pub(crate) fn recorded(worker: u16, given: &'a Given, known: usize) -> Self {
        Self::Recorded {
            worker,
            parent: known.checked_sub(1).map(|last| given.hashes[last]),
            tokens: given.tokens as f32,
            uncached: given.uncached as f32,
            hashes: Cow::Borrowed(&given.hashes[known..]),
        }
    }

    /// Appends it.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Name(url) => {
                bytes.push(NAME);
                bytes.extend((url.len() as u16).to_le_bytes());
                bytes.extend(url.as_bytes());
            }
            Self::Recorded {
                worker,
                parent,
                tokens,
                uncached,
                hashes,
            } => {
                match parent {
                    None => bytes.push(WHOLE),
                    Some(parent) => {
                        bytes.push(AFTER);
                        bytes.extend(parent.to_le_bytes());
                    }
                }
                bytes.extend(worker.to_le_bytes());
                bytes.extend(tokens.to_le_bytes());
                bytes.extend(uncached.to_le_bytes());
                bytes.extend((hashes.len() as u32).to_le_bytes());
                bytes.extend(hashes.iter().flat_map(|hash| hash.to_le_bytes()));
            }
            Self::TakenBack {
                worker,
                last,
                stay,
                uncached,
            } => {
                bytes.push(TAKEN_BACK);
                bytes.extend(worker.to_le_bytes());
                bytes.extend(last.to_le_bytes());
                bytes.extend(stay.to_le_bytes());
                bytes.extend(uncached.to_le_bytes());
            }
            Self::Forgotten { worker } => {
                bytes.push(FORGOTTEN);
                bytes.extend(worker.to_le_bytes());
            }
        }
    }
}

/// The items of a batch; an error is the last.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

/// The bytes are no batch, or one of another version or block size, or break off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bad;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], block_size: usize) -> Result<Self, Bad> {
        let start = Start::bytes(block_size);
        let rest = bytes.strip_prefix(&*start).ok_or(Bad)?;
        Ok(Self { rest })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Bad)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Bad> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Bad)?;
        self.rest = rest;
        Ok(taken)
    }

    fn worker(&mut self) -> Result<u16, Bad> {
        self.take().map(u16::from_le_bytes)
    }

    fn hash(&mut self) -> Result<u64, Bad> {
        self.take().map(u64::from_le_bytes)
    }

    fn count(&mut self) -> Result<u32, Bad> {
        self.take().map(u32::from_le_bytes)
    }

    fn tokens(&mut self) -> Result<f32, Bad> {
        let tokens = self.take().map(f32::from_le_bytes)?;
        (0.0..=MOST_TOKENS)
            .contains(&tokens)
            .then_some(tokens)
            .ok_or(Bad)
    }

    fn item(&mut self) -> Result<Item<'a>, Bad> {
        let [kind] = self.take()?;
        match kind {
            NAME => {
                let count = self.worker()?;
                let name = self.bytes(count.into())?;
                std::str::from_utf8(name).map(Item::Name).map_err(|_| Bad)
            }
            WHOLE => self.recorded(None),
            AFTER => {
                let parent = self.hash()?;
                self.recorded(Some(parent))
            }
            TAKEN_BACK => Ok(Item::TakenBack {
                worker: self.worker()?,
                last: self.hash()?,
                stay: self.count()?,
                uncached: self.tokens()?,
            }),
            FORGOTTEN => Ok(Item::Forgotten {
                worker: self.worker()?,
            }),
            _ => Err(Bad),
        }
    }

    fn recorded(&mut self, parent: Option<u64>) -> Result<Item<'a>, Bad> {
        let (worker, tokens, uncached) = (self.worker()?, self.tokens()?, self.tokens()?);
        let count = self.count()? as usize;
        let hashes = self.bytes(count.checked_mul(size_of::<u64>()).ok_or(Bad)?)?;
        let (hashes, _) = hashes.as_chunks();
        Ok(Item::Recorded {
            worker,
            parent,
            tokens,
            uncached,
            hashes: hashes
                .iter()
                .map(|hash| u64::from_le_bytes(*hash))
                .collect(),
        })
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Item<'a>, Bad>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = self.item();
        if item.is_err() {
            self.rest = &[];
        }
        Some(item)
    }
}
