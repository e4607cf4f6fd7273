//! What the stand-in engine answers: a plan read from the request, and the body that carries it out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use memchr::memmem;
use tokio::time::{Instant, Sleep, sleep_until};

const UNARY_HEAD: &[u8] = br#"{"id":"chatcmpl-bench","object":"chat.completion","created":0,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":""#;
const UNARY_TAIL: &[u8] = br#""},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
const EVENT: &[u8] = b"data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\"finish_reason\":null}]}\n\n";
const DONE: &[u8] = b"data: [DONE]\n\n";

/// Largest unary answer, and with it the filler that is kept.
pub(crate) const MAX_ANSWER: usize = 4 << 20;

/// How to answer one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// One JSON object of about this many bytes.
    Unary(usize),
    /// This many events before `[DONE]`, this far apart.
    Stream(u64, Duration),
}

impl Plan {
    /// Reads the plan from a request body. Routers rewrite bodies (`max_tokens` becomes `max_completion_tokens`
    /// in one) and drop what they do not know, so the plan is one number that all of them pass on.
    pub(crate) fn read(body: &[u8]) -> Self {
        let number = number_after(body, br#""max_tokens":"#)
            .or_else(|| number_after(body, br#""max_completion_tokens":"#))
            .unwrap_or(256);
        if literal_after(body, br#""stream":"#, b"true") {
            Self::Stream(number % 10_000, Duration::from_millis(number / 10_000))
        } else {
            Self::Unary(number as usize)
        }
    }
}

fn after<'a>(body: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let at = memmem::rfind(body, key)?;
    Some(body.get(at + key.len()..)?.trim_ascii_start())
}

fn number_after(body: &[u8], key: &[u8]) -> Option<u64> {
    let rest = after(body, key)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
}

fn literal_after(body: &[u8], key: &[u8], literal: &[u8]) -> bool {
    after(body, key).is_some_and(|rest| rest.starts_with(literal))
}

/// A response body: ready pieces, or events on a timer.
pub(crate) enum Answer {
    Pieces(VecDeque<Bytes>),
    Events(Events),
}

/// Events of one stream. The first is due at once.
pub(crate) struct Events {
    left: u64,
    begun: bool,
    done: bool,
    pace: Duration,
    due: Instant,
    timer: Pin<Box<Sleep>>,
    flush: bool,
}

impl Answer {
    pub(crate) fn text(text: &'static [u8]) -> Self {
        Self::Pieces(VecDeque::from([Bytes::from_static(text)]))
    }

    /// `filler` holds at least `MAX_ANSWER` bytes of plain text.
    pub(crate) fn new(plan: Plan, filler: &Bytes) -> Self {
        match plan {
            Plan::Unary(bytes) => {
                let content = bytes
                    .min(MAX_ANSWER)
                    .saturating_sub(UNARY_HEAD.len() + UNARY_TAIL.len());
                Self::Pieces(VecDeque::from([
                    Bytes::from_static(UNARY_HEAD),
                    filler.slice(..content.min(filler.len())),
                    Bytes::from_static(UNARY_TAIL),
                ]))
            }
            Plan::Stream(left, pace) => {
                let due = Instant::now();
                let timer = Box::pin(sleep_until(due));
                Self::Events(Events {
                    left,
                    begun: false,
                    done: false,
                    pace,
                    due,
                    timer,
                    flush: false,
                })
            }
        }
    }
}

impl Events {
    /// Each event is a write of its own, as an engine's is: between two of them the task yields, which makes hyper
    /// flush. Otherwise a burst would reach the router in one piece and cost it nothing.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.done {
            return Poll::Ready(None);
        }
        if self.flush {
            self.flush = false;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.left == 0 {
            self.done = true;
            return Poll::Ready(Some(Bytes::from_static(DONE)));
        }
        if self.pace.is_zero() {
            self.flush = true;
        } else {
            // A timer that is due already still waits for the next millisecond, which no first event should.
            if self.begun {
                ready!(self.timer.as_mut().poll(context));
            }
            self.begun = true;
            self.due += self.pace;
            let due = self.due;
            self.timer.as_mut().reset(due);
        }
        self.left -= 1;
        Poll::Ready(Some(Bytes::from_static(EVENT)))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Pieces(pieces) => pieces.pop_front(),
            Self::Events(events) => ready!(events.poll_event(context)),
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Pieces(pieces) => {
                SizeHint::with_exact(pieces.iter().map(|piece| piece.len() as u64).sum())
            }
            Self::Events(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_plan_from_either_name() {
        assert_eq!(
            Plan::read(br#"{"max_tokens":300,"stream":false}"#),
            Plan::Unary(300)
        );
        let paced = Plan::Stream(64, Duration::from_millis(50));
        assert_eq!(
            Plan::read(br#"{"max_completion_tokens": 500064, "stream": true}"#),
            paced
        );
        assert_eq!(Plan::read(b"{}"), Plan::Unary(256));
    }

    #[test]
    fn unary_answers_have_the_planned_size() {
        let filler = Bytes::from(vec![b'x'; MAX_ANSWER]);
        let size = |bytes| Answer::new(Plan::Unary(bytes), &filler).size_hint().exact();
        assert_eq!(size(1 << 20), Some(1 << 20));
        assert_eq!(size(256), Some(256));
        assert_eq!(size(1), Some((UNARY_HEAD.len() + UNARY_TAIL.len()) as u64));
    }
}
