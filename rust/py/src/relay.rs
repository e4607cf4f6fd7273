//! Binding of the relay: `Relay`, `Exchange`, `Head`, `RelayStats`, `UpstreamError`.

mod answer;
mod border;
mod error;
mod exchange;
mod link;
mod pump;
mod stats;

use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fd_router_relay::{
    Bytes, Exchange as Upstream, GAP_BOUNDS, HOP_HEADER, HeaderValue, Kind, Method, Order,
    RelayConfig, RequestHeaders,
};
use parking_lot::Mutex;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::scheduler::lease::Lease;

use answer::Head;
use border::Border;
use exchange::Exchange;
use link::Link;
use stats::RelayStats;

/// Bytes up to which a collected body is held back to be whole, where nothing else is said.
const COLLECT_LIMIT: usize = 65_536;

/// Bytes read ahead of a stream, where nothing else is said.
const BUFFER_LIMIT: usize = 65_536;

/// Exchanges served in one call of `drain`, some 3 us each, so that the loop gets its turn.
const DRAIN_LIMIT: usize = 256;

/// Adds this part's classes to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("GAP_BOUNDS", PyTuple::new(py, GAP_BOUNDS)?)?;
    module.add("HOP_HEADER", PyBytes::new(py, HOP_HEADER.as_ref()))?;
    module.add("UPSTREAM_KINDS", PyTuple::new(py, Kind::NAMES)?)?;
    error::register(module)?;
    module.add_function(wrap_pyfunction!(root_certificates, module)?)?;
    module.add_class::<Head>()?;
    module.add_class::<Exchange>()?;
    module.add_class::<RelayStats>()?;
    module.add_class::<Relay>()
}

/// The certificates, in DER, that the relay verifies https workers with.
#[pyfunction]
#[pyo3(signature = (ca_file = None))]
#[expect(clippy::needless_pass_by_value, reason = "extracted from Python")]
fn root_certificates(py: Python<'_>, ca_file: Option<PathBuf>) -> PyResult<Vec<Py<PyBytes>>> {
    let found = py
        .detach(|| fd_router_relay::root_certificates(ca_file.as_deref()))
        .map_err(|failure| PyOSError::new_err(failure.detail.into_string()))?;
    Ok(found
        .iter()
        .map(|each| PyBytes::new(py, each).unbind())
        .collect())
}

/// The upstream leg: a pool of connections on its own threads, and one queue of completions.
#[pyclass(frozen, module = "fd_router._core")]
struct Relay {
    upstream: Arc<fd_router_relay::Relay<Link>>,
    border: Arc<Border>,
    call_soon: Py<PyAny>,
    flush: Py<Flush>,
    /// Kept between calls of `drain` for its capacity.
    batch: Mutex<Vec<Arc<Upstream<Link>>>>,
}

#[pymethods]
impl Relay {
    #[new]
    #[pyo3(signature = (
        r#loop,
        *,
        hop,
        threads,
        max_idle_per_worker,
        keep_alive_secs,
        connect_timeout_secs,
        first_byte_timeout_secs,
        idle_timeout_secs,
        collect_limit = COLLECT_LIMIT,
        buffer_limit = BUFFER_LIMIT,
        ca_file = None,
    ))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of a constructor"
    )]
    fn new(
        r#loop: &Bound<'_, PyAny>,
        hop: &str,
        threads: usize,
        max_idle_per_worker: usize,
        keep_alive_secs: f64,
        connect_timeout_secs: f64,
        first_byte_timeout_secs: f64,
        idle_timeout_secs: f64,
        collect_limit: usize,
        buffer_limit: usize,
        ca_file: Option<PathBuf>,
    ) -> PyResult<Self> {
        if threads == 0 || buffer_limit == 0 {
            return Err(PyValueError::new_err(
                "threads and buffer_limit must be at least 1",
            ));
        }
        let config = RelayConfig {
            hop: hop_value(hop)?,
            ca_file,
            threads,
            max_idle_per_worker,
            keep_alive: seconds("keep_alive_secs", keep_alive_secs)?,
            connect_timeout: limit("connect_timeout_secs", connect_timeout_secs)?,
            first_byte_timeout: limit("first_byte_timeout_secs", first_byte_timeout_secs)?,
            idle_timeout: limit("idle_timeout_secs", idle_timeout_secs)?,
            collect_limit,
            buffer_limit,
        };
        let upstream = fd_router_relay::Relay::new(config).map_err(|error| {
            PyOSError::new_err(format!("relay: cannot start its threads: {error}"))
        })?;
        let upstream = Arc::new(upstream);
        Ok(Self {
            call_soon: r#loop.getattr("call_soon")?.unbind(),
            flush: Py::new(r#loop.py(), Flush(Arc::clone(&upstream)))?,
            upstream,
            border: Arc::new(Border::new(r#loop)?),
            batch: Mutex::default(),
        })
    }

    /// Readable when completions wait: `loop.add_reader(relay.fileno(), relay.drain)`.
    fn fileno(&self) -> i32 {
        self.upstream.fd().as_raw_fd()
    }

    /// Resolve futures and hand over bytes; call in the loop's thread.
    fn drain(&self, py: Python<'_>) {
        let mut batch = std::mem::take(&mut *self.batch.lock());
        self.upstream.take(&mut batch, DRAIN_LIMIT);
        for exchange in batch.drain(..) {
            pump::pump(py, &exchange);
        }
        *self.batch.lock() = batch;
    }

    /// Start an exchange with `url`.
    #[pyo3(signature = (
        url,
        headers,
        body,
        *,
        method = "POST",
        query = None,
        collect = true,
        fresh = false,
        lease = None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a method")]
    fn send(
        &self,
        py: Python<'_>,
        url: &str,
        headers: &Bound<'_, PyList>,
        body: Bound<'_, PyBytes>,
        method: &str,
        query: Option<&[u8]>,
        collect: bool,
        fresh: bool,
        lease: Option<&Bound<'_, Lease>>,
    ) -> PyResult<Exchange> {
        let target = self
            .upstream
            .target(url)
            .and_then(|target| match query {
                // Not kept as the url is: clients may send as many as they like.
                Some(query) if !query.is_empty() => target.with_query(query).map(Arc::new),
                _ => Ok(target),
            })
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| PyValueError::new_err(format!("method {method:?} is not a token")))?;
        let headers = request_headers(headers)?;
        // Shares the memory of the Python object.
        let body = Bytes::from_owner(PyBackedBytes::from(body));
        let head = self.border.create_future(py)?;
        let booking = lease.map(|lease| Arc::clone(&lease.get().0));
        let link = Link::new(
            Arc::clone(&self.border),
            head.clone_ref(py),
            body.clone(),
            booking.clone(),
        );
        let (exchange, first) = self.upstream.gather(
            Order {
                method,
                target,
                headers,
                body,
                collect,
                fresh,
            },
            link,
        );
        let exchange = Exchange::new(exchange, head, booking);
        if first {
            // What else the loop's turn has to send goes with it.
            self.call_soon.call1(py, (&self.flush,))?;
        }
        Ok(exchange)
    }

    /// Seconds since a byte of an answer to a client's request was read from the origin of `url`.
    fn heard(&self, url: &str) -> PyResult<Option<f64>> {
        let heard = self
            .upstream
            .heard(url)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(heard.map(|ago| ago.as_secs_f64()))
    }

    /// Read the roots for https anew for the connections that are opened from now on.
    fn reload_roots(&self) {
        self.upstream.reload_roots();
    }

    /// The counters.
    fn stats(&self) -> RelayStats {
        RelayStats::from(self.upstream.stats())
    }

    /// End every exchange (kind `closed`) and the threads. Idempotent.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.upstream.close());
        // Nothing is added any more, but for exchanges that Python code sends in between.
        let mut batch = Vec::new();
        self.upstream.take(&mut batch, usize::MAX);
        for exchange in batch {
            pump::pump(py, &exchange);
        }
    }
}

/// Callback that ends a turn of the loop: sends what was gathered.
#[pyclass(frozen, module = "fd_router._core")]
struct Flush(Arc<fd_router_relay::Relay<Link>>);

#[pymethods]
impl Flush {
    fn __call__(&self) {
        self.0.flush();
    }
}

fn request_headers(headers: &Bound<'_, PyList>) -> PyResult<RequestHeaders> {
    let mut passed = RequestHeaders::with_capacity(headers.len());
    for pair in headers {
        let pair = pair.cast_into::<PyTuple>()?;
        let name = pair.get_item(0)?.cast_into::<PyBytes>()?;
        let value = pair.get_item(1)?.cast_into::<PyBytes>()?;
        passed
            .push(name.as_bytes(), value.as_bytes())
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
    }
    Ok(passed)
}

fn hop_value(hop: &str) -> PyResult<HeaderValue> {
    HeaderValue::from_str(hop)
        .ok()
        .filter(|_| !hop.is_empty() && hop.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(|| {
            PyValueError::new_err(format!(
                "hop must be visible ASCII without spaces, is {hop:?}"
            ))
        })
}

fn seconds(name: &str, value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value).map_err(|_| {
        PyValueError::new_err(format!(
            "{name} must be a number of seconds from 0 on, is {value}"
        ))
    })
}

/// 0 is no limit.
fn limit(name: &str, value: f64) -> PyResult<Option<Duration>> {
    Ok(Some(seconds(name, value)?).filter(|limit| !limit.is_zero()))
}
