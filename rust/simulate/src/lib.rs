//! A fleet of inference engines behind a router, in virtual time.
//!
//! Given a trace, a description of the engines and something that chooses workers, [`simulate`] says what clients
//! would have seen: first tokens, ends, cached prompt tokens. It reads no clock, no file and no source of chance, so
//! equal inputs give equal outputs on every machine. Times are whole microseconds from the trace's start.
//!
//! - [`trace`] holds requests and reads them from Mooncake's JSON lines, from agents' sessions, or from a
//!   recording.
//! - [`chooser`] is the one seam to a router: who is chosen, and what became of the choice.
//! - [`router`] is fd-router behind that seam: the real scheduler, with its tree, its leases and what it learns.
//! - [`routers`] are several of them before the same engines.
//! - [`fleet`] describes engines, [`profile`] has some by name; [`mod@engine`] has one file a model of how they spend
//!   time and memory.
//! - [`mod@simulate`] runs them through one queue of events.
//! - [`recorded`] plays a recording of a router again, without any of these.
//! - [`report`] sums up what was recorded of every request.

#![forbid(unsafe_code)]

pub mod chooser;
mod engine;
pub mod fleet;
pub mod profile;
mod queue;
pub mod record;
pub mod recorded;
pub mod report;
pub mod router;
pub mod routers;
pub mod simulate;
pub mod trace;

pub use chooser::{Ask, Chooser, Ended, Outcome, Pick, Role, Ticket};
pub use fleet::{Batching, CacheChange, Engine, Fleet, Model, Serial};
pub use profile::Profile;
pub use record::Record;
pub use recorded::{ReplayError, Replayed, replay};
pub use report::Report;
pub use router::{Feedback, SchedulerChooser, Setup};
pub use routers::{Exchange, Routers};
pub use simulate::{NoSuchWorker, simulate};
pub use trace::{Arrival, Request, Sessions, Trace};
