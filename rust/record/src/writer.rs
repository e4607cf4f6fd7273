//! The thread that writes, and the bounded queue before it.
//!
//! Whoever puts something only appends it: lines are made by the writer, which looks at the queue ten times a second,
//! and at once when it is half full. So nobody pays for waking it. What finds the queue full is dropped and counted,
//! and the numbers of the events show the gap.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::facts::Item;
use crate::files::Files;
use crate::ids::Ids;

/// Bytes that wait to be written at the most.
pub const MAX_WAITING: usize = 32 << 20;
/// Time between two looks at the queue.
const ROUND: Duration = Duration::from_millis(100);
/// Bytes that are written at a time, about.
const BATCH: usize = 256 << 10;

/// A handle on the thread.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    max_waiting: usize,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    closed: bool,
    written: u64,
    dropped: u64,
    error: Option<String>,
}

/// Whole lines on their way to a file.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
}

impl Writer {
    /// Starts the thread, which writes to `files`.
    pub fn start(files: Files, ids: Ids, max_waiting: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            max_waiting,
        });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("fd-record".to_owned())
            .spawn(move || own.run(files, &ids))?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(crate) fn put(&self, item: Item) {
        let mut queue = self.shared.queue.lock();
        if queue.closed || queue.bytes >= self.shared.max_waiting {
            queue.dropped += 1;
            return;
        }
        let half = self.shared.max_waiting / 2;
        let before = queue.bytes;
        queue.bytes += item.bytes();
        let half_full = before < half && queue.bytes >= half;
        queue.items.push_back(item);
        drop(queue);
        if half_full {
            self.shared.wake.notify_one();
        }
    }

    /// Lines that were written.
    pub fn written(&self) -> u64 {
        self.shared.queue.lock().written
    }

    /// Lines that were not: the queue was full, or the disk refused them.
    pub fn dropped(&self) -> u64 {
        self.shared.queue.lock().dropped
    }

    /// Why the disk refused some; told once.
    pub fn take_error(&self) -> Option<String> {
        self.shared.queue.lock().error.take()
    }

    /// Writes what waits and ends the thread. What comes later is dropped.
    pub fn close(&self) {
        self.shared.queue.lock().closed = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            // It does not panic, and there would be nothing to do about it.
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn run(&self, mut files: Files, ids: &Ids) {
        loop {
            let (items, closed) = self.wait();
            let mut batch = Batch::default();
            for item in items {
                let line = item.line(ids);
                if batch.bytes.len() + line.len() > files.room().min(BATCH) {
                    self.flush(&mut files, &mut batch);
                }
                batch.bytes.extend_from_slice(&line);
                batch.lines += 1;
            }
            self.flush(&mut files, &mut batch);
            if closed {
                return;
            }
        }
    }

    /// What came within a round.
    fn wait(&self) -> (VecDeque<Item>, bool) {
        let mut queue = self.queue.lock();
        if !queue.closed {
            self.wake.wait_for(&mut queue, ROUND);
        }
        queue.bytes = 0;
        (std::mem::take(&mut queue.items), queue.closed)
    }

    fn flush(&self, files: &mut Files, batch: &mut Batch) {
        if batch.lines == 0 {
            return;
        }
        let done = files.write(&batch.bytes);
        let mut queue = self.queue.lock();
        match done {
            Ok(()) => queue.written += batch.lines,
            Err(error) => {
                queue.dropped += batch.lines;
                queue.error = Some(error.to_string());
            }
        }
        batch.bytes.clear();
        batch.lines = 0;
    }
}
