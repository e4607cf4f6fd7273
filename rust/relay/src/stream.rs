//! The task of one exchange, from the request to the last byte of the answer.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use tokio::time::Instant;

use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::exchange::Exchange;
use crate::head::Head;
use crate::request::{Outgoing, answer};
use crate::tail::Tail;
use crate::usage;
use crate::wire::Wire;

/// Sees to it that an exchange ends whatever becomes of its task.
pub(crate) struct Guard<S> {
    exchange: Arc<Exchange<S>>,
    context: Arc<Context>,
}

impl<S> Guard<S> {
    pub(crate) fn new(exchange: Arc<Exchange<S>>, context: Arc<Context>) -> Self {
        context.stats.active.fetch_add(1, Relaxed);
        Self { exchange, context }
    }

    /// Whether a plain connection waits for the request.
    pub(crate) fn is_kept(&self, outgoing: &Outgoing) -> bool {
        let origin = &outgoing.target.origin;
        !outgoing.fresh && !origin.tls && self.context.pool.keeps(origin)
    }
}

impl<S> Drop for Guard<S> {
    fn drop(&mut self) {
        let failure = if std::thread::panicking() {
            Failure::new(Kind::BadResponse, "the relay failed on this answer")
        } else {
            Failure::new(Kind::Closed, "the relay was shut down")
        };
        self.exchange.abandon(failure);
        self.context.stats.active.fetch_sub(1, Relaxed);
    }
}

/// Runs an exchange to its end.
pub(crate) async fn run<S>(guard: Guard<S>, outgoing: Outgoing, collect: bool) {
    let exchange = &guard.exchange;
    if let Err(failure) = perform(&guard.context, exchange, outgoing, collect).await {
        exchange.finish(Err(failure));
    }
}

async fn perform<S>(
    context: &Context,
    exchange: &Arc<Exchange<S>>,
    outgoing: Outgoing,
    collect: bool,
) -> Result<(), Failure> {
    let (mut wire, response) = answer(context, &outgoing, exchange.received()).await?;
    drop(outgoing);
    wire.limit_gaps(context.config.idle_timeout);
    let (head, mut body) = split(response)?;
    let mut tail = usage::may_follow(&head).then(Tail::default);
    let reusable = !may_be_followed(&head);
    // Events are for now: whatever made the worker stream, its client is not kept waiting for the last of them.
    if collect && !head.event_stream() {
        match gather(context, &mut wire, &mut body).await? {
            Gathered::Whole(bytes) => {
                if reusable {
                    context.pool.put(wire, Instant::now());
                }
                let usage = tail.and_then(|_| usage::find(&bytes));
                let body = Some(bytes);
                exchange.put_whole(Head { body, ..head }, usage);
                return Ok(());
            }
            Gathered::Part(bytes) => {
                exchange.put_head(head);
                exchange.put_bytes(&bytes);
                if let Some(tail) = &mut tail {
                    tail.push(&bytes);
                }
            }
        }
    } else {
        exchange.put_head(head);
    }
    forward(context, exchange, &mut wire, &mut body, tail.as_mut()).await?;
    if reusable {
        context.pool.put(wire, Instant::now());
    }
    exchange.finish(Ok(tail.and_then(|tail| usage::find(tail.bytes()))));
    Ok(())
}

/// A switch of protocols was never asked for.
fn split(response: Response<Incoming>) -> Result<(Head, Incoming), Failure> {
    let (parts, body) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        let failure = Failure::new(
            Kind::BadResponse,
            "101 Switching Protocols to a request that asked for none",
        );
        return Err(failure);
    }
    Ok((
        Head {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: None,
        },
        body,
    ))
}

/// Whether a body may follow where HTTP has none, which would be taken for the next answer on the connection: `FastDeploy`
/// announces one with its 304, and sends it in a write of its own.
fn may_be_followed(head: &Head) -> bool {
    let announced = head.headers.get(http::header::CONTENT_LENGTH);
    matches!(head.status, 204 | 304) && announced.is_some_and(|length| length.as_bytes() != b"0")
}

enum Gathered {
    Whole(Bytes),
    Part(BytesMut),
}

/// Reads the body until it ends or is longer than may be collected.
async fn gather(
    context: &Context,
    wire: &mut Wire,
    body: &mut Incoming,
) -> Result<Gathered, Failure> {
    let limit = context.config.collect_limit;
    let expected = body
        .size_hint()
        .exact()
        .map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if expected.is_some_and(|length| length > limit) {
        return Ok(Gathered::Part(BytesMut::new()));
    }
    let mut gathered = BytesMut::new();
    while let Some((data, at)) = wire.chunk(body).await? {
        context.stats.chunk(data.len());
        wire.forgive(at);
        if gathered.is_empty() && expected == Some(data.len()) {
            return Ok(Gathered::Whole(data));
        }
        gathered.reserve(expected.unwrap_or(0).saturating_sub(gathered.len()));
        gathered.extend_from_slice(&data);
        if gathered.len() > limit {
            return Ok(Gathered::Part(gathered));
        }
    }
    Ok(Gathered::Whole(gathered.freeze()))
}

/// Reads the rest of the body, no faster than the consumer takes it, and keeps its end in `tail`.
async fn forward<S>(
    context: &Context,
    exchange: &Arc<Exchange<S>>,
    wire: &mut Wire,
    body: &mut Incoming,
    mut tail: Option<&mut Tail>,
) -> Result<(), Failure> {
    let limit = context.config.buffer_limit;
    let mut last: Option<Instant> = None;
    exchange.room(limit).await;
    wire.forgive(Instant::now());
    while let Some((data, at)) = wire.chunk(body).await? {
        let mut now = at;
        if let Some(last) = last {
            context.stats.gap(now.duration_since(last));
        }
        context.stats.chunk(data.len());
        let waiting = exchange.put_bytes(&data);
        if let Some(tail) = &mut tail {
            tail.push(&data);
        }
        drop(data);
        if waiting >= limit {
            exchange.room(limit).await;
            now = Instant::now();
        }
        wire.forgive(now);
        last = Some(now);
    }
    Ok(())
}
