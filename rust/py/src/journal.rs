//! Binding of the journal: what `logs.Log` hands its lines to, and what its thread takes them from.
//!
//! Locks are held with the GIL and never across a call into Python, so a fork finds none of them taken, and a line
//! logged by a finaliser waits for nobody.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::SystemTime;

use fd_router_journal::layout::{Fact, Layout, Line, Value, is_plain, stamped};
use fd_router_journal::line_queue::{Limits, LineQueue};
use parking_lot::Mutex;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyString};

/// Lines that wait for the writer at the most, where nothing else is said.
const MAX_LINES: usize = 65_536;

/// Their bytes.
const MAX_BYTES: usize = 32 << 20;

/// Severity of a line, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// What is the same for all lines of one second.
struct Second {
    /// Seconds since the epoch.
    number: i64,
    day: Arc<str>,
    stamp: String,
    prefixes: [String; 4],
    suffix: String,
}

/// Lines on their way to the log.
pub(crate) struct Lines {
    queue: LineQueue,
    layout: Layout,
    shown: AtomicU8,
    describe: Py<PyAny>,
    escape: Py<PyAny>,
    clock: Option<Py<PyAny>>,
    second: Mutex<Option<Arc<Second>>>,
    /// Called with a line that finds the writer asleep.
    wake: Mutex<Option<Py<PyAny>>>,
    asleep: AtomicBool,
}

impl Lines {
    /// Whether lines of a level are written.
    pub(crate) fn shows(&self, level: Level) -> bool {
        level as u8 >= self.shown.load(Ordering::Relaxed)
    }

    /// Whether lines have facts, so that they are worth gathering.
    pub(crate) fn has_facts(&self) -> bool {
        self.layout == Layout::Json
    }

    /// Queues a line if its level is shown. Never fails: what Python code raises is reported and the line is lost.
    pub(crate) fn put(
        &self,
        py: Python<'_>,
        level: Level,
        tags: &str,
        message: &str,
        facts: &[Fact<'_>],
    ) {
        self.write(py, level, tags, facts, |_, _| Cow::Borrowed(message));
    }

    /// Queues a message that ends in `. ts_ms=YYYY-MM-DD HH:MM:SS.mmm`, local time.
    pub(crate) fn put_stamped(
        &self,
        py: Python<'_>,
        level: Level,
        tags: &str,
        message: &str,
        facts: &[Fact<'_>],
    ) {
        self.write(py, level, tags, facts, |second, millis| {
            Cow::Owned(stamped(message, &second.stamp, millis))
        });
    }

    /// `word` makes the message from the second, and the milliseconds in it.
    fn write<'a>(
        &self,
        py: Python<'_>,
        level: Level,
        tags: &str,
        facts: &[Fact<'_>],
        word: impl FnOnce(&Second, u16) -> Cow<'a, str>,
    ) {
        let enqueue = || {
            let now = self.now(py)?;
            let second = self.second(py, now)?;
            let millis = (now.fract() * 1e3) as u16;
            let message = word(&second, millis);
            let message = self.printable(py, &message)?;
            let line = Line {
                prefix: &second.prefixes[level as usize],
                millis,
                suffix: &second.suffix,
                tags,
                message: &message,
                facts,
            };
            self.queue.put(&second.day, level == Level::Error, |out| {
                self.layout.append(out, &line);
            });
            self.rouse(py)
        };
        if self.shows(level)
            && let Err(error) = enqueue()
        {
            error.write_unraisable(py, None);
        }
    }

    /// Wakes the writer if it sleeps.
    fn rouse(&self, py: Python<'_>) -> PyResult<()> {
        if !self.asleep.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        let wake = self.wake.lock().as_ref().map(|wake| wake.clone_ref(py));
        wake.map_or(Ok(()), |wake| wake.call0(py).map(drop))
    }

    /// JSON escapes by itself.
    fn printable<'a>(&self, py: Python<'_>, message: &'a str) -> PyResult<Cow<'a, str>> {
        if self.layout == Layout::Json || is_plain(message) {
            return Ok(Cow::Borrowed(message));
        }
        self.escape
            .call1(py, (message,))?
            .extract(py)
            .map(Cow::Owned)
    }

    fn now(&self, py: Python<'_>) -> PyResult<f64> {
        match &self.clock {
            Some(clock) => clock.call0(py)?.extract(py),
            None => Ok(SystemTime::UNIX_EPOCH
                .elapsed()
                .map_or(0.0, |age| age.as_secs_f64())),
        }
    }

    fn second(&self, py: Python<'_>, now: f64) -> PyResult<Arc<Second>> {
        let number = now.floor() as i64;
        let known = self
            .second
            .lock()
            .clone()
            .filter(|second| second.number == number);
        if let Some(second) = known {
            return Ok(second);
        }
        let (day, stamp, prefixes, suffix): (String, String, [String; 4], String) =
            self.describe.call1(py, (number,))?.extract(py)?;
        let second = Arc::new(Second {
            number,
            day: day.into(),
            stamp,
            prefixes,
            suffix,
        });
        *self.second.lock() = Some(Arc::clone(&second));
        Ok(second)
    }
}

/// The bounded queue between the router and its log.
#[pyclass(frozen, module = "fd_router._core")]
pub(crate) struct Journal(pub(crate) Arc<Lines>);

impl Journal {
    fn write(
        &self,
        level: Level,
        message: &Bound<'_, PyString>,
        tags: &str,
        facts: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        if !self.0.shows(level) {
            return Ok(());
        }
        let py = message.py();
        let facts = self.0.facts(facts)?;
        self.0.put(py, level, tags, &self.0.words(message)?, &facts);
        Ok(())
    }
}

impl Lines {
    /// Text of Python's, in which there may be lone surrogates, which are none outside of it.
    fn words<'a>(&self, text: &'a Bound<'_, PyString>) -> PyResult<Cow<'a, str>> {
        text.to_str().map(Cow::Borrowed).or_else(|_| {
            let escaped = self.escape.call1(text.py(), (text,))?;
            escaped.extract(text.py()).map(Cow::Owned)
        })
    }

    /// Python's facts, as far as lines have any: counts, numbers, and all else as text; what is None is unknown.
    pub(crate) fn facts(&self, known: Option<&Bound<'_, PyDict>>) -> PyResult<Vec<Fact<'static>>> {
        let mut facts = Vec::new();
        for (name, value) in known.filter(|_| self.has_facts()).into_iter().flatten() {
            if value.is_none() {
                continue;
            }
            let value = if value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>() {
                Value::Whole(value.extract()?)
            } else if value.is_instance_of::<PyFloat>() {
                Value::Number(value.extract()?)
            } else {
                Value::Text(self.words(&value.str()?)?.into_owned().into())
            };
            facts.push((name.extract::<String>()?.into(), value));
        }
        Ok(facts)
    }
}

#[pymethods]
impl Journal {
    #[new]
    #[pyo3(signature = (
        *,
        level,
        json,
        errors_apart,
        describe,
        escape,
        clock = None,
        max_lines = MAX_LINES,
        max_bytes = MAX_BYTES,
    ))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of a constructor"
    )]
    fn new(
        level: u8,
        json: bool,
        errors_apart: bool,
        describe: Py<PyAny>,
        escape: Py<PyAny>,
        clock: Option<Py<PyAny>>,
        max_lines: usize,
        max_bytes: usize,
    ) -> Self {
        let limits = Limits {
            lines: max_lines,
            bytes: max_bytes,
        };
        Self(Arc::new(Lines {
            queue: LineQueue::new(limits, errors_apart),
            layout: if json { Layout::Json } else { Layout::Text },
            shown: AtomicU8::new(level),
            describe,
            escape,
            clock,
            second: Mutex::default(),
            wake: Mutex::default(),
            asleep: AtomicBool::new(false),
        }))
    }

    #[pyo3(signature = (message, tags = ""))]
    fn debug(&self, message: &Bound<'_, PyString>, tags: &str) -> PyResult<()> {
        self.write(Level::Debug, message, tags, None)
    }

    #[pyo3(signature = (message, tags = "", **facts))]
    fn info(
        &self,
        message: &Bound<'_, PyString>,
        tags: &str,
        facts: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        self.write(Level::Info, message, tags, facts)
    }

    #[pyo3(signature = (message, tags = ""))]
    fn stamped(&self, py: Python<'_>, message: &str, tags: &str) {
        self.0.put_stamped(py, Level::Info, tags, message, &[]);
    }

    #[pyo3(signature = (message, tags = "", **facts))]
    fn warn(
        &self,
        message: &Bound<'_, PyString>,
        tags: &str,
        facts: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        self.write(Level::Warn, message, tags, facts)
    }

    #[pyo3(signature = (message, tags = "", **facts))]
    fn error(
        &self,
        message: &Bound<'_, PyString>,
        tags: &str,
        facts: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        self.write(Level::Error, message, tags, facts)
    }

    fn set_level(&self, level: u8) {
        self.0.shown.store(level, Ordering::Relaxed);
    }

    /// Begin anew, with nothing queued; `wake` ends the writer's sleep.
    fn open(&self, wake: Py<PyAny>) {
        self.0.asleep.store(false, Ordering::SeqCst);
        self.0.queue.reset();
        let before = self.0.wake.lock().replace(wake);
        drop(before);
    }

    fn __len__(&self) -> usize {
        self.0.queue.len()
    }

    fn take<'py>(&self, py: Python<'py>) -> PyResult<(String, bool, Bound<'py, PyBytes>, usize)> {
        let piece = self
            .0
            .queue
            .take()
            .ok_or_else(|| PyIndexError::new_err("nothing is queued"))?;
        let data = PyBytes::new(py, &piece.data);
        Ok((piece.day.to_string(), piece.errors, data, piece.lines))
    }

    fn doze(&self) -> bool {
        self.0.asleep.store(true, Ordering::SeqCst);
        // A line that came before the flag was set woke nobody.
        if self.0.queue.is_empty() {
            return true;
        }
        self.rise();
        false
    }

    fn rise(&self) {
        self.0.asleep.store(false, Ordering::SeqCst);
    }

    fn close(&self) {
        self.0.queue.close();
    }

    #[getter]
    fn dropped(&self) -> u64 {
        self.0.queue.dropped()
    }
}

/// Adds this part's class to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Journal>()
}
