//! Whether sessions stay with their workers.

use std::collections::HashMap;

/// How often a session comes back to the worker that it was given before: the `cache_hit_rate` of the stats line.
///
/// Sessions and workers are hashes. At most `2 * SESSIONS` are remembered, in two generations of which the older is
/// dropped when the newer is full: a session survives while at most `SESSIONS` others are seen between its requests.
#[derive(Debug, Default)]
pub(super) struct Stickiness {
    recent: HashMap<u64, u64>,
    before: HashMap<u64, u64>,
    hits: u64,
    total: u64,
}

impl Stickiness {
    const SESSIONS: usize = 65_536;

    /// Counts one scored request of `session` that went to `worker`.
    pub(super) fn note(&mut self, session: u64, worker: u64) {
        if self.recent.len() >= Self::SESSIONS && !self.recent.contains_key(&session) {
            self.before = std::mem::take(&mut self.recent);
        }
        let previous = self
            .recent
            .insert(session, worker)
            .or_else(|| self.before.get(&session).copied());
        self.total += 1;
        self.hits += u64::from(previous == Some(worker));
    }

    /// (hits, scored requests with a session) since the start.
    pub(super) const fn totals(&self) -> (u64, u64) {
        (self.hits, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_is_the_same_worker_again() {
        let mut sessions = Stickiness::default();
        for worker in [1, 1, 2, 2] {
            sessions.note(7, worker);
        }
        sessions.note(8, 1);
        assert_eq!(sessions.totals(), (2, 5));
    }

    #[test]
    fn old_sessions_are_forgotten() {
        let mut sessions = Stickiness::default();
        for session in 0..3 * Stickiness::SESSIONS as u64 {
            sessions.note(session, 1);
        }
        sessions.note(0, 1);
        assert_eq!(sessions.totals().0, 0);
        sessions.note(3 * Stickiness::SESSIONS as u64 - 1, 1);
        assert_eq!(sessions.totals().0, 1);
        assert!(sessions.recent.len() + sessions.before.len() <= 2 * Stickiness::SESSIONS);
    }
}
