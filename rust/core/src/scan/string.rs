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
        let mut rest = self.text;
        while let Some(plain) = rest.find('\\') {
            out.push_str(&rest[..plain]);
            rest = push_escape(&rest[plain + 1..], out);
        }
        out.push_str(rest);
    }
}

/// Bytes before the next one that ends a run of plain text: a quote, a backslash or a control character.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    // A lane-wise test without early exit, which compilers turn into vector instructions.
    const LANES: usize = 32;
    let whole = bytes
        .chunks_exact(LANES)
        .take_while(|lanes| {
            lanes
                .iter()
                .fold(0, |hit, &byte| hit | u8::from(ends_run(byte)))
                == 0
        })
        .count()
        * LANES;
    let rest = &bytes[whole..];
    whole
        + rest
            .iter()
            .position(|&byte| ends_run(byte))
            .unwrap_or(rest.len())
}

#[expect(
    clippy::needless_bitwise_bool,
    reason = "a branch would keep compilers from using vector instructions"
)]
const fn ends_run(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
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

fn code_unit(rest: &str) -> (u32, &str) {
    let (digits, after) = rest.split_at(4);
    let unit = digits
        .bytes()
        .filter_map(|digit| char::from(digit).to_digit(16))
        .fold(0, |unit, digit| unit * 16 + digit);
    (unit, after)
}
