//! Recordings of decisions: the inputs of each as one JSON line, in files of bounded size.
//!
//! A recording replays exactly because everything that changes the scheduler is one event with a number of its own, and
//! numbers are given under the lock under which the event happens: see [`Tape`].
//!
//! - [`line`] has the lines, for writing and for reading.
//! - [`tape`] gives numbers and times to events.
//! - [`entry`] follows one decision from the choice to its end.
//! - `facts` are what is known of it, until they are written.
//! - [`ids`] hides what is hashed.
//! - [`writer`] is the thread that writes, behind a bounded queue; [`files`] are the files it writes to.
//! - [`reader`] gives the events of a recording back in their order.

#![forbid(unsafe_code)]

pub mod entry;
mod facts;
pub mod files;
pub mod ids;
pub mod line;
pub mod reader;
pub mod tape;
pub mod writer;

pub use entry::Entry;
pub use facts::Asked;
pub use files::Files;
pub use ids::Ids;
pub use line::{Change, Head, Line, Outcome, Request, Tuned};
pub use reader::{Event, ReadError, Recording};
pub use tape::{Tape, Turn};
pub use writer::Writer;
