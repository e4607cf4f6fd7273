//! One timer for all the limits of an exchange.
//!
//! A stream moves its limit at each chunk. Moving a timer costs a lock in the timer wheel, so the timer stays where
//! it is and, when it goes off, looks whether the limit has moved on meanwhile.
//!
//! A process that was stopped, or whose machine was, finds limits that have passed and answers that wait in its sockets.
//! The runtime may run the timer first: the stop cut short its wait for sockets. So a limit that has passed is looked at
//! once more a moment later, when the socket has had its turn. And if the timer was far too late, which tells of
//! ourselves and not of the worker, the limit starts anew.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How late a timer may go off and still be believed, or a tenth of its limit if that is more.
const LATE: Duration = Duration::from_millis(500);

/// Until the second look: enough turns of the runtime to hear of a socket with bytes in it.
const MOMENT: Duration = Duration::from_millis(10);

#[derive(Default)]
pub(crate) struct Watchdog {
    timer: Option<Pin<Box<Sleep>>>,
    /// Since when, and for how long at most.
    limit: Option<(Instant, Duration)>,
    /// The limit has passed once and was put off. Not done twice in a row: on a machine that is always late no limit
    /// would hold.
    put_off: bool,
}

/// What `work` comes to, or the limit that it did not keep.
pub(crate) async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = T>,
) -> Result<T, Duration> {
    let mut work = pin!(work);
    let mut watchdog = Watchdog::default();
    watchdog.start(Instant::now(), limit);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Ok(result)),
        Poll::Pending => watchdog.poll(cx).map(Err),
    })
    .await
}

impl Watchdog {
    /// Starts a limit; `None` is no limit.
    pub(crate) fn start(&mut self, now: Instant, limit: Option<Duration>) {
        self.limit = limit.map(|limit| (now, limit));
        self.put_off = false;
        let Some(limit) = limit else { return };
        let due = now + limit;
        match &mut self.timer {
            // An earlier timer goes off, looks, and is moved; a later one would be too late.
            Some(timer) if timer.deadline() <= due && !timer.is_elapsed() => {}
            Some(timer) => timer.as_mut().reset(due),
            None => self.timer = Some(Box::pin(sleep_until(due))),
        }
    }

    /// Starts the present limit anew.
    pub(crate) fn touch(&mut self, now: Instant) {
        if let Some((since, _)) = &mut self.limit {
            *since = now;
            self.put_off = false;
        }
    }

    /// Ready with the limit when it has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        let (Some((since, limit)), Some(timer)) = (&mut self.limit, &mut self.timer) else {
            return Poll::Pending;
        };
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let late = now.checked_duration_since(*since + *limit);
            if let Some(late) = late {
                if self.put_off {
                    return Poll::Ready(*limit);
                }
                self.put_off = true;
                *since = if late > LATE.max(*limit / 10) {
                    now
                } else {
                    *since + late + MOMENT
                };
            }
            timer.as_mut().reset(*since + *limit);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::time::advance;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn barks(watchdog: &mut Watchdog) -> bool {
        watchdog
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    async fn after(watchdog: &mut Watchdog, millis: u64) -> bool {
        advance(Duration::from_millis(millis)).await;
        barks(watchdog)
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_is_moved_counts_from_there() {
        let mut watchdog = Watchdog::default();
        watchdog.start(Instant::now(), Some(LIMIT));
        assert!(!after(&mut watchdog, 9_000).await);
        watchdog.touch(Instant::now());
        assert!(!after(&mut watchdog, 9_900).await);
        assert!(!after(&mut watchdog, 200).await);
        assert!(after(&mut watchdog, 20).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_is_hardly_late_is_believed_at_the_second_look() {
        for (limit, late) in [(10_000, 0), (10_000, 900), (1_000, 400), (0, 1)] {
            let mut watchdog = Watchdog::default();
            watchdog.start(Instant::now(), Some(Duration::from_millis(limit)));
            assert!(!after(&mut watchdog, limit + late).await, "{limit}");
            assert!(after(&mut watchdog, 20).await, "{limit}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_is_far_too_late_starts_anew_once() {
        for (limit, late) in [(10_000, 1_100), (1_000, 600), (1_000, 3_600_000)] {
            let mut watchdog = Watchdog::default();
            watchdog.start(Instant::now(), Some(Duration::from_millis(limit)));
            assert!(!after(&mut watchdog, limit + late).await, "{limit}");
            assert!(!after(&mut watchdog, limit - 100).await, "{limit}");
            assert!(after(&mut watchdog, late).await, "{limit}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_lets_it_be_late_again() {
        let mut watchdog = Watchdog::default();
        watchdog.start(Instant::now(), Some(LIMIT));
        for _ in 0..3 {
            assert!(!after(&mut watchdog, 60_000).await);
            watchdog.touch(Instant::now());
        }
        assert!(!after(&mut watchdog, 60_000).await);
        assert!(after(&mut watchdog, 60_000).await);
    }

    #[tokio::test(start_paused = true)]
    async fn work_has_its_limit_and_is_looked_at_before_it_is_blamed() {
        let slow = || tokio::time::sleep(LIMIT);
        assert_eq!(within(None, slow()).await, Ok(()));
        assert_eq!(within(Some(2 * LIMIT), slow()).await, Ok(()));
        assert_eq!(within(Some(LIMIT / 2), slow()).await, Err(LIMIT / 2));
        let stopped = async {
            advance(10 * LIMIT).await;
            tokio::time::sleep(LIMIT / 2).await;
        };
        assert_eq!(within(Some(LIMIT), stopped).await, Ok(()));
    }
}
