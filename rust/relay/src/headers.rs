//! What of a message's headers passes through: everything but the hop-by-hop ones (RFC 9110, 7.6.1).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Names the router process that a request came through, so that one which comes back to it is seen.
pub static HOP_HEADER: HeaderName = HeaderName::from_static("x-fd-router-hop");

/// A header that HTTP cannot carry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The name is not a token.
    #[error("header name {0:?} is not a token of letters, digits and !#$%&'*+-.^_`|~")]
    Name(String),
    /// The value has control characters.
    #[error("value of header {0:?} holds a control character")]
    Value(String),
}

/// The headers of a request, gathered one by one.
///
/// Hop-by-hop headers are left out, and so are `host`, `content-length` and `expect`, which the relay sets or does
/// without.
#[derive(Debug, Default)]
pub struct RequestHeaders {
    pairs: Vec<(HeaderName, HeaderValue)>,
    listed: Vec<HeaderName>,
}

impl RequestHeaders {
    /// Space for `count` headers.
    pub fn with_capacity(count: usize) -> Self {
        Self {
            pairs: Vec::with_capacity(count),
            listed: Vec::new(),
        }
    }

    /// Adds one header.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeaderError> {
        let name = HeaderName::from_bytes(name).map_err(|_| HeaderError::Name(lossy(name)))?;
        let value =
            HeaderValue::from_bytes(value).map_err(|_| HeaderError::Value(name.to_string()))?;
        if name == header::CONNECTION {
            self.listed.extend(tokens(&value));
        } else if !hop_by_hop(&name) && !set_by_relay(&name) {
            self.pairs.push((name, value));
        }
        Ok(())
    }

    /// The headers that pass, in their order.
    pub(crate) fn finish(mut self) -> Vec<(HeaderName, HeaderValue)> {
        if !self.listed.is_empty() {
            let listed = self.listed;
            self.pairs.retain(|(name, _)| !listed.contains(name));
        }
        self.pairs
    }
}

/// The headers of an answer that pass, in their order.
///
/// A `content-length` beside a `transfer-encoding` goes too: the latter decided where the body ended.
pub(crate) fn of_answer(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(tokens)
        .collect();
    let chunked = headers.contains_key(header::TRANSFER_ENCODING);
    headers.iter().filter(move |(name, _)| {
        let superseded = chunked && **name == header::CONTENT_LENGTH;
        !(superseded || hop_by_hop(name) || listed.contains(name))
    })
}

/// The names in a `connection` header; its options that are no names of headers do no harm.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| {
            !token.eq_ignore_ascii_case(b"close") && !token.eq_ignore_ascii_case(b"keep-alive")
        })
        .filter_map(|token| HeaderName::from_bytes(token).ok())
}

fn hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

fn set_by_relay(name: &HeaderName) -> bool {
    matches!(name.as_str(), "host" | "content-length" | "expect")
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passed(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut headers = RequestHeaders::default();
        for (name, value) in pairs {
            headers.push(name.as_bytes(), value.as_bytes()).unwrap();
        }
        let text = |(name, value): (HeaderName, HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        headers.finish().into_iter().map(text).collect()
    }

    #[test]
    fn what_the_relay_sets_and_what_is_for_one_hop_is_left_out() {
        let pairs = [
            ("Host", "h"),
            ("x-b", "1"),
            ("TE", "trailers"),
            ("expect", "100-continue"),
            ("x-b", "2"),
        ];
        assert_eq!(
            passed(&pairs),
            [("x-b".into(), "1".into()), ("x-b".into(), "2".into())]
        );
    }

    #[test]
    fn listed_names_are_left_out_wherever_they_stand() {
        let pairs = [
            ("x-hop", "1"),
            ("connection", "keep-alive, X-Hop ,,x-other"),
            ("x-other", "2"),
            ("x", "3"),
        ];
        assert_eq!(passed(&pairs), [("x".into(), "3".into())]);
    }

    #[test]
    fn what_http_cannot_carry_is_refused() {
        let mut headers = RequestHeaders::default();
        assert_eq!(
            headers.push(b"a b", b"1"),
            Err(HeaderError::Name("a b".into()))
        );
        assert_eq!(
            headers.push(b"a", b"1\r\nb: 2"),
            Err(HeaderError::Value("a".into()))
        );
        assert_eq!(headers.push(b"a", b"\xff latin"), Ok(()));
    }

    const NAMES: &[&str] = &[
        "connection",
        "Keep-Alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "expect",
        "content-length",
        "proxy-authorization",
        "x-a",
        "X-B",
        "authorization",
        "bad name",
        "",
    ];
    const VALUES: &[&str] = &["", "1", "close", "x-a", "X-B, te", "a\r\nx: 1", "\u{e9}"];

    proptest! {
        #[test]
        fn nothing_of_one_hop_passes_and_all_else_does(
            pairs in prop::collection::vec(
                (prop::sample::select(NAMES), prop::sample::select(VALUES)), 0..8
            ),
        ) {
            let mut headers = RequestHeaders::default();
            let taken: Vec<_> = pairs
                .iter()
                .filter(|(name, value)| headers.push(name.as_bytes(), value.as_bytes()).is_ok())
                .map(|(name, value)| (name.to_lowercase(), *value))
                .collect();
            let listed: Vec<_> = taken
                .iter()
                .filter(|(name, _)| name == "connection")
                .flat_map(|(_, value)| value.split(','))
                .map(|token| token.trim().to_lowercase())
                .collect();
            let expected: Vec<_> = taken
                .iter()
                .filter(|(name, _)| name.starts_with("x-") || name == "authorization")
                .filter(|(name, _)| !listed.contains(name))
                .map(|(name, value)| (name.clone(), value.as_bytes().to_vec()))
                .collect();
            let passed: Vec<_> = headers
                .finish()
                .into_iter()
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                .collect();
            prop_assert!(passed.iter().all(|(_, value)| !value.contains(&b'\n')));
            prop_assert_eq!(passed, expected);
        }
    }
}
