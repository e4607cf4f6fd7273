//! Block hashes: a prompt as a chain of 64-bit numbers, one per whole block.
//!
//! Each hash covers its block and, through its seed, every block before it, so one equal hash means an equal prefix.
//! The numbers depend on nothing but the input: the same prompt has the same chain on every machine.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Seeds of the two chains, so that characters and token ids never meet.
const TEXT_SEED: u64 = 0x6664_7465_7874_0001;
const TOKEN_SEED: u64 = 0x6664_746F_6B65_0001;

/// The chain of `text`, which is UTF-8, with runs of `block_size` Unicode code points as blocks.
///
/// A rest shorter than a block has no hash. `block_size` is at least 1.
pub fn of_text(text: &[u8], block_size: usize) -> Vec<u64> {
    let mut hashes = Vec::with_capacity(text.len() / block_size);
    let mut previous = TEXT_SEED;
    let mut rest = text;
    while let Some(size) = run_bytes(rest, block_size) {
        let (block, after) = rest.split_at(size);
        previous = xxh3_64_with_seed(block, previous);
        hashes.push(previous);
        rest = after;
    }
    hashes
}

/// The chain of token ids in blocks of `block_size`.
pub fn of_tokens(tokens: &[i64], block_size: usize) -> Vec<u64> {
    let mut previous = TOKEN_SEED;
    let mut bytes = Vec::with_capacity(block_size * size_of::<i64>());
    let chain = tokens.chunks_exact(block_size).map(|block| {
        bytes.clear();
        bytes.extend(block.iter().flat_map(|token| token.to_le_bytes()));
        previous = xxh3_64_with_seed(&bytes, previous);
        previous
    });
    chain.collect()
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
    use super::*;

    #[test]
    fn the_chain_is_the_same_on_every_machine() {
        assert_eq!(
            of_text(b"abcdefgh", 4),
            [14_766_543_338_228_643_748, 6_737_726_933_115_671_108]
        );
        assert_eq!(of_tokens(&[1, 2, 3, 4, 5], 4), [17_860_870_157_412_503_389]);
    }

    #[test]
    fn blocks_are_code_points_not_bytes() {
        let text = "aé漢😀".repeat(5);
        assert_eq!(of_text(text.as_bytes(), 4).len(), 5);
        assert_eq!(of_text(text.as_bytes(), 20).len(), 1);
        assert_eq!(of_text(text.as_bytes(), 21).len(), 0);
    }

    #[test]
    fn only_whole_blocks_count() {
        assert!(of_text(b"abc", 4).is_empty());
        assert!(of_tokens(&[], 4).is_empty());
        assert_eq!(of_text(b"abcdefg", 4), of_text(b"abcd", 4));
    }

    #[test]
    fn a_hash_covers_everything_before_it() {
        let one = of_text(b"aaaabbbb", 4);
        let two = of_text(b"ccccbbbb", 4);
        assert_ne!(one[1], two[1]);
        assert_ne!(of_text(b"bbbb", 4)[0], one[1]);
    }

    #[test]
    fn characters_and_tokens_never_meet() {
        let token = i64::from_le_bytes(*b"abcdefgh");
        assert_ne!(of_text(b"abcdefgh", 8), of_tokens(&[token], 1));
    }
}
