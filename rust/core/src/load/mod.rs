//! What every worker has in hand: its counters, its own metrics, and the leases that are out.

mod held;
mod lease;
mod observed;
mod truth;
mod worker;

pub use self::held::Held;
pub(crate) use self::lease::Booked;
pub use self::lease::{Burden, Lease};
pub(crate) use self::truth::Truth;
pub use self::truth::{TruthStats, Usage};
pub use self::worker::Worker;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn tokens(tokens: u64) -> Burden {
        Burden {
            tokens,
            weight: 2 * tokens,
            uncached: tokens as f64,
            prompt: tokens as f64,
        }
    }

    #[test]
    fn everything_is_given_back_once() {
        let worker = Arc::new(Worker::new("u"));
        let (first, after) = Lease::new(Arc::clone(&worker), tokens(10), 0);
        assert_eq!(after, (1, 10));
        let (second, after) = Lease::new(Arc::clone(&worker), tokens(5), 0);
        assert_eq!(after, (2, 15));
        assert_eq!(worker.weight(), 30);
        assert!((worker.pending() - 15.0).abs() < 1e-9);
        assert_eq!(first.first_byte(0), Some(5));
        assert_eq!(first.first_byte(0), None);
        assert_eq!(first.release(), Some((1, None)));
        assert_eq!(first.release(), None);
        assert_eq!(first.first_byte(0), None);
        drop(first);
        assert_eq!(second.release(), Some((0, Some(0))));
        drop(second);
        assert!(worker.is_idle());
        assert!(worker.pending().abs() < 1e-9 && worker.resident().abs() < 1e-9);
    }

    #[test]
    fn speed_is_what_streams_show() {
        let worker = Arc::new(Worker::new("u"));
        let (unary, _) = Lease::new(Arc::clone(&worker), tokens(10), 0);
        assert_eq!(unary.first_byte_due(|| None), None);
        unary.release();
        assert_eq!(worker.speed(), None, "a whole answer shows nothing");
        let (stream, _) = Lease::new(Arc::clone(&worker), tokens(1_000), 0);
        stream.first_byte(500);
        assert!((worker.speed().unwrap() - 2_000.0).abs() < 1e-6);
        let (next, _) = Lease::new(Arc::clone(&worker), tokens(1_000), 1_000);
        let (behind, _) = Lease::new(Arc::clone(&worker), tokens(1_000), 1_000);
        assert_eq!(next.first_byte_due(|| None), Some(1_500));
        assert_eq!(behind.first_byte_due(|| None), Some(2_000));
        next.booked().release_pending();
        assert!((worker.pending() - 1_000.0).abs() < 1e-9);
        drop((next, behind, stream));
        assert!(worker.pending().abs() < 1e-9);
    }

    #[test]
    fn what_was_recorded_fades() {
        let worker = Worker::new("u");
        worker.record(100.0, 0);
        worker.record(100.0, 60_000);
        assert!((worker.recorded(60_000) - 150.0).abs() < 1e-9);
        assert!((worker.recorded(120_000) - 75.0).abs() < 1e-9);
    }

    #[test]
    fn dropping_gives_back() {
        let worker = Arc::new(Worker::new("u"));
        drop(Lease::new(Arc::clone(&worker), tokens(10), 0));
        assert!(worker.is_idle());
    }

    #[test]
    fn any_thread_may_release() {
        let worker = Arc::new(Worker::new("u"));
        let (lease, _) = Lease::new(Arc::clone(&worker), tokens(10), 0);
        let released = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| lease.release().is_some()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .filter(|&done| done)
                .count()
        });
        assert_eq!(released, 1);
        assert!(worker.is_idle());
    }

    #[test]
    fn observed_counts_age() {
        let worker = Worker::new("u");
        assert_eq!(worker.observed(0, 3_000), None);
        worker.observe(5.0, 2.5, 1_000);
        assert_eq!(worker.observed(4_000, 3_000), Some((5.0, 2.5)));
        assert_eq!(worker.observed(4_001, 3_000), None);
    }
}
