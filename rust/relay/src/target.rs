//! Where a request goes: the origin, shared by all that goes there, and the path.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderValue, Uri};

/// A url that the relay cannot send to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("url {url:?}: {problem}; http://HOST[:PORT]/PATH or https://... is accepted")]
pub struct UrlError {
    url: String,
    problem: &'static str,
}

/// One place to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) tls: bool,
    /// Name or address, without brackets, in lower case.
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
}

impl Origin {
    /// The address, where the host is one: then no lookup is needed.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.host
            .parse::<IpAddr>()
            .ok()
            .map(|ip| SocketAddr::new(ip, self.port))
    }
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
        let origin = Origin {
            tls,
            host: host.to_ascii_lowercase().into(),
            port,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            origin: Arc::new(origin),
            path: path.parse().map_err(|_| error("bad path"))?,
            host: HeaderValue::from_str(authority.as_str()).map_err(|_| error("bad host"))?,
        })
    }
}
