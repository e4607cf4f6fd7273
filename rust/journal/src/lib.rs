//! Log lines on their way to a file: laid out, queued within bounds, taken in large pieces by whoever writes them.
//!
//! No `PyO3`, no I/O and no clock: what a second looks like is an argument.
//!
//! - [`access`] words the line of an HTTP request.
//! - [`duration`] words time spans.
//! - [`layout`] turns tags and a message into a line.
//! - [`line_queue`] holds lines until they are taken.

#![forbid(unsafe_code)]

pub mod access;
pub mod duration;
pub mod layout;
pub mod line_queue;
