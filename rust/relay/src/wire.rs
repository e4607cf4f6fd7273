//! One connection, with both halves of hyper's client in one hand.
//!
//! hyper gives a connection (moves bytes) and a sender (takes requests) and expects the former in a task of its own.
//! Here the exchange's task polls both: a chunk wakes one task and not two, and dropping the task closes the socket.
//! An idle connection is polled by nobody; checkout and the sweep look at it once to see whether it still lives.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::error::{Failure, Kind};
use crate::io::{Io, News, Socket};
use crate::origin::Origin;
use crate::quiet::{QuietWaker, unheard};
use crate::watchdog::Watchdog;

/// Bytes that hyper reads ahead per connection, and the largest head of an answer.
const READ_BUFFER: usize = 32 * 1024;
/// Headers accepted in an answer.
const MAX_HEADERS: usize = 128;

type Http = Connection<TokioIo<Io>, Full<Bytes>>;

pub(crate) struct Wire {
    /// Whose connection it is; None for one that is used once, of which nobody hears.
    home: Option<Arc<Origin>>,
    sender: SendRequest<Full<Bytes>>,
    connection: Option<Box<Http>>,
    news: Arc<News>,
    watchdog: Watchdog,
    quiet: QuietWaker,
}

impl Wire {
    /// A connection that can take a request, for the pool of `home` afterwards if there is one.
    pub(crate) async fn handshake(
        socket: Socket,
        home: Option<Arc<Origin>>,
    ) -> Result<Self, Failure> {
        let news = Arc::new(News::default());
        let io = TokioIo::new(Io::new(socket, Arc::clone(&news)));
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(READ_BUFFER)
            .max_headers(MAX_HEADERS)
            .handshake(io)
            .await
            .map_err(|error| Failure::of_http(&error, Kind::Connect))?;
        Ok(Self {
            home,
            sender,
            connection: Some(Box::new(connection)),
            news,
            watchdog: Watchdog::default(),
            quiet: QuietWaker::default(),
        })
    }

    /// Sends a request and waits for the head of its answer. `received` is set when the first byte of that comes.
    pub(crate) async fn request(
        &mut self,
        request: Request<Full<Bytes>>,
        limit: Option<Duration>,
        received: &AtomicBool,
    ) -> Result<Response<Incoming>, Failure> {
        // What came before the request is no answer to it.
        self.news.take();
        self.watchdog.start(Instant::now(), limit);
        let mut answer = pin!(self.sender.send_request(request));
        poll_fn(|cx| {
            if self.turn(cx.waker()).is_some() {
                received.store(true, Relaxed);
            }
            if let Poll::Ready(head) = answer.as_mut().poll(cx) {
                return Poll::Ready(
                    head.map_err(|error| Failure::of_http(&error, Kind::ResetBeforeHead)),
                );
            }
            self.watchdog.poll(cx).map(|limit| {
                let detail = format!("no head of an answer within {} s", limit.as_secs_f64());
                Err(Failure::new(Kind::FirstByteTimeout, detail))
            })
        })
        .await
    }

    /// Sets the limit between chunks, from now on.
    pub(crate) fn limit_gaps(&mut self, limit: Option<Duration>) {
        self.watchdog.start(Instant::now(), limit);
    }

    /// Lets the time until now not count as a gap.
    pub(crate) fn forgive(&mut self, now: Instant) {
        self.watchdog.touch(now);
    }

    /// The next chunk of a body and when it came, or None at its end. Trailers are passed over.
    pub(crate) async fn chunk(
        &mut self,
        body: &mut Incoming,
    ) -> Result<Option<(Bytes, Instant)>, Failure> {
        poll_fn(|cx| {
            loop {
                let read = self.turn(cx.waker());
                // The connection, which fills the body, was polled just now and wakes us for more.
                let mut nobody = Context::from_waker(Waker::noop());
                match unheard(|| Pin::new(&mut *body).poll_frame(&mut nobody)) {
                    Poll::Ready(Some(Ok(frame))) => {
                        if let Ok(data) = frame.into_data() {
                            // Without a read it had come with the chunk before it, and counts from now.
                            let at = read.unwrap_or_else(Instant::now);
                            return Poll::Ready(Ok(Some((data, at))));
                        }
                    }
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Err(Failure::of_http(&error, Kind::ResetMidBody)));
                    }
                    Poll::Ready(None) => return Poll::Ready(Ok(None)),
                    Poll::Pending => break,
                }
            }
            self.watchdog.poll(cx).map(|limit| {
                let detail = format!("nothing of the body came for {} s", limit.as_secs_f64());
                Err(Failure::new(Kind::IdleTimeout, detail))
            })
        })
        .await
    }

    /// The origin that keeps the connection.
    pub(crate) fn home(&self) -> Option<Arc<Origin>> {
        self.home.clone()
    }

    /// Whether the connection is open and takes a request.
    pub(crate) fn is_idle(&mut self) -> bool {
        turn(&mut self.connection, Waker::noop());
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Lets the connection read and write for the task that is polled. If bytes came, notes and returns when.
    fn turn(&mut self, task: &Waker) -> Option<Instant> {
        turn(&mut self.connection, self.quiet.of(task));
        self.news.take().then(|| {
            let now = Instant::now();
            if let Some(origin) = &self.home {
                origin.hear(now);
            }
            now
        })
    }
}

/// Polls a connection, which goes when it has ended: the pending request or its body learns of an error as well.
fn turn(connection: &mut Option<Box<Http>>, waker: &Waker) {
    if let Some(open) = connection
        && Pin::new(open)
            .poll(&mut Context::from_waker(waker))
            .is_ready()
    {
        *connection = None;
    }
}
