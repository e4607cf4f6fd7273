//! Load generator and stand-in engine for the side-by-side benchmark (`bench/peers.py`).
//!
//! `fd-router-load engine` answers as an OpenAI-compatible engine would, at next to no cost;
//! `fd-router-load client` sends seeded requests and prints what it saw as one JSON line. Both run on one thread
//! and stop by themselves.

mod answer;
mod args;
mod client;
mod engine;
mod exchange;
mod prompt;
mod tally;

use std::error::Error;
use std::process::ExitCode;

use args::Args;

const USAGE: &str = "\
usage: fd-router-load engine [--engines N] [--seconds S] [--prefill 1]
       fd-router-load client --target HOST:PORT (--connections N [--each K] [--ramp-ms M] | --rate R)
                             --seconds S [--body-bytes B] [--max-tokens T] [--stream 1] [--chunks N] [--seed X]

engine  listens on N free loopback ports (2), prints them as one JSON line, ends after S seconds (3600).
        `max_tokens` of a request is its plan: unary answers have that many bytes, streams have
        `max_tokens % 10000` events, `max_tokens / 10000` ms apart. --prefill 1 answers everything with one event.
client  --connections: closed loop, each connection sends its next request when the last one is answered;
        --rate: open loop, R requests a second whatever the answers do. Prints one JSON line.";

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fd-router-load: {error}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let args = Args::parse(words)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match command.as_str() {
        "engine" => runtime.block_on(engine::run(&args)),
        "client" => runtime.block_on(client::run(&args)),
        other => Err(format!("unknown command {other:?}; accepted: engine, client").into()),
    }
}
