//! Settings of a relay.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;

/// Settings of a relay; where a limit is `None` there is none.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Value of [`crate::HOP_HEADER`] in every request that is not [`crate::Order::fresh`].
    pub hop: HeaderValue,
    /// PEM file of the roots for https; without one those of the environment or the system.
    pub ca_file: Option<PathBuf>,
    /// Threads of the runtime; at least 1.
    pub threads: usize,
    /// Idle connections kept per origin.
    pub max_idle_per_worker: usize,
    /// How long an idle connection is kept. Shorter than the engine's own limit, so that we close first.
    pub keep_alive: Duration,
    /// From the start of the name lookup to the end of the TLS handshake.
    pub connect_timeout: Option<Duration>,
    /// From the request's hand-over to its connection to the answer's head.
    pub first_byte_timeout: Option<Duration>,
    /// Between two chunks of the answer's body. Does not run while the consumer holds the stream back.
    pub idle_timeout: Option<Duration>,
    /// Bytes up to which a collected body is held back to be whole.
    pub collect_limit: usize,
    /// Bytes read ahead of the consumer before the upstream is left waiting.
    pub buffer_limit: usize,
}
