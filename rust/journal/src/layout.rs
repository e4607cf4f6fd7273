//! How a line looks: upstream's text, or the same facts as one JSON object.

use std::borrow::Cow;

/// Bytes of a message; what is longer is cut. A policy's explanation with 1,000 workers has 70,000.
pub const MAX_MESSAGE: usize = 262_144;

/// What is known of a line beside its message, where text has it in its words: a name and a value.
pub type Fact<'a> = (Cow<'a, str>, Value<'a>);

/// A fact's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Any text.
    Text(Cow<'a, str>),
    /// A count.
    Whole(i64),
    /// Seconds, or another quantity; null where it is not finite.
    Number(f64),
}

/// A fact with a name of ours that is text.
pub const fn text<'a>(name: &'a str, value: &'a str) -> Fact<'a> {
    (Cow::Borrowed(name), Value::Text(Cow::Borrowed(value)))
}

/// What a line is laid out from.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// What comes first; of JSON all up to its time's fraction.
    pub prefix: &'a str,
    /// Milliseconds of its second; text has none.
    pub millis: u16,
    /// What follows the time's fraction in JSON.
    pub suffix: &'a str,
    /// Ids, each `[name:value] ` without brackets in the value.
    pub tags: &'a str,
    /// The words.
    pub message: &'a str,
    /// What JSON has beside them.
    pub facts: &'a [Fact<'a>],
}

/// One of the two layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Prefix, tags and message as they are.
    Text,
    /// One ASCII-only object: the prefix holds its first members, up to the fraction of its time.
    Json,
}

impl Layout {
    /// Appends a line with its end.
    ///
    /// What could break a line of text is escaped in tags as Python writes it. JSON has an escape of its own, so that
    /// ids are there what the client sent.
    pub fn append(self, out: &mut Vec<u8>, line: &Line<'_>) {
        let message = cut(line.message);
        out.extend_from_slice(line.prefix.as_bytes());
        match self {
            Self::Text => {
                out.extend_from_slice(line.tags.as_bytes());
                out.extend_from_slice(message.as_bytes());
            }
            Self::Json => {
                out.extend_from_slice(format!(".{:03}", line.millis).as_bytes());
                out.extend_from_slice(line.suffix.as_bytes());
                append_members(out, line.tags);
                out.extend_from_slice(b",\"message\":");
                append_string(out, message);
                append_facts(out, line.facts);
                out.push(b'}');
            }
        }
        out.push(b'\n');
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_MESSAGE)]
}

fn append_facts(line: &mut Vec<u8>, facts: &[Fact<'_>]) {
    for (name, value) in facts {
        line.push(b',');
        append_string(line, name);
        line.push(b':');
        match value {
            Value::Text(text) => append_string(line, cut(text)),
            Value::Whole(count) => line.extend_from_slice(count.to_string().as_bytes()),
            Value::Number(number) if number.is_finite() => {
                line.extend_from_slice(format!("{number:.6}").as_bytes());
            }
            Value::Number(_) => line.extend_from_slice(b"null"),
        }
    }
}

/// A message that ends in its time: `. ts_ms=YYYY-MM-DD HH:MM:SS.mmm`, of which `second` is all before the dot.
pub fn stamped(message: &str, second: &str, millis: u16) -> String {
    format!("{message}. ts_ms={second}.{millis:03}")
}

/// Whether a text is one line that anybody can read: printable ASCII, and the sign of microseconds.
pub fn is_plain(text: &str) -> bool {
    // Without a way out of the loop, so that it runs on many bytes at once: nearly every text is plain.
    let ascii = |plain, byte: &u8| plain & matches!(byte, b' '..=b'~');
    text.as_bytes().iter().fold(true, ascii)
        || text.chars().all(|char| matches!(char, ' '..='~' | 'µ'))
}

fn append_members(line: &mut Vec<u8>, mut tags: &str) {
    while let Some((name, rest)) = tags.strip_prefix('[').and_then(|tag| tag.split_once(':'))
        && let Some((value, rest)) = rest.split_once("] ")
    {
        line.push(b',');
        append_string(line, name);
        line.push(b':');
        append_string(line, &unescaped(value));
        tags = rest;
    }
}

/// Text whose escapes are those of Python: `\n`, `\x5d`, `\u2028`, `\U0001f600`. Every backslash begins one.
fn unescaped(text: &str) -> Cow<'_, str> {
    let mut pieces = text.split('\\');
    let first = pieces.next().unwrap_or_default();
    if first.len() == text.len() {
        return Cow::Borrowed(text);
    }
    let mut plain = first.to_owned();
    for piece in pieces {
        let (char, rest) = escape(piece).unwrap_or(('\\', piece));
        plain.push(char);
        plain.push_str(rest);
    }
    Cow::Owned(plain)
}

/// The character that an escape stands for, and what follows it; `text` begins after the backslash.
fn escape(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    let digits = match chars.next()? {
        'n' => return Some(('\n', chars.as_str())),
        'r' => return Some(('\r', chars.as_str())),
        't' => return Some(('\t', chars.as_str())),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return None,
    };
    let (code, rest) = chars.as_str().split_at_checked(digits)?;
    let code = u32::from_str_radix(code, 16).ok()?;
    // Half of a surrogate pair is no character.
    let char = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    Some((char, rest))
}

/// A JSON string of ASCII characters only (RFC 8259, section 7).
fn append_string(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    for char in text.chars() {
        match char {
            '"' | '\\' => line.extend_from_slice(&[b'\\', char as u8]),
            '\n' => line.extend_from_slice(b"\\n"),
            '\r' => line.extend_from_slice(b"\\r"),
            '\t' => line.extend_from_slice(b"\\t"),
            ' '..='~' => line.push(char as u8),
            _ => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    line.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(layout: Layout, prefix: &str, tags: &str, message: &str) -> String {
        with(layout, prefix, tags, message, &[])
    }

    fn with(layout: Layout, prefix: &str, tags: &str, message: &str, facts: &[Fact<'_>]) -> String {
        let mut out = Vec::new();
        let line = Line {
            prefix,
            millis: 7,
            suffix: "Z\"",
            tags,
            message,
            facts,
        };
        layout.append(&mut out, &line);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn facts_stand_behind_the_message_in_json_alone() {
        let facts = [
            text("url", "a\"b"),
            ("count".into(), Value::Whole(-3)),
            ("secs".into(), Value::Number(0.002_798_235)),
            ("never".into(), Value::Number(f64::NAN)),
        ];
        assert_eq!(
            with(Layout::Json, PREFIX, "[a:1] ", "m", &facts),
            "{\"ts\":\"T.007Z\",\"a\":\"1\",\"message\":\"m\",\"url\":\"a\\\"b\",\"count\":-3,\
             \"secs\":0.002798,\"never\":null}\n"
        );
        assert_eq!(
            with(Layout::Text, "p ", "[a:1] ", "m", &facts),
            "p [a:1] m\n"
        );
    }

    const PREFIX: &str = "{\"ts\":\"T";

    #[test]
    fn text_is_joined() {
        assert_eq!(
            line(Layout::Text, "[INFO] ", "[a:1] ", "5µs"),
            "[INFO] [a:1] 5µs\n"
        );
    }

    #[test]
    fn json_holds_tags_and_escapes() {
        assert_eq!(
            line(Layout::Json, PREFIX, "[a:1] [b:x:y] ", "q\"\\\n\u{7f}中😀"),
            "{\"ts\":\"T.007Z\",\"a\":\"1\",\"b\":\"x:y\",\
             \"message\":\"q\\\"\\\\\\n\\u007f\\u4e2d\\ud83d\\ude00\"}\n"
        );
    }

    #[test]
    fn ids_are_escaped_once() {
        for (tag, value) in [
            (r"a\x5db\x5c\x5bc", r"a]b\\[c"),
            (r"1\n2\r3\t4", r"1\n2\r3\t4"),
            (r"\x07\u2028\U000e0001", r"\u0007\u2028\udb40\udc01"),
            (r"\ud800", r"\ufffd"),
            ("\"\u{4e2d}...", r#"\"\u4e2d..."#),
            (r"no escape: \x5, \q\", r"no escape: \\x5, \\q\\"),
        ] {
            let tags = format!("[a:{tag}] [b:2] ");
            assert_eq!(
                line(Layout::Json, PREFIX, &tags, "m"),
                format!("{{\"ts\":\"T.007Z\",\"a\":\"{value}\",\"b\":\"2\",\"message\":\"m\"}}\n")
            );
            assert_eq!(line(Layout::Text, "", &tags, "m"), format!("{tags}m\n"));
        }
    }

    #[test]
    fn a_giant_message_is_cut_between_characters() {
        let message = "a".to_owned() + &"µ".repeat(MAX_MESSAGE);
        let cut = line(Layout::Text, "", "", &message);
        assert_eq!(cut.len(), MAX_MESSAGE - 1 + 1);
        assert!(cut.ends_with("µ\n"));
    }

    #[test]
    fn a_stamp_has_three_decimals() {
        assert_eq!(
            stamped("m", "2026-03-01 12:00:00", 7),
            "m. ts_ms=2026-03-01 12:00:00.007"
        );
    }

    #[test]
    fn what_needs_no_escaping() {
        assert!(is_plain("GET /v1 200 1.5µs ~"));
        for text in ["a\nb", "\x1b[31m", "\x7f", "中", "\u{2028}"] {
            assert!(!is_plain(text));
        }
    }
}
