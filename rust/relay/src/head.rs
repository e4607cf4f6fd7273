//! The head of an answer, and what it says of the body.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::headers;

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The whole body, where it was collected.
    pub body: Option<Bytes>,
}

impl Head {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers that pass, multi-values kept.
    pub fn headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        headers::of_answer(&self.headers)
    }

    /// Whether the body is made of server-sent events. Media types have no case, and parameters (RFC 9110, 8.3.1).
    pub fn event_stream(&self) -> bool {
        let kind = self.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.as_bytes().split(|byte| *byte == b';').next());
        kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
    }

    /// Whether the body is compressed, or encoded otherwise: nothing in clear can be added to it.
    pub fn encoded(&self) -> bool {
        self.headers
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &HeaderName, values: &[&'static str]) -> Head {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_static(value));
        }
        Head {
            status: 200,
            headers,
            body: None,
        }
    }

    #[test]
    fn an_event_stream_is_known_by_its_media_type() {
        for (kind, expected) in [
            ("text/event-stream", true),
            ("Text/Event-Stream", true),
            ("text/event-stream;charset=utf-8", true),
            ("TEXT/EVENT-STREAM ; charset=utf-8", true),
            ("text/event-streams", false),
            ("application/json; a=text/event-stream", false),
            ("text/event-stream, text/html", false),
            ("", false),
        ] {
            let head = head(&header::CONTENT_TYPE, &[kind]);
            assert_eq!(head.event_stream(), expected, "{kind}");
        }
        assert!(!head(&header::CONTENT_TYPE, &[]).event_stream());
    }

    #[test]
    fn identity_is_no_encoding() {
        for (values, expected) in [
            (&[][..], false),
            (&[""], false),
            (&["identity"], false),
            (&["Identity , identity"], false),
            (&["gzip"], true),
            (&["identity", "br"], true),
            (&["identity,gzip"], true),
        ] {
            let head = head(&header::CONTENT_ENCODING, values);
            assert_eq!(head.encoded(), expected, "{values:?}");
        }
    }
}
