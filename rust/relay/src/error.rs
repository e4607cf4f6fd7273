//! Why an exchange failed.

use std::error::Error as _;
use std::io;

use strum::VariantNames;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// Nobody listens at the worker's address.
    Refused,
    /// No connection within the limit.
    ConnectTimeout,
    /// No connection for another reason: name, route, out of sockets.
    Connect,
    /// The handshake failed or the certificate was not accepted.
    Tls,
    /// The connection ended before the answer's head was whole.
    ResetBeforeHead,
    /// No head within the limit.
    FirstByteTimeout,
    /// The connection ended before the answer's body was whole.
    ResetMidBody,
    /// No chunk within the limit.
    IdleTimeout,
    /// The answer is not HTTP/1.1, or is larger than what is accepted of a head.
    BadResponse,
    /// The consumer cancelled or dropped the exchange.
    Cancelled,
    /// The relay was shut down.
    Closed,
}

impl Kind {
    /// The wire names of all kinds.
    pub const NAMES: &[&str] = Self::VARIANTS;

    /// The wire name, as metrics and logs spell it.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A failed exchange.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", kind.name())]
pub struct Failure {
    /// What happened.
    pub kind: Kind,
    /// Any byte of the answer, its head included, was received. Known to the exchange, which sets it at its end.
    pub received: bool,
    /// The cause in words, without the kind.
    pub detail: Box<str>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, detail: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            received: false,
            detail: detail.into(),
        }
    }

    /// A failure to open a TCP connection.
    pub(crate) fn of_connect(error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionRefused => Kind::Refused,
            io::ErrorKind::TimedOut => Kind::ConnectTimeout,
            _ => Kind::Connect,
        };
        Self::new(kind, error.to_string())
    }

    /// A failure that hyper reports; `reset` is the kind for a connection that ended.
    pub(crate) fn of_http(error: &hyper::Error, reset: Kind) -> Self {
        let kind = if error.is_parse() || malformed(error) {
            Kind::BadResponse
        } else {
            reset
        };
        Self::new(kind, chain(error))
    }
}

/// Whether the body's framing is wrong: hyper hands that over as an I/O error of these kinds.
fn malformed(error: &hyper::Error) -> bool {
    error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|source| {
            matches!(
                source.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
            )
        })
}

/// The messages of an error and its causes.
fn chain(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
