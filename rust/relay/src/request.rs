//! Sending a request: on a kept connection if there is one, else on a new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::connect::connect;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::headers::HOP_HEADER;
use crate::target::Target;
use crate::wire::Wire;

/// How soon after it was taken a kept connection must fail for its request to be sent again.
///
/// A close that crossed the request is here within a round trip, which among machines of a fleet is a few milliseconds;
/// the rest is for a runtime that was busy. A worker that closes later had the request and may have acted on it: that is
/// for the caller to judge.
const STALE_WITHIN: Duration = Duration::from_millis(50);

/// What the task sends. Kept whole until the head is there, as it may have to be sent twice.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) target: Arc<Target>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    /// Sent on a connection of its own.
    pub(crate) fresh: bool,
}

impl Outgoing {
    fn build(&self, hop: &HeaderValue) -> Request<Full<Bytes>> {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 3);
        headers.insert(header::HOST, self.target.host.clone());
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
        let bodiless = matches!(self.method, Method::GET | Method::HEAD) && self.body.is_empty();
        if !bodiless {
            headers.insert(header::CONTENT_LENGTH, self.body.len().into());
        }
        if self.fresh {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        } else {
            // Beside one of the client's: a chain of routers names them all.
            headers.append(&HOP_HEADER, hop.clone());
        }
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.path.clone();
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        request
    }
}

/// Sends the request and waits for the head.
///
/// A kept connection may have been closed by the worker in the very moment of its use. Such a request is sent once
/// more, on a new connection, and counted; failures of new connections are for the caller to judge. `received` is set when the
/// first byte of the answer comes.
pub(crate) async fn answer(
    context: &Context,
    outgoing: &Outgoing,
    received: &AtomicBool,
) -> Result<(Wire, Response<Incoming>), Failure> {
    let config = &context.config;
    let limit = config.first_byte_timeout;
    let origin = &outgoing.target.origin;
    let mut again = false;
    let taken = Instant::now();
    let kept = if outgoing.fresh {
        None
    } else {
        context.pool.take(origin, taken)
    };
    if let Some(mut wire) = kept {
        match wire
            .request(outgoing.build(&config.hop), limit, received)
            .await
        {
            Ok(response) => return Ok((wire, response)),
            Err(failure) if is_stale(&failure, taken) && !received.load(Relaxed) => again = true,
            Err(failure) => return Err(failure),
        }
    }
    let mut wire = connect(context, origin, outgoing.fresh).await?;
    context.stats.connections.fetch_add(1, Relaxed);
    if again {
        context.stats.resends.fetch_add(1, Relaxed);
    }
    let response = wire
        .request(outgoing.build(&config.hop), limit, received)
        .await?;
    Ok((wire, response))
}

fn is_stale(failure: &Failure, taken: Instant) -> bool {
    failure.kind == Kind::ResetBeforeHead && taken.elapsed() < STALE_WITHIN
}
