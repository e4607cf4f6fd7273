//! The clocks of the core, which takes times as arguments.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

/// Counts whole milliseconds from its making.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Milliseconds between two looks at a [`WakingClock`] from which the process must have been stopped: a background round
/// looks every second.
const STOPPED_FROM: u64 = 5_000;

/// A clock that stands still while the process does (SIGSTOP, a paused machine): what is kept for a time since its last
/// use does not grow old in a time in which nothing could be used. It never goes back.
#[derive(Clone)]
pub(crate) struct WakingClock(Arc<Mutex<Waking>>);

struct Waking {
    clock: Clock,
    looked: u64,
    skipped: u64,
}

impl WakingClock {
    pub(crate) fn start() -> Self {
        Self(Arc::new(Mutex::new(Waking {
            clock: Clock::start(),
            looked: 0,
            skipped: 0,
        })))
    }

    pub(crate) fn now(&self) -> u64 {
        let mut waking = self.0.lock();
        let now = waking.clock.now();
        let gap = now - waking.looked;
        if gap >= STOPPED_FROM {
            waking.skipped += gap;
        }
        waking.looked = now;
        now - waking.skipped
    }
}
