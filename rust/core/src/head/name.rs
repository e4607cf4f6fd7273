//! What names a request in its head: `X-Request-Id`, else the trace id of a `traceparent` (W3C Trace Context, 3.2).

use super::text;

const ID: &[u8] = b"x-request-id";
const TRACEPARENT: &[u8] = b"traceparent";

/// Bytes of a trace id, and where it stands: `00-<trace id>-<parent id>-<flags>`.
const TRACE: std::ops::Range<usize> = 3..35;

/// What a client calls its request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The client sent the header, be it empty.
    pub header: bool,
    /// What it wrote there.
    pub id: Option<String>,
    /// The trace that the request is part of.
    pub trace: Option<String>,
}

impl Named {
    /// Looks at a header. The first of each kind that says something counts.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        if name == ID {
            self.header = true;
            if self.id.is_none() {
                self.id = Some(text(value)).filter(|id| !id.is_empty());
            }
        } else if name == TRACEPARENT && self.trace.is_none() {
            self.trace = trace_of(value).map(str::to_owned);
        }
    }
}

/// A random UUID (RFC 9562, 5.4) of these bits.
pub fn uuid(bits: u128) -> String {
    let bits = bits & !(0xf000 << 64 | 0xc000 << 48) | (0x4000 << 64) | (0x8000 << 48);
    let digits = format!("{bits:032x}");
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-{}-{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32)
    )
}

fn trace_of(value: &[u8]) -> Option<&str> {
    let text = str::from_utf8(value.get(..55)?).ok()?;
    let well = text.bytes().enumerate().all(|(place, byte)| match place {
        2 | 35 | 52 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    });
    let more = &value[55..];
    let known = more.is_empty() || more[0] == b'-' && !more.contains(&b'\n');
    let trace = text.get(TRACE)?;
    let said = !text.starts_with("ff") && trace.bytes().any(|byte| byte != b'0');
    (well && known && said).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn named(headers: &[(&str, &str)]) -> Named {
        let mut named = Named::default();
        for (name, value) in headers {
            named.add(name.as_bytes(), value.as_bytes());
        }
        named
    }

    #[test]
    fn the_first_id_that_says_something_counts() {
        let found = named(&[
            ("x-request-id", " "),
            ("x-request-id", " a b "),
            ("x-request-id", "c"),
        ]);
        assert_eq!(found.id.as_deref(), Some("a b"));
        let empty = named(&[("x-request-id", "")]);
        assert!(empty.header && empty.id.is_none());
    }

    #[test]
    fn a_trace_is_that_of_a_well_formed_parent() {
        let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
        for value in [parent.clone(), format!("{parent}-more")] {
            let found = named(&[("traceparent", "x"), ("traceparent", &value)]);
            assert_eq!(found.trace.as_deref(), Some(TRACE), "{value}");
        }
        let zeros = "0".repeat(32);
        for value in [
            format!("ff-{TRACE}-b7ad6b7169203331-01"),
            format!("00-{zeros}-b7ad6b7169203331-01"),
            format!("{parent}more"),
            parent.to_uppercase(),
            parent.replace('-', "_"),
            String::new(),
        ] {
            assert_eq!(named(&[("traceparent", &value)]).trace, None, "{value}");
        }
    }

    #[test]
    fn an_id_is_of_the_fourth_version() {
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
