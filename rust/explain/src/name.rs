//! What a request is called, within bounds.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

/// Bytes that are kept of a request's id, of its path, and of why an attempt was lost.
pub(crate) const TEXT: usize = 256;

/// What a request is called.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    /// Its id, and after it its path: one piece of memory instead of two.
    text: Arc<str>,
    id_bytes: usize,
    pub(crate) stream: bool,
    /// A hash of the whole id, of which only the beginning may be kept.
    pub(crate) key: u64,
}

impl Name {
    pub(crate) fn new(id: &str, path: &str, stream: bool) -> Self {
        let kept = beginning(id);
        Self {
            text: [kept, beginning(path)].concat().into(),
            id_bytes: kept.len(),
            stream,
            key: key(id),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.text[..self.id_bytes]
    }

    pub(crate) fn path(&self) -> &str {
        &self.text[self.id_bytes..]
    }

    /// Bytes that it holds beside itself.
    pub(crate) fn bytes(&self) -> usize {
        2 * size_of::<usize>() + self.text.len()
    }

    pub(crate) fn is(&self, id: &str) -> bool {
        self.id() == beginning(id)
    }
}

/// By what a request is found. Clients choose ids: with a secret in it they cannot choose keys, which so need no hash of
/// their own.
pub(crate) fn key(id: &str) -> u64 {
    static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    SECRET.hash_one(id)
}

/// The part of a text that is kept.
pub(crate) fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT)]
}
