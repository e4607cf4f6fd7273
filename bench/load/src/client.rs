//! The load generator: closed loop for throughput and live streams, open loop for latency.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::Failure;
use crate::args::Args;
use crate::exchange::{Connection, Outcome, Target, connect, exchange};
use crate::prompt::{Prompts, Shape, noise};
use crate::tally::Tally;

/// Requests that an open loop has under way at most; more are counted as errors, not queued.
const MAX_OPEN: usize = 4096;

/// Prints the tally of one run as a JSON line.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let max_tokens = args.or("max-tokens", 256_u64)?;
    let stream = args.or("stream", 0_u8)? == 1;
    let seed = args.or("seed", 1_u64)?;
    let start = Instant::now();
    let run = Run {
        target: Target {
            address: args.required("target")?,
            events: if stream {
                Some(max_tokens % 10_000 + 1)
            } else {
                None
            },
        },
        shape: Shape {
            bytes: args.or("body-bytes", 200)?,
            max_tokens,
            stream,
        },
        noise: noise(seed),
        seed,
        end: start + Duration::from_secs_f64(args.required("seconds")?),
    };
    let tally = if let Some(rate) = args.optional("rate")? {
        run.open(rate).await
    } else {
        let ramp = Duration::from_millis(args.or("ramp-ms", 0)?);
        run.closed(
            args.required("connections")?,
            args.or("each", u64::MAX)?,
            ramp,
        )
        .await?
    };
    println!("{}", tally.json(start.elapsed()));
    Ok(())
}

/// What the loops share.
struct Run {
    target: Target,
    shape: Shape,
    noise: Arc<[u8]>,
    seed: u64,
    end: Instant,
}

impl Run {
    fn prompts(&self, slot: u64) -> Prompts {
        Prompts::new(
            Arc::clone(&self.noise),
            self.seed.wrapping_add(slot << 20),
            self.shape,
        )
    }

    /// `connections` send up to `each` requests, one after another, beginning evenly over `ramp`.
    async fn closed(&self, connections: u64, each: u64, ramp: Duration) -> Result<Tally, Failure> {
        let mut slots = JoinSet::new();
        for slot in 0..connections {
            let begin = Instant::now() + ramp.mul_f64(slot as f64 / connections as f64);
            slots.spawn(one_by_one(
                self.target,
                self.prompts(slot),
                each,
                begin,
                self.end,
            ));
        }
        let mut tally = Tally::default();
        while let Some(slot) = slots.join_next().await {
            tally.merge(slot?);
        }
        Ok(tally)
    }

    /// Requests at even distances until the end, whatever the answers do; each is timed from when it is sent.
    async fn open(&self, rate: f64) -> Tally {
        let (target, mut prompts) = (self.target, self.prompts(0));
        let idle: Arc<Mutex<Vec<Connection>>> = Arc::default();
        let tally: Arc<Mutex<Tally>> = Arc::default();
        let mut requests = JoinSet::new();
        let mut due = Instant::now();
        while due < self.end {
            sleep_until(due).await;
            due += Duration::from_secs_f64(1.0 / rate);
            while requests.try_join_next().is_some() {}
            if requests.len() >= MAX_OPEN {
                tally
                    .lock()
                    .await
                    .add(Err(format!("over {MAX_OPEN} requests under way").into()));
                continue;
            }
            let (idle, tally, body) = (Arc::clone(&idle), Arc::clone(&tally), prompts.next());
            requests.spawn(async move {
                let mut connection = idle.lock().await.pop();
                let result = once(target, &mut connection, body).await;
                idle.lock().await.extend(connection);
                tally.lock().await.add(result);
            });
        }
        while requests.join_next().await.is_some() {}
        std::mem::take(&mut *tally.lock().await)
    }
}

/// One connection's requests, one after another; a failed one costs a pause and a new connection.
async fn one_by_one(
    target: Target,
    mut prompts: Prompts,
    each: u64,
    begin: Instant,
    end: Instant,
) -> Tally {
    let mut tally = Tally::default();
    let mut connection = None;
    sleep_until(begin).await;
    for _ in 0..each {
        if Instant::now() >= end {
            break;
        }
        let result = once(target, &mut connection, prompts.next()).await;
        if result.is_err() {
            connection = None;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tally.add(result);
    }
    tally
}

async fn once(
    target: Target,
    connection: &mut Option<Connection>,
    body: Bytes,
) -> Result<Outcome, Failure> {
    let mut open = match connection.take() {
        Some(open) if !open.is_closed() => open,
        _ => connect(target).await?,
    };
    let outcome = exchange(&mut open, target, body).await?;
    *connection = Some(open);
    Ok(outcome)
}
