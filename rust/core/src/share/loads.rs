//! Loads as bytes: what a router has in hand at workers, all of it or what has changed. Little-endian.
//!
//! A message begins with [`MAGIC`], and a byte that is 1 where it has all. Rows follow: u16 bytes and the url, u64 requests,
//! u64 weight, f64 pending, f64 resident tokens. A message is understood as a whole or not at all.

use std::collections::HashMap;
use std::sync::Arc;

use crate::load::Held;

/// What a message begins with; the last is the version.
const MAGIC: [u8; 4] = *b"fdl1";
/// Bytes of a url.
const MAX_URL: usize = 512;
/// Rows of a message.
pub(crate) const MAX_ROWS: usize = 4_096;
/// Figures of a row that are believed lie below.
const TOO_MUCH: u64 = 1 << 53;

/// What this router told last, of those with anything in hand.
#[derive(Debug, Default)]
pub(crate) struct ToldLoads(HashMap<Arc<str>, Held>);

impl ToldLoads {
    /// A message of what is in hand now: all of it, or what is another than before; None where that is nothing.
    pub(crate) fn message<'a>(
        &mut self,
        rows: impl Iterator<Item = (&'a Arc<str>, Held)>,
        whole: bool,
    ) -> Option<Vec<u8>> {
        let mut before = std::mem::take(&mut self.0);
        let mut message = Message::new(whole);
        for (url, held) in rows {
            let told = before.remove(url).unwrap_or_default();
            if (whole && held != Held::default()) || (!whole && held != told) {
                message.push(url, &held);
            }
            if held != Held::default() {
                self.0.insert(Arc::clone(url), held);
            }
        }
        if !whole {
            // They have left.
            for url in before.keys() {
                message.push(url, &Held::default());
            }
        }
        (whole || message.rows > 0).then_some(message.bytes)
    }
}

struct Message {
    bytes: Vec<u8>,
    rows: usize,
}

impl Message {
    fn new(whole: bool) -> Self {
        let mut bytes = MAGIC.to_vec();
        bytes.push(whole.into());
        Self { bytes, rows: 0 }
    }

    fn push(&mut self, url: &str, held: &Held) {
        if url.len() > MAX_URL || self.rows == MAX_ROWS {
            return;
        }
        self.rows += 1;
        self.bytes.extend((url.len() as u16).to_le_bytes());
        self.bytes.extend(url.as_bytes());
        self.bytes.extend(held.running.to_le_bytes());
        self.bytes.extend(held.weight.to_le_bytes());
        self.bytes.extend(held.pending.to_le_bytes());
        self.bytes.extend(held.resident.to_le_bytes());
    }
}

/// Whether a message has all, and its rows; None for bytes that are no message.
pub(crate) fn read(bytes: &[u8]) -> Option<(bool, Vec<(&str, Held)>)> {
    let bytes = bytes.strip_prefix(&MAGIC)?;
    let (&whole, mut rest) = bytes.split_first()?;
    let mut rows = Vec::new();
    while !rest.is_empty() {
        rows.push(row(&mut rest)?);
    }
    (whole <= 1 && rows.len() <= MAX_ROWS).then_some((whole == 1, rows))
}

fn row<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, Held)> {
    let length = usize::from(u16::from_le_bytes(take(rest)?));
    let (url, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    let url = std::str::from_utf8(url).ok()?;
    let held = Held {
        running: count(rest)?,
        weight: count(rest)?,
        pending: tokens(rest)?,
        resident: tokens(rest)?,
    };
    (length <= MAX_URL).then_some((url, held))
}

fn count(rest: &mut &[u8]) -> Option<u64> {
    take(rest)
        .map(u64::from_le_bytes)
        .filter(|count| *count < TOO_MUCH)
}

fn tokens(rest: &mut &[u8]) -> Option<f64> {
    let tokens = take(rest).map(f64::from_le_bytes)?;
    (0.0..TOO_MUCH as f64).contains(&tokens).then_some(tokens)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn held(running: u64) -> Held {
        Held {
            running,
            weight: 3 * running,
            pending: 0.5 * running as f64,
            resident: 7.0 * running as f64,
        }
    }

    fn message(told: &mut ToldLoads, rows: &[(&str, u64)], whole: bool) -> Option<Vec<u8>> {
        let rows: Vec<(Arc<str>, Held)> = rows
            .iter()
            .map(|(url, n)| ((*url).into(), held(*n)))
            .collect();
        told.message(rows.iter().map(|(url, held)| (url, *held)), whole)
    }

    fn rows(bytes: Option<&Vec<u8>>) -> Vec<(&str, u64)> {
        let (_, rows) = read(bytes.unwrap()).unwrap();
        rows.into_iter()
            .map(|(url, held)| (url, held.running))
            .collect()
    }

    #[test]
    fn what_changed_or_all_of_it() {
        let mut told = ToldLoads::default();
        let now = [("a", 0), ("b", 1)];
        let all = message(&mut told, &now, true).unwrap();
        assert_eq!(read(&all), Some((true, vec![("b", held(1))])));
        assert_eq!(message(&mut told, &now, false), None);
        let news = message(&mut told, &[("a", 2), ("b", 1)], false);
        assert_eq!(rows(news.as_ref()), [("a", 2)]);
        let news = message(&mut told, &[("a", 0)], false);
        let mut news = rows(news.as_ref());
        news.sort_unstable();
        assert_eq!(news, [("a", 0), ("b", 0)], "who left too");
        assert_eq!(message(&mut told, &[("a", 0)], false), None);
        let all = message(&mut told, &[("a", 0)], true);
        assert_eq!(rows(all.as_ref()), [], "idle, and alive");
    }

    #[test]
    fn what_is_too_much_is_left_out() {
        let long = "u".repeat(MAX_URL + 1);
        let told = message(&mut ToldLoads::default(), &[(&long, 1), ("a", 1)], true);
        assert_eq!(rows(told.as_ref()), [("a", 1)]);
        let urls: Vec<String> = (0..5_000).map(|n| n.to_string()).collect();
        let many: Vec<(&str, u64)> = urls.iter().map(|url| (&**url, 1)).collect();
        let told = message(&mut ToldLoads::default(), &many, true);
        assert_eq!(rows(told.as_ref()).len(), MAX_ROWS);
    }

    #[test]
    fn figures_that_cannot_be_added_up_are_refused() {
        for wrong in [
            Held {
                running: TOO_MUCH,
                ..held(1)
            },
            Held {
                weight: u64::MAX,
                ..held(1)
            },
            Held {
                pending: -1.0,
                ..held(1)
            },
            Held {
                pending: f64::NAN,
                ..held(1)
            },
            Held {
                resident: f64::INFINITY,
                ..held(1)
            },
            Held {
                resident: 1e300,
                ..held(1)
            },
        ] {
            let mut message = Message::new(true);
            message.push("a", &held(1));
            message.push("b", &wrong);
            assert_eq!(read(&message.bytes), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_may_be_given(bytes: Vec<u8>, start in 0_usize..6) {
            let whole = [b"fdl1\x01", &bytes[..]].concat();
            read(&bytes);
            read(&whole[start.min(whole.len())..]);
            read(&whole);
        }
    }
}
