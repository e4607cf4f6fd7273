//! Scheduling core: reads requests, counts requests and load, remembers prefixes, applies policies.
//!
//! No `PyO3`, no I/O, no clock and no source of chance: time and seeds are arguments. Times are whole milliseconds
//! on any clock that does not run backwards.
//!
//! - [`head`] reads the few headers that matter.
//! - [`scan`] reads the few keys that matter out of a request body and leaves its bytes alone.
//! - [`hash`] cuts a prompt into blocks and gives each a chained hash.
//! - [`tree`] remembers which worker has seen which prefix, within a fixed memory.
//! - [`load`] counts what every worker has in hand; a [`load::Lease`] is one booked unit.
//! - [`policy`] has one leaf file per policy.
//! - [`share`] has prefixes as other routers are told of them.
//! - [`scheduler`] ties them together: choosing and booking are one step.

#![forbid(unsafe_code)]

pub mod hash;
pub mod head;
pub mod ids;
pub mod load;
pub mod policy;
pub mod scan;
pub mod scheduler;
pub mod share;
pub mod tree;
