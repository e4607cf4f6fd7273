//! How a line looks: upstream's text, or the same facts as one JSON object.

/// Bytes of a message; what is longer is cut. A policy's explanation with 1,000 workers has 70,000.
pub const MAX_MESSAGE: usize = 262_144;

/// One of the two layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Prefix, tags and message as they are.
    Text,
    /// One ASCII-only object: the prefix holds its first members and is not closed.
    Json,
}

impl Layout {
    /// Appends a line with its end. `tags` are ids, each `[name:value] ` without brackets in the value.
    pub fn append(self, line: &mut Vec<u8>, prefix: &str, tags: &str, message: &str) {
        let message = &message[..message.floor_char_boundary(MAX_MESSAGE)];
        line.extend_from_slice(prefix.as_bytes());
        match self {
            Self::Text => {
                line.extend_from_slice(tags.as_bytes());
                line.extend_from_slice(message.as_bytes());
            }
            Self::Json => {
                append_members(line, tags);
                line.extend_from_slice(b",\"message\":");
                append_string(line, message);
                line.push(b'}');
            }
        }
        line.push(b'\n');
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
        append_string(line, value);
        tags = rest;
    }
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
        let mut line = Vec::new();
        layout.append(&mut line, prefix, tags, message);
        String::from_utf8(line).unwrap()
    }

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
            line(
                Layout::Json,
                "{\"level\":\"INFO\"",
                "[a:1] [b:x:y] ",
                "q\"\\\n\u{7f}中😀"
            ),
            "{\"level\":\"INFO\",\"a\":\"1\",\"b\":\"x:y\",\
             \"message\":\"q\\\"\\\\\\n\\u007f\\u4e2d\\ud83d\\ude00\"}\n"
        );
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
