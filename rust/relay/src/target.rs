//! Where a request goes: the origin, shared by all that goes there, and the path.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};

use crate::origin::Origin;

/// A url that the relay cannot send to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("url {url:?}: {problem}; http://HOST[:PORT]/PATH or https://... is accepted")]
pub struct UrlError {
    url: String,
    problem: &'static str,
}

/// A parsed url.
#[derive(Debug)]
pub struct Target {
    pub(crate) origin: Arc<Origin>,
    /// Path and query, as the request line has them.
    pub(crate) path: Uri,
    /// Value of the `host` header.
    pub(crate) host: HeaderValue,
}

impl Target {
    /// Parses an absolute http or https url.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let error = |problem| UrlError {
            url: url.to_owned(),
            problem,
        };
        let uri: Uri = url.parse().map_err(|_| error("not a url"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(error("the scheme is missing or another")),
        };
        let authority = uri.authority().ok_or_else(|| error("no host"))?;
        if authority.as_str().contains('@') {
            return Err(error("user and password are not sent"));
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if host.is_empty() {
            return Err(error("no host"));
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().len() > authority.host().len() => {
                return Err(error("the port is not a number from 0 to 65535"));
            }
            None if tls => 443,
            None => 80,
        };
        Ok(Self {
            origin: Arc::new(Origin::new(tls, host, port)),
            // Before a fragment it may be empty, which no request line may have.
            path: uri
                .path_and_query()
                .filter(|path| path.as_str() != "/")
                .cloned()
                .map_or_else(Uri::default, Uri::from),
            host: HeaderValue::from_str(authority.as_str()).map_err(|_| error("bad host"))?,
        })
    }

    /// The same place with another query, as it stands in a request line.
    pub fn with_query(&self, query: &[u8]) -> Result<Self, UrlError> {
        let path = [self.path.path().as_bytes(), b"?", query].concat();
        let path = PathAndQuery::try_from(path.as_slice()).map_err(|_| UrlError {
            url: String::from_utf8_lossy(&path).into_owned(),
            problem: "the query is none",
        })?;
        Ok(Self {
            origin: Arc::clone(&self.origin),
            path: Uri::from(path),
            host: self.host.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(url: &str) -> (bool, String, u16, String, String) {
        let Target { origin, path, host } = Target::parse(url).unwrap();
        let host = host.to_str().unwrap().to_owned();
        (
            origin.tls,
            origin.host.to_string(),
            origin.port,
            path.to_string(),
            host,
        )
    }

    #[test]
    fn ports_and_paths_have_defaults() {
        assert_eq!(
            parts("http://A"),
            (false, "a".into(), 80, "/".into(), "A".into())
        );
        assert_eq!(
            parts("https://a:1/p?q"),
            (true, "a".into(), 1, "/p?q".into(), "a:1".into())
        );
        assert_eq!(
            parts("http://a#f"),
            (false, "a".into(), 80, "/".into(), "a".into())
        );
        assert_eq!(
            parts("https://a?q"),
            (true, "a".into(), 443, "/?q".into(), "a".into())
        );
    }

    #[test]
    fn a_query_is_added_and_nothing_else_changes() {
        let target = Target::parse("http://a:1/p?old").unwrap();
        let other = target.with_query("a=%2F&b=é?".as_bytes()).unwrap();
        assert_eq!(other.path.to_string(), "/p?a=%2F&b=é?");
        assert!(Arc::ptr_eq(&target.origin, &other.origin));
        assert_eq!(other.host, target.host);
        for query in [&b"a b"[..], b"a\r\nb: c", b"\xff"] {
            assert!(target.with_query(query).is_err(), "{query:?}");
        }
    }

    #[test]
    fn an_address_needs_no_lookup() {
        let target = Target::parse("http://[::1]:80/").unwrap();
        assert_eq!(target.origin.address(), Some("[::1]:80".parse().unwrap()));
        assert_eq!(target.host, "[::1]:80");
        assert_eq!(Target::parse("http://[::1]/").unwrap().origin.port, 80);
        assert_eq!(
            Target::parse("http://localhost/").unwrap().origin.address(),
            None
        );
    }

    #[test]
    fn what_cannot_be_sent_to_is_refused() {
        for url in [
            "",
            "/p",
            "a:80",
            "ftp://a/",
            "http://",
            "http://:80/",
            "http://u@a/",
            "http://a:/",
            "http://a:70000/",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }

    /// Strings that are nearly urls.
    fn urls() -> impl Strategy<Value = String> {
        let scheme = prop::sample::select(&["http://", "https://", "HTTP://", "ftp://", ""][..]);
        let host = prop_oneof![
            Just("a".to_owned()),
            Just("[::1]".to_owned()),
            Just("127.0.0.1".to_owned()),
            "[a-z.:@\\[\\]%0-9]{0,8}",
        ];
        let port = prop_oneof![
            Just(String::new()),
            any::<u32>().prop_map(|port| format!(":{port}"))
        ];
        (scheme, host, port, "[/?#a-zé %\r\n]{0,12}")
            .prop_map(|(scheme, host, port, path)| [scheme, &host, &port, &path].concat())
    }

    /// What stands in a request line and in the `host` header ends neither.
    fn is_one_word(target: &Target) -> bool {
        let path = target.path.to_string();
        let plain = |bytes: &[u8]| bytes.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
        path.starts_with('/') && plain(path.as_bytes()) && plain(target.host.as_bytes())
    }

    proptest! {
        #[test]
        fn whatever_is_a_url_can_be_written_down(url in urls(), query in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Ok(target) = Target::parse(&url) {
                prop_assert!(is_one_word(&target), "{target:?}");
                prop_assert!(!target.origin.host.is_empty());
                prop_assert!(!target.origin.host.contains(['@', '/', '?']));
                if let Ok(other) = target.with_query(&query) {
                    prop_assert!(is_one_word(&other), "{other:?}");
                    prop_assert!(Arc::ptr_eq(&target.origin, &other.origin));
                }
            }
        }
    }
}
