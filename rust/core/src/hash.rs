//! Block hashes: a prompt as a chain of 64-bit numbers, one per whole block.
//!
//! Each hash covers its block and, through its seed, every block before it, so one equal hash means an equal prefix.
//! The numbers depend on nothing but the input: the same prompt has the same chain on every machine.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Seeds of the two chains, so that characters and token ids never meet.
const TEXT_SEED: u64 = 0x6664_7465_7874_0001;
const TOKEN_SEED: u64 = 0x6664_746F_6B65_0001;

/// A prompt as a chain: the hash of each block, and how many tokens an engine is likely to make of it.
///
/// Tokens are estimated by script, in quarters: an ASCII character is one quarter of a token, one of Chinese, Japanese
/// or Korean a whole one, any other a half; a token id is a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefix {
    hashes: Vec<u64>,
    /// Quarters of all blocks up to and with each.
    quarters: Vec<u32>,
    /// Quarters of the whole prompt, with the rest that is shorter than a block.
    total: u32,
    /// See [`Prefix::lot`].
    lot: Option<u64>,
}

impl Prefix {
    /// A prompt of known blocks: `hashes` are a chain, each of `block` tokens, `total` tokens in all.
    pub fn of_blocks(hashes: Vec<u64>, block: u32, total: u32) -> Self {
        let total = total.saturating_mul(4);
        let reach = |count: usize| (4 * block).saturating_mul(count as u32).min(total);
        let quarters = (1..=hashes.len()).map(reach).collect();
        Self {
            hashes,
            quarters,
            total,
            lot: None,
        }
    }

    /// A prompt of known blocks: a chain of hashes with the quarter tokens of each, `total` in all.
    pub fn of_parts(blocks: impl Iterator<Item = (u64, u32)>, total: u32) -> Self {
        let mut reach = 0_u32;
        let (hashes, quarters) = blocks
            .map(|(hash, quarters)| {
                reach = reach.saturating_add(quarters);
                (hash, reach)
            })
            .unzip();
        Self {
            hashes,
            quarters,
            total,
            lot: None,
        }
    }

    /// The hash of each block, and the quarter tokens that it adds.
    pub fn parts(&self) -> impl Iterator<Item = (u64, u32)> {
        let before = std::iter::once(0).chain(self.quarters.iter().copied());
        let own = self.quarters.iter().zip(before);
        let own = own.map(|(reach, before)| reach - before);
        self.hashes.iter().copied().zip(own)
    }

    /// Quarter tokens of the whole prompt.
    pub const fn quarters(&self) -> u32 {
        self.total
    }

    /// Sets what is drawn by where workers are equal.
    #[must_use]
    pub const fn with_lot(mut self, lot: u64) -> Self {
        self.lot = Some(lot);
        self
    }

    /// What is drawn by where workers are equal: the first hash unless it was set, 0 without one.
    pub fn lot(&self) -> u64 {
        let first = || self.hashes.first().copied();
        self.lot.or_else(first).unwrap_or(0)
    }

    /// The hash of each block.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Blocks.
    pub const fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there is no whole block.
    pub const fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Tokens of the whole prompt.
    pub fn tokens(&self) -> f64 {
        f64::from(self.total) / 4.0
    }

    /// Tokens of the first `blocks` blocks.
    pub fn tokens_of(&self, blocks: usize) -> f64 {
        let quarters = blocks
            .checked_sub(1)
            .and_then(|last| self.quarters.get(last).or_else(|| self.quarters.last()));
        f64::from(quarters.copied().unwrap_or(0)) / 4.0
    }
}

/// Makes a chain, piece by piece: what a chat template renders first comes first.
#[derive(Debug)]
pub struct Chain {
    block_size: usize,
    previous: u64,
    prefix: Prefix,
}

impl Chain {
    /// An empty chain in blocks of `block_size` (at least 1) code points or token ids. Prompts of different models
    /// share no block.
    pub fn new(model: Option<&str>, block_size: usize) -> Self {
        Self {
            block_size,
            previous: model.map_or(TEXT_SEED, |model| of_name(model, TEXT_SEED)),
            prefix: Prefix::default(),
        }
    }

    /// Appends a piece of text, which is UTF-8, of which a rest shorter than a block is a block too.
    #[must_use]
    pub fn whole_text(mut self, text: &[u8]) -> Self {
        let rest = self.blocks_of(text);
        if !rest.is_empty() {
            self.push(rest, quarters_of(rest));
        }
        self
    }

    /// Ends the chain with text, which is UTF-8; a rest shorter than a block has no hash.
    pub fn end_with_text(mut self, text: &[u8]) -> Prefix {
        let rest = self.blocks_of(text);
        self.prefix.total += quarters_of(rest);
        self.prefix
    }

    /// Ends the chain with token ids; a rest shorter than a block has no hash.
    pub fn end_with_ids(mut self, ids: impl ExactSizeIterator<Item = i64>) -> Prefix {
        // Characters and token ids never meet.
        self.previous ^= TEXT_SEED ^ TOKEN_SEED;
        let total = 4 * ids.len() as u32;
        let before = self.prefix.total;
        let mut bytes = Vec::with_capacity(self.block_size.min(ids.len()) * size_of::<i64>());
        for id in ids {
            bytes.extend_from_slice(&id.to_le_bytes());
            if bytes.len() == self.block_size * size_of::<i64>() {
                self.push(&bytes, 4 * self.block_size as u32);
                bytes.clear();
            }
        }
        self.prefix.total = before + total;
        self.prefix
    }

    /// Appends the whole blocks of `text`. Returns the rest.
    fn blocks_of<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let count = text.len() / self.block_size;
        self.prefix.hashes.reserve(count);
        self.prefix.quarters.reserve(count);
        let mut rest = text;
        while let Some(size) = run_bytes(rest, self.block_size) {
            let (block, after) = rest.split_at(size);
            // One byte a character is ASCII.
            let ascii = size == self.block_size;
            let quarters = if ascii {
                size as u32
            } else {
                quarters_of(block)
            };
            self.push(block, quarters);
            rest = after;
        }
        rest
    }

    fn push(&mut self, block: &[u8], quarters: u32) {
        self.previous = xxh3_64_with_seed(block, self.previous);
        self.prefix.hashes.push(self.previous);
        self.prefix.total += quarters;
        self.prefix.quarters.push(self.prefix.total);
    }
}

/// Quarter tokens of UTF-8 text, by the first bytes of its characters.
fn quarters_of(text: &[u8]) -> u32 {
    let quarters = |byte: &u8| match *byte {
        0x00..0x80 => 1,
        0x80..0xC0 => 0,
        0xC0..0xE3 => 2,
        0xE3.. => 4,
    };
    text.iter().map(quarters).sum()
}

/// A session or a url as one number, for tables that need not keep the text.
pub(crate) fn of_name(name: &str, seed: u64) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), seed)
}

/// Bytes of the first `count` code points of UTF-8 text; None when there are fewer.
fn run_bytes(bytes: &[u8], count: usize) -> Option<usize> {
    if bytes.get(..count)?.is_ascii() {
        return Some(count);
    }
    let (mut at, mut seen) = (0, 0);
    while let Some(&word) = bytes[at..].first_chunk::<8>() {
        let starts = starts_in(u64::from_le_bytes(word));
        if seen + starts > count {
            break;
        }
        seen += starts;
        at += word.len();
    }
    for &byte in &bytes[at..] {
        if is_start(byte) {
            if seen == count {
                return Some(at);
            }
            seen += 1;
        }
        at += 1;
    }
    (seen == count).then_some(at)
}

/// Whether a byte of UTF-8 starts a code point.
const fn is_start(byte: u8) -> bool {
    byte & 0xC0 != 0x80
}

/// Of eight bytes of UTF-8, how many start a code point.
const fn starts_in(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let starts = (!(word >> 7) | (word >> 6)) & ONES;
    (starts.wrapping_mul(ONES) >> 56) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str, block_size: usize) -> Prefix {
        Chain::new(None, block_size).end_with_text(text.as_bytes())
    }

    fn ids(ids: &[i64], block_size: usize) -> Prefix {
        Chain::new(None, block_size).end_with_ids(ids.iter().copied())
    }

    #[test]
    fn the_chain_is_the_same_on_every_machine() {
        assert_eq!(
            text("abcdefgh", 4).hashes(),
            [14_766_543_338_228_643_748, 6_737_726_933_115_671_108]
        );
        assert_eq!(
            ids(&[1, 2, 3, 4, 5], 4).hashes(),
            [17_860_870_157_412_503_389]
        );
    }

    #[test]
    fn blocks_are_code_points_not_bytes() {
        let many = "aé漢😀".repeat(5);
        assert_eq!(text(&many, 4).len(), 5);
        assert_eq!(text(&many, 20).len(), 1);
        assert_eq!(text(&many, 21).len(), 0);
    }

    #[test]
    fn only_whole_blocks_count() {
        assert!(text("abc", 4).is_empty());
        assert!(ids(&[], 4).is_empty());
        assert_eq!(text("abcdefg", 4).hashes(), text("abcd", 4).hashes());
    }

    #[test]
    fn a_hash_covers_everything_before_it() {
        assert_ne!(
            text("aaaabbbb", 4).hashes()[1],
            text("ccccbbbb", 4).hashes()[1]
        );
        assert_ne!(text("bbbb", 4).hashes()[0], text("aaaabbbb", 4).hashes()[1]);
        let chain = |model, tools: &str| {
            let chain = Chain::new(model, 4).whole_text(tools.as_bytes());
            chain.end_with_text(b"abcdefgh").hashes().to_vec()
        };
        let other = chain(None, "tools");
        assert_eq!(other.len(), 4, "the rest of the tools is a block");
        for first in other {
            assert!(!chain(None, "").contains(&first));
        }
        assert_ne!(chain(Some("m"), ""), chain(None, ""));
        assert_ne!(chain(Some("m"), ""), chain(Some("n"), ""));
    }

    proptest! {
        #[test]
        fn two_texts_share_the_blocks_that_they_begin_with_alike(
            shared in ".{0,40}", one in ".{0,40}", two in ".{0,40}", block_size in 1_usize..9
        ) {
            let (one, two) = (shared.clone() + &one, shared + &two);
            let points = |whole: &str| whole.chars().collect::<Vec<_>>();
            let (first, second) = (points(&one), points(&two));
            let alike = first.iter().zip(&second).take_while(|(a, b)| a == b).count();
            let (left, right) = (text(&one, block_size), text(&two, block_size));
            prop_assert_eq!(left.len(), first.len() / block_size);
            prop_assert_eq!(right.len(), second.len() / block_size);
            let equal = left.hashes().iter().zip(right.hashes()).take_while(|(a, b)| a == b);
            prop_assert_eq!(equal.count(), alike / block_size);
            prop_assert!(left.tokens_of(left.len()) <= left.tokens());
        }

        #[test]
        fn two_lists_of_ids_too(
            shared in prop::collection::vec(any::<i64>(), 0..20),
            one in prop::collection::vec(0_i64..3, 0..20),
            two in prop::collection::vec(0_i64..3, 0..20),
            block_size in 1_usize..9
        ) {
            let (one, two) = ([&shared[..], &one].concat(), [&shared[..], &two].concat());
            let alike = one.iter().zip(&two).take_while(|(a, b)| a == b).count();
            let (left, right) = (ids(&one, block_size), ids(&two, block_size));
            prop_assert_eq!(left.len(), one.len() / block_size);
            let equal = left.hashes().iter().zip(right.hashes()).take_while(|(a, b)| a == b);
            prop_assert_eq!(equal.count(), alike / block_size);
        }
    }

    #[test]
    fn characters_and_tokens_never_meet() {
        let token = i64::from_le_bytes(*b"abcdefgh");
        assert_ne!(text("abcdefgh", 8).hashes(), ids(&[token], 1).hashes());
    }

    #[test]
    fn tokens_are_estimated_by_script() {
        assert!((text("abcdefgh", 4).tokens() - 2.0).abs() < f64::EPSILON);
        let mixed = text("abcd漢字仮名ééé", 4);
        assert!((mixed.tokens_of(0)).abs() < f64::EPSILON);
        assert!((mixed.tokens_of(1) - 1.0).abs() < f64::EPSILON);
        assert!((mixed.tokens_of(2) - 5.0).abs() < f64::EPSILON);
        assert!((mixed.tokens_of(9) - 5.0).abs() < f64::EPSILON);
        assert!((mixed.tokens() - 6.5).abs() < f64::EPSILON);
        assert!((ids(&[1, 2, 3], 2).tokens() - 3.0).abs() < f64::EPSILON);
        assert!((ids(&[1, 2, 3], 2).tokens_of(1) - 2.0).abs() < f64::EPSILON);
        let known = Prefix::of_blocks(vec![1, 2], 512, 700);
        assert!((known.tokens_of(1) - 512.0).abs() < f64::EPSILON);
        assert!((known.tokens_of(2) - 700.0).abs() < f64::EPSILON);
    }
}
