//! Connections kept for reuse.
//!
//! Last in, first out: the connection used last is the one least likely to be closed by now, and what a quiet hour
//! does not need runs out. Bounded per origin and in time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::origin::Origin;
use crate::wire::Wire;

struct Idle {
    wire: Wire,
    since: Instant,
}

pub(crate) struct Pool {
    max_idle: usize,
    keep_alive: Duration,
    idle: Mutex<HashMap<Arc<Origin>, Vec<Idle>>>,
}

impl Pool {
    pub(crate) fn new(max_idle: usize, keep_alive: Duration) -> Self {
        Self {
            max_idle,
            keep_alive,
            idle: Mutex::default(),
        }
    }

    /// An open connection to `origin` that waits for a request.
    pub(crate) fn take(&self, origin: &Origin, now: Instant) -> Option<Wire> {
        loop {
            let mut kept = self.idle.lock().get_mut(origin)?.pop()?;
            if now.saturating_duration_since(kept.since) < self.keep_alive && kept.wire.is_idle() {
                return Some(kept.wire);
            }
        }
    }

    /// Whether a connection to `origin` is kept; it may be closed by now.
    pub(crate) fn keeps(&self, origin: &Origin) -> bool {
        let idle = self.idle.lock();
        idle.get(origin).is_some_and(|stack| !stack.is_empty())
    }

    /// Keeps a connection if it can be used again and there is room.
    pub(crate) fn put(&self, mut wire: Wire, now: Instant) {
        let Some(origin) = wire.home().filter(|_| wire.is_idle()) else {
            return;
        };
        let mut idle = self.idle.lock();
        let stack = idle.entry(origin).or_default();
        if stack.len() < self.max_idle {
            stack.push(Idle { wire, since: now });
        }
    }

    /// Drops connections that were closed or kept too long, and origins without any.
    pub(crate) fn sweep(&self, now: Instant) {
        self.idle.lock().retain(|_, stack| {
            stack.retain_mut(|kept| {
                now.saturating_duration_since(kept.since) < self.keep_alive && kept.wire.is_idle()
            });
            !stack.is_empty()
        });
    }

    /// Drops all connections; whether there was one.
    pub(crate) fn clear(&self) -> bool {
        !std::mem::take(&mut *self.idle.lock()).is_empty()
    }

    pub(crate) fn idle_connections(&self) -> usize {
        self.idle.lock().values().map(Vec::len).sum()
    }
}
