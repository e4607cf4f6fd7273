//! The stand-in engine: the endpoints that routers ask for, on any number of ports, on one thread.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::Failure;
use crate::answer::{Answer, MAX_ANSWER, Plan};
use crate::args::Args;

const MODELS: &[u8] =
    br#"{"object":"list","data":[{"id":"bench","object":"model","created":0,"owned_by":"bench"}]}"#;
const SERVER_INFO: &[u8] = br#"{"model_id":"bench","model_path":"bench","served_model_name":"bench","tp_size":1,"dp_size":1,"version":"0.0.0","max_running_requests":100000}"#;
const MODEL_INFO: &[u8] =
    br#"{"model_path":"bench","tokenizer_path":"bench","is_generation":true}"#;
const LOAD: &[u8] = br#"{"load":0,"loads":[]}"#;
const METRICS: &[u8] = b"fastdeploy:num_requests_running 0\nfastdeploy:num_requests_waiting 0\nfastdeploy:available_gpu_block_num 100000\n";

struct Engine {
    filler: Bytes,
    prefill: bool,
}

/// Prints `{"ports":[...]}` when it listens, and returns after `--seconds`.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let count = args.or("engines", 2_usize)?;
    let seconds = args.or("seconds", 3600.0_f64)?;
    let prefill = args.or("prefill", 0_u8)? == 1;
    let engine = Arc::new(Engine {
        filler: Bytes::from(vec![b'x'; MAX_ANSWER]),
        prefill,
    });
    let mut ports = Vec::with_capacity(count);
    for _ in 0..count {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        ports.push(listener.local_addr()?.port());
        tokio::spawn(accept(listener, Arc::clone(&engine)));
    }
    println!("{{\"ports\":{ports:?}}}");
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    Ok(())
}

async fn accept(listener: TcpListener, engine: Arc<Engine>) {
    loop {
        // A failed accept (a peer that hung up, no descriptors left) is the client's to report.
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        if socket.set_nodelay(true).is_err() {
            continue;
        }
        let engine = Arc::clone(&engine);
        let service = service_fn(move |request| {
            let engine = Arc::clone(&engine);
            async move { Ok::<_, Infallible>(route(&engine, request).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}

async fn route(engine: &Engine, request: Request<Incoming>) -> Response<Answer> {
    if request.method() == Method::POST {
        return match request.into_body().collect().await {
            Ok(body) => infer(engine, &body.to_bytes()),
            Err(_) => respond(
                StatusCode::BAD_REQUEST,
                "text/plain",
                Answer::text(b"body ended early"),
            ),
        };
    }
    let json = "application/json";
    match request.uri().path() {
        "/health" | "/health_generate" | "/ping" => {
            respond(StatusCode::OK, json, Answer::text(b"{}"))
        }
        "/v1/models" => respond(StatusCode::OK, json, Answer::text(MODELS)),
        "/server_info" | "/get_server_info" => {
            respond(StatusCode::OK, json, Answer::text(SERVER_INFO))
        }
        "/model_info" | "/get_model_info" => {
            respond(StatusCode::OK, json, Answer::text(MODEL_INFO))
        }
        "/get_load" | "/v1/loads" => respond(StatusCode::OK, json, Answer::text(LOAD)),
        "/version" => respond(
            StatusCode::OK,
            json,
            Answer::text(br#"{"version":"0.0.0"}"#),
        ),
        "/metrics" => respond(StatusCode::OK, "text/plain", Answer::text(METRICS)),
        _ => respond(
            StatusCode::NOT_FOUND,
            "text/plain",
            Answer::text(b"not found"),
        ),
    }
}

fn infer(engine: &Engine, body: &[u8]) -> Response<Answer> {
    let plan = match Plan::read(body) {
        Plan::Unary(_) if engine.prefill => Plan::Unary(256),
        Plan::Stream(..) if engine.prefill => Plan::Stream(1, Duration::ZERO),
        plan => plan,
    };
    let kind = match plan {
        Plan::Unary(_) => "application/json",
        Plan::Stream(..) => "text/event-stream",
    };
    respond(StatusCode::OK, kind, Answer::new(plan, &engine.filler))
}

fn respond(status: StatusCode, kind: &'static str, answer: Answer) -> Response<Answer> {
    let mut response = Response::new(answer);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
