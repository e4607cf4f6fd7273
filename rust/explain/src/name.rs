//! What a request is called, within bounds.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

/// Bytes that are kept of a request's id, of its path, and of why an attempt was lost.
pub(crate) const TEXT: usize = 256;
/// Bytes of an id that need no memory of their own.
const SHORT: usize = 48;

/// What a request is called.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) id: Id,
    pub(crate) path: Arc<str>,
    pub(crate) stream: bool,
    /// A hash of the whole id, of which only the beginning may be kept.
    pub(crate) key: u64,
}

/// An id: mostly short.
#[derive(Debug, Clone)]
pub(crate) enum Id {
    Short { bytes: [u8; SHORT], len: u8 },
    Long(Box<str>),
}

impl Name {
    pub(crate) fn new(id: &str, path: &str, stream: bool) -> Self {
        Self {
            id: Id::new(beginning(id)),
            path: beginning(path).into(),
            stream,
            key: key(id),
        }
    }

    /// Bytes that it holds beside itself, but for the path, of which there are few.
    pub(crate) fn bytes(&self) -> usize {
        match &self.id {
            Id::Short { .. } => 0,
            Id::Long(id) => id.len(),
        }
    }

    pub(crate) fn is(&self, id: &str) -> bool {
        self.id.text() == beginning(id)
    }
}

impl Id {
    fn new(id: &str) -> Self {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..id.len()) {
            Some(room) => {
                room.copy_from_slice(id.as_bytes());
                let len = id.len() as u8;
                Self::Short { bytes, len }
            }
            None => Self::Long(id.into()),
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Short { bytes, len } => {
                // It was text when it was taken.
                str::from_utf8(&bytes[..*len as usize]).unwrap_or_default()
            }
            Self::Long(id) => id,
        }
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
