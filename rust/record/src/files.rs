//! The files of a recording: the newest at the path itself, older ones at `path.1`, `path.2` and so on.
//!
//! Every file begins with the head. A run begins with a file of its own; what was there before is moved on.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use crate::line::{Head, Line};

/// Bounded files. All together hold at most `max_bytes` x `keep`, and one line each.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    head: Head,
    max_bytes: u64,
    keep: usize,
    file: File,
    written: u64,
}

impl Files {
    /// Begins a run: moves what is at `path` on, and writes the head. `keep` is how many files there may be, at least 1.
    pub fn create(path: &Path, head: Head, max_bytes: u64, keep: usize) -> io::Result<Self> {
        let keep = keep.max(1);
        // What may not be written must not be moved away either.
        drop(open(path, false)?);
        if path.metadata()?.len() > 0 {
            shift(path, keep)?;
        }
        let mut files = Self {
            path: path.to_owned(),
            head,
            max_bytes,
            keep,
            file: open(path, true)?,
            written: 0,
        };
        files.begin()?;
        Ok(files)
    }

    /// Writes whole lines; where this fails none of them is in the file. What there is no room for goes to a new one.
    pub fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.len() > self.room() {
            self.rotate()?;
        }
        self.append(lines)
    }

    /// Bytes that the file has room for.
    pub fn room(&self) -> usize {
        self.max_bytes.saturating_sub(self.written) as usize
    }

    fn rotate(&mut self) -> io::Result<()> {
        shift(&self.path, self.keep)?;
        self.file = open(&self.path, true)?;
        self.written = 0;
        self.head.part += 1;
        self.begin()
    }

    fn begin(&mut self) -> io::Result<()> {
        let line = Line::Start(self.head.clone()).bytes();
        self.append(&line)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let done = self.file.write_all(bytes);
        if done.is_ok() {
            self.written += bytes.len() as u64;
        } else {
            self.file.set_len(self.written)?;
            self.file.seek(io::SeekFrom::Start(self.written))?;
        }
        done
    }
}

fn open(path: &Path, truncate: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(truncate);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Moves `path` to `path.1`, that to `path.2`, and so on; what would be one too many is deleted.
fn shift(path: &Path, keep: usize) -> io::Result<()> {
    for place in (1..keep).rev() {
        let from = numbered(path, place - 1);
        if from.exists() {
            std::fs::rename(from, numbered(path, place))?;
        }
    }
    Ok(())
}

/// The file that is `place` older than the newest.
pub fn numbered(path: &Path, place: usize) -> PathBuf {
    if place == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{place}"));
    name.into()
}
