//! Turns at the scheduler, and the recording of what happens in them.

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;

use fd_router_core::scheduler::SchedulerConfig;
use fd_router_record::line::What;
use fd_router_record::writer::MAX_WAITING;
use fd_router_record::{Files, Head, Ids, Tape, Turn, Writer};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::clock::WakingClock;

/// The clock of the scheduler and, where decisions are recorded, the tape.
#[derive(Clone)]
pub(super) struct Timeline {
    clock: WakingClock,
    pub(super) tape: Option<Arc<Tape>>,
}

/// One turn at the scheduler: without a tape anybody's at any time.
pub(super) struct Moment<'a> {
    /// Milliseconds.
    pub(super) now: u64,
    pub(super) turn: Option<Turn<'a>>,
}

impl Timeline {
    pub(super) fn new(tape: Option<Tape>) -> Self {
        Self {
            clock: WakingClock::start(),
            tape: tape.map(Arc::new),
        }
    }

    /// Takes a turn. Nobody may wait for the GIL in it.
    pub(super) fn moment(&self) -> Moment<'_> {
        let turn = self.tape.as_ref().map(|tape| tape.turn());
        Moment {
            now: self.clock.now(),
            turn,
        }
    }
}

impl Moment<'_> {
    /// Tells the tape of what happened.
    pub(super) fn told(self, what: impl FnOnce() -> What) {
        if let Some(turn) = self.turn {
            turn.change(self.now, what());
        }
    }
}

/// Opens a recording: the path of its newest file, the bytes of a file, and how many there may be.
pub(super) fn open(
    (path, max_bytes, keep): (PathBuf, u64, usize),
    config: &SchedulerConfig,
    replica: Option<&str>,
) -> PyResult<Tape> {
    let key = RandomState::new();
    let run = format!("{:016x}", key.hash_one(""));
    let ids = Ids::new(key);
    let head = Head {
        replica: replica.map(str::to_owned),
        ..Head::new(config, run)
    };
    let start = || {
        let files = Files::create(&path, head, max_bytes, keep)?;
        Writer::start(files, ids.clone(), MAX_WAITING)
    };
    match start() {
        Ok(writer) => Ok(Tape::new(writer, ids)),
        Err(error) => Err(PyOSError::new_err(format!(
            "log.record: cannot write {}: {error}",
            path.display()
        ))),
    }
}
