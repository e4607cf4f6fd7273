//! Answers of any bytes, however they are cut: sound ones arrive as they were sent, others end their exchange, and the
//! next exchange of the relay is none the worse.

use std::sync::Mutex;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{TestCaseError, TestRunner};

use super::*;

const SOUND: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The writes of the next answer.
type Script = Arc<Mutex<Vec<Vec<u8>>>>;

/// A worker that writes what `script` has, each piece by itself, and then closes; at `/sound` an answer that is one.
fn scripted(script: &Script) -> String {
    let script = Arc::clone(script);
    worker(move |mut stream| {
        stream.set_nodelay(true).unwrap();
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            seen.push(byte[0]);
        }
        let pieces = if seen.starts_with(b"GET /sound ") {
            vec![SOUND.to_vec()]
        } else {
            script.lock().unwrap().clone()
        };
        for piece in pieces {
            // The relay may have seen enough.
            if stream.write_all(&piece).is_err() {
                return;
            }
        }
    })
}

fn cut(answer: &[u8], at: &[Index]) -> Vec<Vec<u8>> {
    let mut at: Vec<_> = at.iter().map(|at| at.index(answer.len() + 1)).collect();
    at.sort_unstable();
    let mut from = 0;
    let mut pieces = Vec::new();
    for to in at.into_iter().chain([answer.len()]) {
        pieces.push(answer[from..to].to_vec());
        from = to;
    }
    pieces
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    prop::collection::vec(any::<Index>(), 0..4)
}

/// What came of an exchange: head and whole body.
fn exchanged(relay: &Relay<()>, url: &str, collect: bool) -> Result<(Head, Vec<u8>), Failure> {
    let exchange = relay.start(order(relay, url, collect), ());
    let head = head(relay, &exchange)?;
    if let Some(whole) = &head.body {
        let whole = whole.to_vec();
        return Ok((head, whole));
    }
    let (bytes, end) = body(relay, &exchange);
    end.map(|()| (head, bytes))
}

fn is_sound(relay: &Relay<()>, url: &str) -> Result<(), TestCaseError> {
    let (head, body) = exchanged(relay, &format!("{url}sound"), true)
        .map_err(|failure| TestCaseError::fail(failure.to_string()))?;
    prop_assert_eq!((head.status(), &body[..]), (200, &b"ok"[..]));
    prop_assert_eq!(relay.stats().active, 0);
    Ok(())
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::sample::select(
            &[
                "content-length: 5",
                "content-length: 0",
                "content-length: -1",
                "content-length: 5, 5",
                "content-length: 99999999999999999999",
                "transfer-encoding: chunked",
                "transfer-encoding: gzip",
                "connection: close",
                "connection: x-a, keep-alive",
                "content-type: text/event-stream",
                "content-encoding: gzip",
                "x-a: 1",
                ": 1",
                "x y: 1",
                " folded",
                "x-a:",
                "trailer: x",
                "upgrade: h2c",
            ][..]
        )
        .prop_map(|line| line.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
    ]
}

/// The bytes of an answer that is nearly one.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let status = prop::sample::select(
        &[
            "HTTP/1.1 200 OK",
            "HTTP/1.1 204 X",
            "HTTP/1.1 304 X",
            "HTTP/1.1 100 Continue",
            "HTTP/1.1 101 X",
            "HTTP/1.0 200",
            "HTTP/1.1 999 X",
            "HTTP/1.1 99 X",
            "HTTP/2 200 OK",
            "HTTP/1.1",
            "ICY 200 OK",
            "",
        ][..],
    );
    let end = prop::sample::select(&["\r\n\r\n", "\n\n", "\r\n", ""][..]);
    let body = prop_oneof![
        prop::sample::select(
            &[
                "hello",
                "5\r\nhello\r\n0\r\n\r\n",
                "zz\r\n",
                "5\r\nhel",
                "data: 1\n\n"
            ][..]
        )
        .prop_map(|body| body.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..24),
    ];
    let near = (status, prop::collection::vec(line(), 0..5), end, body).prop_map(
        |(status, lines, end, body)| {
            let mut answer = status.as_bytes().to_vec();
            for line in lines {
                answer.extend(b"\r\n");
                answer.extend(line);
            }
            answer.extend(end.as_bytes());
            answer.extend(body);
            answer
        },
    );
    prop_oneof![4 => near, 1 => prop::collection::vec(any::<u8>(), 0..64)]
}

#[test]
fn garbage_ends_its_exchange_and_nothing_else() {
    let script = Script::default();
    let url = scripted(&script);
    let relay = Relay::new(limits()).unwrap();
    TestRunner::default()
        .run(
            &(garbage(), cuts(), any::<bool>()),
            |(answer, at, collect)| {
                *script.lock().unwrap() = cut(&answer, &at);
                if let Ok((head, _)) = exchanged(&relay, &url, collect) {
                    prop_assert!((200..1000).contains(&head.status()), "{}", head.status());
                }
                is_sound(&relay, &url)
            },
        )
        .unwrap();
}

/// Status, headers and body of an answer.
type Answer = (u16, Vec<(String, String)>, Vec<u8>);

fn sound() -> impl Strategy<Value = Answer> {
    let status = prop::sample::select(&[200_u16, 201, 400, 404, 429, 500, 503][..]);
    let header = ("x-[a-z]{1,6}", "([!-~]([ -~]{0,10}[!-~])?)?");
    let body = prop::collection::vec(any::<u8>(), 0..200);
    (status, prop::collection::vec(header, 0..6), body)
}

/// As a worker writes it; in chunks of so many bytes, or with its length.
fn written((status, headers, body): &Answer, chunk: Option<usize>) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} X\r\n").into_bytes();
    for (name, value) in headers {
        out.extend(format!("{name}: {value}\r\n").bytes());
    }
    if let Some(size) = chunk {
        out.extend(b"transfer-encoding: chunked\r\n\r\n");
        for piece in body.chunks(size) {
            out.extend(format!("{:x}\r\n", piece.len()).bytes());
            out.extend(piece);
            out.extend(b"\r\n");
        }
        out.extend(b"0\r\n\r\n");
    } else {
        out.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
        out.extend(body);
    }
    out
}

#[test]
fn a_sound_answer_arrives_as_it_was_sent() {
    let script = Script::default();
    let url = scripted(&script);
    let relay = Relay::new(limits()).unwrap();
    let chunk = prop::option::of(1_usize..64);
    TestRunner::default()
        .run(
            &(sound(), chunk, cuts(), any::<bool>()),
            |(answer, chunk, at, collect)| {
                *script.lock().unwrap() = cut(&written(&answer, chunk), &at);
                let (status, mut headers, sent) = answer;
                let (head, body) = exchanged(&relay, &url, collect)
                    .map_err(|failure| TestCaseError::fail(failure.to_string()))?;
                if chunk.is_none() {
                    headers.push(("content-length".to_owned(), sent.len().to_string()));
                }
                let mut passed: Vec<_> = head
                    .headers()
                    .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                    .collect();
                // Only those of one name have an order.
                headers.sort_by(|one, two| one.0.cmp(&two.0));
                passed.sort_by(|one, two| one.0.cmp(&two.0));
                prop_assert_eq!((head.status(), passed, body), (status, headers, sent));
                is_sound(&relay, &url)
            },
        )
        .unwrap();
}
