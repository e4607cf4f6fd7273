//! Upstream leg: sends requests to workers and moves the bytes of their answers.
//!
//! hyper and tokio live here and nowhere else; no `PyO3`.
//!
//! One tokio task drives one [`Exchange`] from the connection to the last byte. It owns the connection while it
//! lasts, so dropping the task closes the socket, and no second task has to be woken for a chunk. What the task
//! learns goes into the exchange's shared state; the exchange then queues up, once, in the [`Relay`]'s queue of
//! completions, whose eventfd wakes the consumer. The consumer takes what has gathered: bytes that came faster
//! than it turned are one piece by then. A consumer that leaves the bytes where they are stops the task from
//! reading on, and so, through TCP, the worker from writing.

#![forbid(unsafe_code)]

mod completions;
mod config;
mod connect;
mod context;
mod early;
mod error;
mod exchange;
mod head;
mod headers;
mod io;
mod json;
mod orders;
mod origin;
mod pool;
mod quiet;
mod relay;
mod request;
mod stats;
mod stream;
mod tail;
mod target;
mod targets;
mod tls;
mod usage;
mod watchdog;
mod wire;

pub use bytes::Bytes;
pub use config::RelayConfig;
pub use error::{Failure, Kind};
pub use exchange::Exchange;
pub use head::Head;
pub use headers::{HOP_HEADER, HeaderError, RequestHeaders};
pub use http::{HeaderValue, Method};
pub use relay::{Order, Relay};
pub use stats::{GAP_BOUNDS, Snapshot};
pub use target::{Target, UrlError};
pub use tls::root_certificates;
pub use usage::Usage;
