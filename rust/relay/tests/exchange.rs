//! The relay without Python: a consumer that polls the descriptor, and workers of raw sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "exchange/fuzz.rs"]
mod fuzz;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use fd_router_relay::{
    Bytes, Exchange, Failure, Head, HeaderValue, Kind, Method, Order, Relay, RelayConfig,
    RequestHeaders, Usage,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const LIMIT: Duration = Duration::from_secs(20);

/// Limits that no test meets by accident.
fn limits() -> RelayConfig {
    RelayConfig {
        ca_file: None,
        hop: HeaderValue::from_static("r1"),
        threads: 1,
        max_idle_per_worker: 256,
        keep_alive: Duration::from_secs(4),
        connect_timeout: Some(LIMIT),
        first_byte_timeout: Some(LIMIT),
        idle_timeout: Some(LIMIT),
        collect_limit: 65_536,
        buffer_limit: 65_536,
    }
}

/// A worker that hands each connection to `serve`, in a thread of its own.
fn worker(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    url
}

/// Reads one request without a body's content mattering.
fn read_head(stream: &mut TcpStream) -> bool {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return false;
        }
        seen.push(byte[0]);
    }
    true
}

fn order(relay: &Relay<()>, url: &str, collect: bool) -> Order {
    Order {
        method: Method::GET,
        target: relay.target(url).unwrap(),
        headers: RequestHeaders::default(),
        body: Bytes::new(),
        collect,
        fresh: false,
    }
}

/// Waits on the descriptor and takes what is there.
fn turn(relay: &Relay<()>) -> Vec<Arc<Exchange<()>>> {
    let limit = Timespec::try_from(LIMIT).unwrap();
    let mut fds = [PollFd::from_borrowed_fd(relay.fd(), PollFlags::IN)];
    assert_eq!(
        poll(&mut fds, Some(&limit)).unwrap(),
        1,
        "nothing was announced"
    );
    let mut batch = Vec::new();
    relay.take(&mut batch, 256);
    batch
}

fn head(relay: &Relay<()>, exchange: &Exchange<()>) -> Result<Head, Failure> {
    loop {
        if let Some(head) = exchange.take_head() {
            return head;
        }
        turn(relay);
    }
}

fn body(relay: &Relay<()>, exchange: &Exchange<()>) -> (Vec<u8>, Result<(), Failure>) {
    let mut whole = Vec::new();
    loop {
        let (bytes, end) = exchange.take_body(usize::MAX);
        whole.extend(bytes);
        if let Some(end) = end {
            return (whole, end);
        }
        turn(relay);
    }
}

fn wait(what: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !what() {
        assert!(Instant::now() < deadline, "not within the limit");
        thread::sleep(Duration::from_millis(1));
    }
}

fn echo_worker(answer: &'static [u8]) -> String {
    worker(move |mut stream| {
        while read_head(&mut stream) {
            stream.write_all(answer).unwrap();
        }
    })
}

#[test]
fn a_collected_answer_comes_in_one_piece() {
    let url = echo_worker(b"HTTP/1.1 201 Created\r\nx-a: 1\r\ncontent-length: 5\r\n\r\nhello");
    let relay = Relay::new(limits()).unwrap();
    for _ in 0..3 {
        let exchange = relay.start(order(&relay, &url, true), ());
        let head = head(&relay, &exchange).unwrap();
        assert_eq!(
            (head.status(), head.body.as_deref()),
            (201, Some(&b"hello"[..]))
        );
    }
    let stats = relay.stats();
    assert_eq!(
        (
            stats.connections,
            stats.idle_connections,
            stats.active,
            stats.chunks
        ),
        (1, 1, 0, 3)
    );
}

#[test]
fn events_are_never_collected() {
    for kind in ["text/event-stream", "Text/Event-Stream;charset=utf-8"] {
        let url = worker(move |mut stream| {
            read_head(&mut stream);
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: 6\r\n\r\none");
            stream.write_all(head.as_bytes()).unwrap();
            // The rest is held back until the relay is gone.
            let _ = stream.read(&mut [0]);
        });
        let relay = Relay::new(limits()).unwrap();
        let exchange = relay.start(order(&relay, &url, true), ());
        assert_eq!(head(&relay, &exchange).unwrap().body, None);
        wait(|| relay.stats().bytes == 3);
        assert_eq!(exchange.take_body(usize::MAX), (b"one".to_vec(), None));
    }
}

#[test]
fn many_exchanges_are_announced_until_all_are_taken() {
    let url = echo_worker(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let relay = Relay::new(RelayConfig {
        threads: 2,
        ..limits()
    })
    .unwrap();
    let exchanges: Vec<_> = (0..500)
        .map(|_| relay.start(order(&relay, &url, true), ()))
        .collect();
    let mut taken = 0;
    while taken < exchanges.len() {
        let mut fds = [PollFd::from_borrowed_fd(relay.fd(), PollFlags::IN)];
        let limit = Timespec::try_from(LIMIT).unwrap();
        assert_eq!(
            poll(&mut fds, Some(&limit)).unwrap(),
            1,
            "{taken} taken, the rest not announced"
        );
        let mut batch = Vec::new();
        relay.take(&mut batch, 7);
        assert!(batch.len() <= 7);
        taken += batch
            .iter()
            .filter(|exchange| matches!(exchange.take_head(), Some(Ok(_))))
            .count();
    }
}

#[test]
fn bytes_that_came_faster_than_the_consumer_are_one_piece() {
    let url = worker(|mut stream| {
        read_head(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .unwrap();
        for _ in 0..100 {
            stream.write_all(b"2\r\nab\r\n").unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let relay = Relay::new(limits()).unwrap();
    let exchange = relay.start(order(&relay, &url, false), ());
    head(&relay, &exchange).unwrap();
    wait(|| relay.stats().active == 0);
    let (bytes, end) = exchange.take_body(150);
    assert_eq!((bytes.len(), end), (150, None));
    let (bytes, end) = exchange.take_body(150);
    assert_eq!((bytes.len(), end), (50, Some(Ok(()))));
    let stats = relay.stats();
    assert_eq!((stats.chunks, stats.gaps.buckets.iter().sum()), (100, 99));
}

#[test]
fn a_consumer_that_takes_nothing_stops_the_reading() {
    let url = worker(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 30000000\r\n\r\n");
        let _ = stream.write_all(&vec![b'x'; 30_000_000]);
    });
    let relay = Relay::new(RelayConfig {
        buffer_limit: 10_000,
        ..limits()
    })
    .unwrap();
    let exchange = relay.start(order(&relay, &url, false), ());
    head(&relay, &exchange).unwrap();
    wait(|| relay.stats().bytes >= 10_000);
    let (first, end) = exchange.take_body(usize::MAX);
    assert!(first.len() < 10_000 + 65_536 && end.is_none());
    let (rest, end) = body(&relay, &exchange);
    assert_eq!((first.len() + rest.len(), end), (30_000_000, Ok(())));
}

/// A worker that answers `data` and reports when its connection is closed.
fn watcher(data: &'static [u8]) -> (String, Receiver<()>) {
    let (report, closed) = channel();
    let url = worker(move |mut stream| {
        read_head(&mut stream);
        stream.write_all(data).unwrap();
        if matches!(stream.read(&mut [0]), Ok(0) | Err(_)) {
            let _ = report.send(());
        }
    });
    (url, closed)
}

#[test]
fn a_cancelled_exchange_closes_its_connection() {
    for data in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
    ] {
        let (url, closed) = watcher(data);
        let relay = Relay::new(limits()).unwrap();
        let exchange = relay.start(order(&relay, &url, false), ());
        if data.is_empty() {
            wait(|| relay.stats().connections == 1);
        } else {
            head(&relay, &exchange).unwrap();
        }
        exchange.cancel();
        let (bytes, end) = body(&relay, &exchange);
        assert_eq!((bytes.len(), end.unwrap_err().kind), (0, Kind::Cancelled));
        closed.recv_timeout(LIMIT).unwrap();
        wait(|| relay.stats().active == 0);
    }
}

#[test]
fn a_closed_relay_ends_what_runs_and_what_comes() {
    let (url, closed) = watcher(b"");
    let relay = Relay::new(limits()).unwrap();
    let exchange = relay.start(order(&relay, &url, false), ());
    wait(|| relay.stats().connections == 1);
    relay.close();
    assert_eq!(head(&relay, &exchange).unwrap_err().kind, Kind::Closed);
    closed.recv_timeout(LIMIT).unwrap();
    let late = relay.start(order(&relay, &url, false), ());
    let failure = head(&relay, &late).unwrap_err();
    assert_eq!((failure.kind, failure.received), (Kind::Closed, false));
    relay.close();
}

#[test]
fn an_idle_limit_counts_from_the_last_chunk() {
    let url = worker(|mut stream| {
        read_head(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
            .unwrap();
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(100));
            stream.write_all(b"x").unwrap();
        }
        let _ = stream.read(&mut [0]);
    });
    let limit = Some(Duration::from_millis(400));
    let relay = Relay::new(RelayConfig {
        idle_timeout: limit,
        ..limits()
    })
    .unwrap();
    let exchange = relay.start(order(&relay, &url, false), ());
    head(&relay, &exchange).unwrap();
    let (bytes, end) = body(&relay, &exchange);
    assert_eq!((bytes.len(), end.unwrap_err().kind), (5, Kind::IdleTimeout));
}

#[test]
fn gathered_orders_go_when_they_are_flushed_or_many() {
    let url = echo_worker(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let relay = Relay::new(limits()).unwrap();
    let gather = || relay.gather(order(&relay, &url, true), ());
    for count in [1, 2, 15, 16, 17, 40] {
        let gathered: Vec<_> = (0..count).map(|_| gather()).collect();
        let firsts: Vec<_> = (0..count).filter(|number| gathered[*number].1).collect();
        assert_eq!(firsts, (0..count).step_by(16).collect::<Vec<_>>());
        if count % 16 != 0 {
            relay.flush();
        }
        for (exchange, _) in gathered {
            assert_eq!(head(&relay, &exchange).unwrap().body.unwrap(), "ok");
        }
    }
    assert_eq!(relay.stats().active, 0);
}

#[test]
fn a_gathered_order_that_is_cancelled_or_closed_is_not_sent() {
    let (hits, hit) = channel();
    let url = worker(move |_| hits.send(()).unwrap());
    let relay = Relay::new(limits()).unwrap();
    let (cancelled, _) = relay.gather(order(&relay, &url, true), ());
    cancelled.cancel();
    relay.flush();
    assert_eq!(head(&relay, &cancelled).unwrap_err().kind, Kind::Cancelled);
    wait(|| relay.stats().active == 0);
    let (closed, first) = relay.gather(order(&relay, &url, true), ());
    assert!(first);
    relay.close();
    relay.flush();
    let failure = head(&relay, &closed).unwrap_err();
    assert_eq!((failure.kind, failure.received), (Kind::Closed, false));
    assert_eq!(relay.stats().active, 0);
    assert!(hit.try_recv().is_err());
}

/// A worker whose answers have this status line, headers and body, in pieces of a few bytes.
fn saying(status: &'static str, headers: &'static str, body: String) -> String {
    worker(move |mut stream| {
        while read_head(&mut stream) {
            write!(stream, "HTTP/1.1 {status}\r\n{headers}").unwrap();
            write!(stream, "content-length: {}\r\n\r\n", body.len()).unwrap();
            for piece in body.as_bytes().chunks(1_021) {
                stream.write_all(piece).unwrap();
            }
        }
    })
}

#[test]
fn the_end_of_an_answer_says_what_its_prompt_was() {
    const USAGE: &str =
        r#"{"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4}}}"#;
    let said = Usage {
        prompt_tokens: 9,
        cached_tokens: Some(4),
        completion_tokens: None,
    };
    let long = "x".repeat(2 * limits().collect_limit);
    for (status, headers, before, expected) in [
        ("200 OK", "", "", Some(said)),
        ("200 OK", "", long.as_str(), Some(said)),
        ("200 OK", "content-encoding: gzip\r\n", "", None),
        ("503 Busy", "", "", None),
    ] {
        let url = saying(status, headers, format!("{before}{USAGE}"));
        let relay = Relay::new(limits()).unwrap();
        for collect in [true, false] {
            let exchange = relay.start(order(&relay, &url, collect), ());
            let head = head(&relay, &exchange).unwrap();
            if head.body.is_none() {
                body(&relay, &exchange).1.unwrap();
            }
            assert_eq!(exchange.usage(), expected, "{status} {headers} {collect}");
        }
    }
}

#[test]
fn an_answer_that_is_cut_says_nothing() {
    let url = worker(|mut stream| {
        read_head(&mut stream);
        let body = r#"{"usage":{"prompt_tokens":9}}"#;
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{body}"
        )
        .unwrap();
    });
    let relay = Relay::new(limits()).unwrap();
    let exchange = relay.start(order(&relay, &url, false), ());
    head(&relay, &exchange).unwrap();
    body(&relay, &exchange).1.unwrap_err();
    assert_eq!(exchange.usage(), None);
}
