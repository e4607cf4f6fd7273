//! One request and its answer, timed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Failure;

/// A request that takes longer has failed.
const LIMIT: Duration = Duration::from_mins(1);

pub(crate) type Connection = SendRequest<Full<Bytes>>;

/// Where requests go and what a good answer holds.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Events of a streamed answer, `[DONE]` included; None for unary answers.
    pub(crate) events: Option<u64>,
}

/// What one good answer looked like.
pub(crate) struct Outcome {
    pub(crate) first: Duration,
    pub(crate) whole: Duration,
    pub(crate) bytes: u64,
    /// Events seen, without `[DONE]`.
    pub(crate) chunks: u64,
}

pub(crate) async fn connect(target: Target) -> Result<Connection, Failure> {
    let socket = TcpStream::connect(target.address).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Sends `body` and reads the answer to its end. Any status but 200, a short stream and a late end are failures.
pub(crate) async fn exchange(
    connection: &mut Connection,
    target: Target,
    body: Bytes,
) -> Result<Outcome, Failure> {
    tokio::time::timeout(LIMIT, untimed(connection, target, body)).await?
}

async fn untimed(
    connection: &mut Connection,
    target: Target,
    body: Bytes,
) -> Result<Outcome, Failure> {
    let request = Request::post("/v1/chat/completions")
        .header(HOST, "bench")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))?;
    let start = Instant::now();
    connection.ready().await?;
    let mut response = connection.send_request(request).await?;
    let status = response.status();
    let (mut first, mut bytes, mut events) = (None, 0, Events::default());
    while let Some(frame) = response.frame().await {
        if let Ok(data) = frame?.into_data() {
            first.get_or_insert_with(|| start.elapsed());
            bytes += data.len() as u64;
            if target.events.is_some() {
                events.read(&data);
            }
        }
    }
    let whole = start.elapsed();
    if status != StatusCode::OK {
        return Err(format!("status {status}").into());
    }
    if target
        .events
        .is_some_and(|expected| expected != events.seen)
    {
        return Err(format!("{} events instead of {:?}", events.seen, target.events).into());
    }
    let chunks = events.seen.saturating_sub(1);
    Ok(Outcome {
        first: first.unwrap_or(whole),
        whole,
        bytes,
        chunks,
    })
}

/// Counts server-sent events by the blank line that ends each, however the bytes were cut.
#[derive(Default)]
struct Events {
    seen: u64,
    newline: bool,
}

impl Events {
    fn read(&mut self, data: &[u8]) {
        let mut end = usize::from(self.newline);
        for at in memchr::memchr_iter(b'\n', data) {
            if self.newline && at + 1 == end {
                self.seen += 1;
                self.newline = false;
            } else {
                self.newline = true;
            }
            end = at + 2;
        }
        self.newline = self.newline && data.last() == Some(&b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::Events;

    #[test]
    fn events_are_counted_however_they_are_cut() {
        let stream = b"data: {\"a\":1}\n\ndata: x\ndata: y\n\n\ndata: [DONE]\n\n";
        for cut in 1..stream.len() {
            let mut events = Events::default();
            for piece in stream.chunks(cut) {
                events.read(piece);
            }
            assert_eq!(events.seen, 3, "cut every {cut} bytes");
        }
    }
}
