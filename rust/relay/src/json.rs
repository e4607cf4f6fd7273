//! As much of a JSON reader as the end of an answer needs: the members of an object that stands in other text.
//!
//! Nothing is checked that need not be: who reads here has seen the object's name, and wants a few numbers of it.

/// Calls `each` with name and value, both as they are written, of each member of the object that `text` begins with.
///
/// None where there is no object, or not all of it. Names are without their quotes, escapes stay.
pub(crate) fn members<'a>(text: &'a [u8], mut each: impl FnMut(&'a [u8], &'a [u8])) -> Option<()> {
    let mut rest = after(text, b'{')?;
    if after(rest, b'}').is_some() {
        return Some(());
    }
    loop {
        let (name, behind) = value(rest)?;
        let (value, behind) = value(after(behind, b':')?)?;
        each(name.strip_prefix(b"\"")?.strip_suffix(b"\"")?, value);
        match after(behind, b',') {
            Some(next) => rest = next,
            None => return after(behind, b'}').map(drop),
        }
    }
}

/// What a value says that is a whole number from 0 to 2^64 - 1; None for any other.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    let digits = value.first()?.is_ascii_digit();
    digits
        .then(|| str::from_utf8(value).ok()?.parse().ok())
        .flatten()
}

/// What follows `mark`, which may have space before it.
pub(crate) fn after(text: &[u8], mark: u8) -> Option<&[u8]> {
    text.trim_ascii_start().strip_prefix(&[mark])
}

/// The value that `text` begins with, and what follows it.
fn value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start();
    let length = match text.first()? {
        b'"' => string(text)?,
        b'{' | b'[' => nested(text)?,
        _ => text
            .iter()
            .position(|byte| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace())?,
    };
    Some(text.split_at(length))
}

/// Length of the string at the beginning.
fn string(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Length of the object or list at the beginning.
fn nested(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match text.get(at)? {
            b'"' => {
                at += string(&text[at..])?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<(String, String)>> {
        let mut found = Vec::new();
        let owned = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        members(text.as_bytes(), |name, value| {
            found.push((owned(name), owned(value)));
        })
        .map(|()| found)
    }

    #[test]
    fn members_come_in_order_and_as_they_are_written() {
        let text = r#" { "a" : 1 ,"b\"}":"x\\","c":{"d":[{"e":"}]\""}]},"f":[], "g":null}, more"#;
        let expected = [
            ("a", "1"),
            (r#"b\"}"#, r#""x\\""#),
            ("c", r#"{"d":[{"e":"}]\""}]}"#),
            ("f", "[]"),
            ("g", "null"),
        ];
        let found = read(text).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(read("{}"), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_whole_object_is_none() {
        let whole = r#"{"a":{"b":["\"",1]},"c":"d","e":12}"#;
        assert!(read(whole).is_some());
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), None, "{}", &whole[..length]);
        }
        for text in ["null", "[]", r#"{"a"}"#, "{a:1}", "{,}"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn only_whole_numbers_that_fit_are_numbers() {
        for (value, expected) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("+1", None),
            ("-1", None),
            ("1.0", None),
            ("1e3", None),
            ("\"1\"", None),
            ("null", None),
            ("", None),
        ] {
            assert_eq!(number(value.as_bytes()), expected, "{value}");
        }
    }
}
