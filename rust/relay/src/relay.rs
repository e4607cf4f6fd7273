//! The relay: a runtime of its own, the pool, and the queue of completions.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};

use crate::completions::Completions;
use crate::config::RelayConfig;
use crate::context::Context;
use crate::exchange::Exchange;
use crate::headers::RequestHeaders;
use crate::orders::{Job, Orders};
use crate::request::Outgoing;
use crate::stats::Snapshot;
use crate::stream::Guard;
use crate::target::{Target, UrlError};

/// How often idle connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// A request to be sent.
#[derive(Debug)]
pub struct Order {
    /// The method.
    pub method: Method,
    /// Where to.
    pub target: Arc<Target>,
    /// Headers.
    pub headers: RequestHeaders,
    /// The whole body.
    pub body: Bytes,
    /// Hold the answer back until it is whole, up to the limit. An event stream never is.
    pub collect: bool,
    /// Use a connection of its own, which is closed after the answer: what is asked is whether one can be made.
    pub fresh: bool,
}

/// The upstream leg. `S` is what the consumer keeps with each exchange.
pub struct Relay<S> {
    context: Arc<Context>,
    completions: Arc<Completions<Arc<Exchange<S>>>>,
    orders: Orders<S>,
    running: Mutex<Option<Running>>,
}

/// The thread that holds the runtime, and what tells it to end.
struct Running {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl<S: Send + Sync + 'static> Relay<S> {
    /// Starts the threads.
    pub fn new(config: RelayConfig) -> io::Result<Self> {
        let completions: Arc<Completions<Arc<Exchange<S>>>> = Arc::new(Completions::new()?);
        let runtime = runtime(config.threads, Arc::clone(&completions))?;
        let orders = Orders::new(runtime.handle().clone());
        let context = Arc::new(Context::new(config));
        let (stop, stopped) = oneshot::channel();
        let sweeper = sweep(Arc::clone(&context));
        let thread = std::thread::Builder::new()
            .name("fd-relay".to_owned())
            .spawn(move || {
                runtime.spawn(sweeper);
                // An error means that the relay was dropped without being closed.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
        Ok(Self {
            context,
            completions,
            orders,
            running: Mutex::new(Some(Running { thread, stop })),
        })
    }

    /// Readable when exchanges wait for [`Relay::take`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.completions.fd()
    }

    /// Parses a url; the result is kept for the next time.
    pub fn target(&self, url: &str) -> Result<Arc<Target>, UrlError> {
        self.context.targets.lock().get(url)
    }

    /// How long ago a byte of an answer to a request that is not [`Order::fresh`] was read from the origin of a url;
    /// None if never. An origin that thousands of other urls came after, and that nothing runs to, is forgotten.
    pub fn heard(&self, url: &str) -> Result<Option<Duration>, UrlError> {
        Ok(self.target(url)?.origin.heard(Instant::now()))
    }

    /// Reads the roots for https anew for the connections that are opened from now on.
    pub fn reload_roots(&self) {
        self.context.tls.forget();
    }

    /// Starts an exchange at once. It ends in every case; after [`Relay::close`] without being sent.
    pub fn start(&self, order: Order, side: S) -> Arc<Exchange<S>> {
        let (exchange, _) = self.gather(order, side);
        self.flush();
        exchange
    }

    /// Like [`Relay::start`], but may wait for [`Relay::flush`], which must follow if the second value is true.
    pub fn gather(&self, order: Order, side: S) -> (Arc<Exchange<S>>, bool) {
        let exchange = Exchange::new(side, Arc::clone(&self.completions));
        let outgoing = Outgoing {
            method: order.method,
            target: order.target,
            headers: order.headers.finish(),
            body: order.body,
            fresh: order.fresh,
        };
        let first = self.orders.push(Job {
            exchange: Arc::clone(&exchange),
            guard: Guard::new(Arc::clone(&exchange), Arc::clone(&self.context)),
            outgoing,
            collect: order.collect,
        });
        (exchange, first)
    }

    /// Sends what was gathered.
    pub fn flush(&self) {
        self.orders.flush(Instant::now());
    }

    /// Moves up to `limit` exchanges with news to `batch`; the descriptor stays readable while more wait.
    pub fn take(&self, batch: &mut Vec<Arc<Exchange<S>>>, limit: usize) {
        let before = batch.len();
        self.completions.take(batch, limit);
        for exchange in batch.iter().skip(before) {
            exchange.unqueued();
        }
    }

    /// The counters.
    pub fn stats(&self) -> Snapshot {
        self.context
            .stats
            .snapshot(self.context.pool.idle_connections())
    }

    /// Ends every exchange and the threads, and waits for that. Idempotent.
    pub fn close(&self) {
        let running = self.running.lock().take();
        self.orders.close();
        if let Some(Running { thread, stop }) = running {
            let _ = stop.send(());
            // A panic of that thread was reported when it happened.
            let _ = thread.join();
        }
        self.completions.announce();
    }
}

/// One thread needs no stealing of tasks and wakes itself up less often than two wake each other.
fn runtime<T: Send + 'static>(
    threads: usize,
    completions: Arc<Completions<T>>,
) -> io::Result<Runtime> {
    let mut builder = if threads > 1 {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads);
        builder
    } else {
        Builder::new_current_thread()
    };
    let number = AtomicUsize::new(0);
    builder
        .enable_io()
        .enable_time()
        .thread_name_fn(move || format!("fd-relay-{}", number.fetch_add(1, Ordering::Relaxed)))
        .on_thread_park(move || completions.announce())
        .build()
}

async fn sweep(context: Arc<Context>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        context.pool.sweep(Instant::now());
    }
}
