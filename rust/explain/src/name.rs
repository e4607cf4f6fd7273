//! What a request is called, within bounds.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Bytes that are kept of a request's id, of its path, and of why an attempt was lost.
pub(crate) const TEXT: usize = 256;

/// What a request is called.
#[derive(Debug)]
pub(crate) struct Name {
    /// Its id, and after it its path: one piece of memory instead of two.
    text: Box<str>,
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

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len()
    }

    pub(crate) fn is(&self, id: &str) -> bool {
        self.id() == beginning(id)
    }
}

/// By what a request is found.
pub(crate) fn key(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// The part of a text that is kept.
pub(crate) fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT)]
}
