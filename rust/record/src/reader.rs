//! Recordings read back: the events of one run in their order.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fd_router_core::scheduler::Usage;

use crate::files::numbered;
use crate::line::{FORMAT, Head, Line, Outcome, Request, What};

/// A recording that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file cannot be opened or is no text.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Something in a line is not as it should be.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Line number from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

/// One run of a router.
#[derive(Debug)]
pub struct Recording {
    /// How it was set up.
    pub head: Head,
    /// Every decision, by its number.
    pub requests: Vec<Request>,
    /// Everything that happened, by its number.
    pub events: Vec<Event>,
    /// Numbers that are missing: lines that were dropped or deleted, and decisions that were not over.
    pub missing: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number.
    pub seq: u64,
    /// When, in milliseconds.
    pub at: u64,
    /// What.
    pub kind: Kind,
}

/// What happened; decisions by their position among [`Recording::requests`].
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields of Request")]
pub enum Kind {
    Decided(usize),
    FirstByte(usize),
    Learned(usize, Usage),
    Ended(usize, Outcome),
    Changed(What),
}

impl Recording {
    /// Reads the run whose newest file is at `path`, with its older files beside it.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let mut files = vec![read_file(path)?];
        while files.last().is_some_and(|file| file.head.part > 0) {
            let older = numbered(path, files.len());
            if !older.exists() {
                break; // deleted, as there were too many
            }
            let file = read_file(&older)?;
            if file.head.run != files[0].head.run {
                break;
            }
            files.push(file);
        }
        let head = files[0].head.clone();
        let mut requests = Vec::new();
        let mut changes = Vec::new();
        for file in files.into_iter().rev() {
            requests.extend(file.requests);
            changes.extend(file.changes);
        }
        requests.sort_by_key(|request| request.seq);
        let mut events = changes;
        for (position, request) in requests.iter().enumerate() {
            push_events(request, position, &mut events);
        }
        events.sort_by_key(|event| event.seq);
        let after = events.last().map_or(0, |event| event.seq + 1);
        Ok(Self {
            head,
            requests,
            missing: after.saturating_sub(events.len() as u64),
            events,
        })
    }
}

/// The lines of one file.
struct Lines {
    head: Head,
    requests: Vec<Request>,
    changes: Vec<Event>,
}

fn read_file(path: &Path) -> Result<Lines, ReadError> {
    let text = fs::read_to_string(path).map_err(|error| ReadError::File {
        path: path.to_owned(),
        error,
    })?;
    let wrong = |line, problem| ReadError::Line {
        path: path.to_owned(),
        line,
        problem,
    };
    let mut rows = text.lines().zip(1..);
    let head = match rows.next().map(|(row, _)| Line::read(row)) {
        Some(Ok(Line::Start(head))) => head,
        Some(Err(error)) => return Err(wrong(1, error.to_string())),
        _ => {
            return Err(wrong(
                1,
                "a recording begins with a line \"start\"".to_owned(),
            ));
        }
    };
    if head.format != FORMAT {
        let problem = format!("format {}: this program reads {FORMAT}", head.format);
        return Err(wrong(1, problem));
    }
    let mut lines = Lines {
        head,
        requests: Vec::new(),
        changes: Vec::new(),
    };
    for (row, number) in rows {
        match Line::read(row).map_err(|error| wrong(number, error.to_string()))? {
            Line::Request(request) => {
                check(&request).map_err(|problem| wrong(number, problem))?;
                lines.requests.push(*request);
            }
            Line::Change(change) => lines.changes.push(Event {
                seq: change.seq,
                at: change.timestamp,
                kind: Kind::Changed(change.what),
            }),
            Line::Start(_) => return Err(wrong(number, "a second line \"start\"".to_owned())),
        }
    }
    Ok(lines)
}

/// Whether the blocks of a line fit each other.
fn check(request: &Request) -> Result<(), String> {
    let counted: u64 = request
        .block_quarters
        .iter()
        .map(|&(count, _)| u64::from(count))
        .sum();
    let blocks = request.hash_ids.len() as u64;
    if counted == blocks {
        return Ok(());
    }
    Err(format!(
        "block_quarters are of {counted} blocks, and hash_ids of {blocks}"
    ))
}

fn push_events(request: &Request, position: usize, events: &mut Vec<Event>) {
    let mut push = |seq: Option<u64>, at: Option<u64>, kind| {
        if let (Some(seq), Some(at)) = (seq, at) {
            events.push(Event { seq, at, kind });
        }
    };
    let Request { seq, timestamp, .. } = *request;
    push(Some(seq), Some(timestamp), Kind::Decided(position));
    push(
        request.first_byte_seq,
        request.first_byte,
        Kind::FirstByte(position),
    );
    if let Some(prompt) = request.prompt_tokens {
        let usage = Usage {
            prompt,
            cached: request.cached_tokens,
        };
        // It is heard right before the end, and its time is nowhere looked at.
        let at = request.end.or(Some(timestamp));
        push(request.usage_seq, at, Kind::Learned(position, usage));
    }
    let ended = Kind::Ended(position, request.outcome);
    push(request.end_seq, request.end, ended);
}
