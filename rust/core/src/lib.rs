//! Scheduling core: reads request bodies, counts load, remembers prefixes, applies policies.
//!
//! No `PyO3`, no I/O, no clock and no source of chance: time and seeds are arguments.

#![forbid(unsafe_code)]
