//! Why an exchange failed.

use std::error::Error as _;
use std::io;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use strum::VariantNames;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// Nobody listens at the worker's address.
    Refused,
    /// No connection within the limit.
    ConnectTimeout,
    /// No connection for another reason: name, route.
    Connect,
    /// No connection, as this process or host is out of descriptors, ports or memory for sockets. Says nothing of the
    /// worker.
    Exhausted,
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
        let kind = match Errno::from_io_error(error) {
            Some(Errno::CONNREFUSED) => Kind::Refused,
            Some(Errno::TIMEDOUT) => Kind::ConnectTimeout,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::ADDRNOTAVAIL) => {
                Kind::Exhausted
            }
            // A lookup that cannot read its files says that the name is unknown.
            None if out_of_descriptors() => Kind::Exhausted,
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

fn out_of_descriptors() -> bool {
    matches!(
        eventfd(0, EventfdFlags::CLOEXEC),
        Err(Errno::MFILE | Errno::NFILE)
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_sockets_is_told_from_a_worker_that_is_gone() {
        for (errno, kind) in [
            (Errno::CONNREFUSED, Kind::Refused),
            (Errno::TIMEDOUT, Kind::ConnectTimeout),
            (Errno::HOSTUNREACH, Kind::Connect),
            (Errno::MFILE, Kind::Exhausted),
            (Errno::NFILE, Kind::Exhausted),
            (Errno::NOBUFS, Kind::Exhausted),
            (Errno::ADDRNOTAVAIL, Kind::Exhausted),
        ] {
            assert_eq!(Failure::of_connect(&errno.into()).kind, kind, "{errno}");
        }
        let other = io::Error::other("no such name");
        assert_eq!(Failure::of_connect(&other).kind, Kind::Connect);
    }
}
