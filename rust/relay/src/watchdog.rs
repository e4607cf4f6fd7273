//! One timer for all the limits of an exchange.
//!
//! A stream moves its limit at each chunk. Moving a timer costs a lock in the timer wheel, so the timer stays where
//! it is and, when it goes off, looks whether the limit has moved on meanwhile.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Default)]
pub(crate) struct Watchdog {
    timer: Option<Pin<Box<Sleep>>>,
    /// Since when, and for how long at most.
    limit: Option<(Instant, Duration)>,
}

impl Watchdog {
    /// Starts a limit; `None` is no limit.
    pub(crate) fn start(&mut self, now: Instant, limit: Option<Duration>) {
        self.limit = limit.map(|limit| (now, limit));
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
        }
    }

    /// Ready with the limit when it has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        let (Some((since, limit)), Some(timer)) = (self.limit, &mut self.timer) else {
            return Poll::Pending;
        };
        while timer.as_mut().poll(cx).is_ready() {
            let due = since + limit;
            if Instant::now() >= due {
                return Poll::Ready(limit);
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}
