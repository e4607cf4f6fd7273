//! One place to connect to, and when it was heard of last.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// One place to connect to. All that goes there shares one object (see [`crate::targets`]); two are equal when they name
/// the same place.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) tls: bool,
    /// Name or address, without brackets, in lower case.
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    since: Instant,
    /// Nanoseconds after `since` when a byte was read last; 0 is never.
    heard: AtomicU64,
}

impl Origin {
    pub(crate) fn new(tls: bool, host: &str, port: u16) -> Self {
        Self {
            tls,
            host: host.to_ascii_lowercase().into(),
            port,
            since: Instant::now(),
            heard: AtomicU64::new(0),
        }
    }

    /// The address, where the host is one: then no lookup is needed.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.host
            .parse::<IpAddr>()
            .ok()
            .map(|ip| SocketAddr::new(ip, self.port))
    }

    /// Notes that a byte of an answer was read.
    pub(crate) fn hear(&self, now: Instant) {
        // Threads that read at the same time differ by less than anybody asks for: the last one wins.
        self.heard.store(nanos(now - self.since).max(1), Relaxed);
    }

    /// How long ago a byte of an answer was read, if ever.
    pub(crate) fn heard(&self, now: Instant) -> Option<Duration> {
        let heard = Some(self.heard.load(Relaxed)).filter(|heard| *heard > 0)?;
        Some(now.saturating_duration_since(self.since + Duration::from_nanos(heard)))
    }

    fn key(&self) -> (bool, &str, u16) {
        (self.tls, &self.host, self.port)
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_counts() {
        let origin = Origin::new(false, "A", 80);
        let start = origin.since;
        let seconds = Duration::from_secs;
        assert_eq!(origin.heard(start + seconds(9)), None);
        for (heard, asked, ago) in [(3, 3, 0), (5, 9, 4)] {
            origin.hear(start + seconds(heard));
            assert_eq!(origin.heard(start + seconds(asked)), Some(seconds(ago)));
        }
        origin.hear(start);
        assert!(origin.heard(start + seconds(9)).is_some());
    }
}
