//! JSON strings: finding their end fast, and unescaping them.

use std::borrow::Cow;

/// A string as it stands in the body, between its quotes; its escapes are known to be well formed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw<'a> {
    pub(super) text: &'a str,
    pub(super) escaped: bool,
}

impl<'a> Raw<'a> {
    pub(super) fn unescaped(&self) -> Cow<'a, str> {
        if !self.escaped {
            return Cow::Borrowed(self.text);
        }
        let mut text = String::with_capacity(self.text.len());
        self.unescape_into(&mut text);
        Cow::Owned(text)
    }

    pub(super) fn unescape_into(&self, out: &mut String) {
        out.reserve(self.text.len());
        let mut rest = self.text;
        while let Some((plain, escape)) = split_plain(rest) {
            out.push_str(plain);
            rest = push_escape(escape, out);
        }
        out.push_str(rest);
    }
}

/// Text up to its first escape, and what follows that escape's backslash; None where there is no escape.
fn split_plain(text: &str) -> Option<(&str, &str)> {
    let plain = plain_run(text.as_bytes());
    (plain < text.len()).then(|| (&text[..plain], &text[plain + 1..]))
}

/// Bytes before the next one that ends a run of plain text: a quote, a backslash or a control character.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    // Escapes often stand close together, in text that a client sends as pure ASCII: look at a few bytes first.
    match word_run(bytes, 2) {
        (at, false) => at + long_run(&bytes[at..]),
        (at, true) => at,
    }
}

fn long_run(bytes: &[u8]) -> usize {
    // A lane-wise test without early exit, which compilers turn into vector instructions.
    const LANES: usize = 32;
    let clean = |lanes: &&[u8]| {
        lanes
            .iter()
            .fold(0, |hit, &byte| hit | u8::from(ends_run(byte)))
            == 0
    };
    let at = bytes.chunks_exact(LANES).take_while(clean).count() * LANES;
    match word_run(&bytes[at..], LANES / 8) {
        (run, true) => at + run,
        (run, false) => {
            let rest = &bytes[at + run..];
            let end = rest.iter().position(|&byte| ends_run(byte));
            at + run + end.unwrap_or(rest.len())
        }
    }
}

/// The run within at most `words` words of eight bytes, and whether its end was found there.
fn word_run(bytes: &[u8], words: usize) -> (usize, bool) {
    let mut at = 0;
    for word in bytes.as_chunks::<8>().0.iter().take(words) {
        let ends = ends_in(u64::from_le_bytes(*word));
        if ends != 0 {
            return (at + ends.trailing_zeros() as usize / 8, true);
        }
        at += word.len();
    }
    (at, false)
}

#[expect(
    clippy::needless_bitwise_bool,
    reason = "a branch would keep compilers from using vector instructions"
)]
const fn ends_run(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// Of eight bytes, the high bits of those that end a run; bits above the lowest one set may be wrong.
const fn ends_in(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let hits = (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (word.wrapping_sub(ONES * 0x20) & !word);
    hits & HIGH
}

/// Bytes of the escape that starts `bytes` with its backslash; None if it is malformed or cut short.
pub(super) fn escape_size(bytes: &[u8]) -> Option<usize> {
    match bytes.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => bytes
            .get(2..6)?
            .iter()
            .all(u8::is_ascii_hexdigit)
            .then_some(6),
        _ => None,
    }
}

/// Pushes the character of one escape; `rest` starts after its backslash. Returns what follows the escape.
fn push_escape<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let simple = match rest.as_bytes().first() {
        Some(b'u') => return push_unicode(&rest[1..], out),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(&other) => char::from(other),
        None => return rest,
    };
    out.push(simple);
    &rest[1..]
}

/// Pushes the character of `XXXX` or, for a pair of surrogates, of `XXXX\uXXXX`.
fn push_unicode<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let (unit, after) = code_unit(rest);
    if let (0xD800..0xDC00, Some(second)) = (unit, after.strip_prefix("\\u")) {
        let (low, after_pair) = code_unit(second);
        if (0xDC00..0xE000).contains(&low) {
            let joined = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            out.push(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
            return after_pair;
        }
    }
    out.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
    after
}

/// The value of the four hexadecimal digits that start `rest`, and what follows them.
fn code_unit(rest: &str) -> (u32, &str) {
    let (digits, after) = rest.split_at(4);
    let unit = digits
        .bytes()
        .fold(0, |unit, digit| unit << 4 | hex_value(digit));
    (unit, after)
}

/// The value of a hexadecimal digit: letters have bit 6 set and count from 1 in their low bits.
const fn hex_value(digit: u8) -> u32 {
    (digit & 0xF) as u32 + 9 * (digit >> 6) as u32
}
