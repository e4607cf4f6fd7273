//! The prompt's text: a stretch of the body where it stands there as it is, a string of its own only where it does not.

use std::borrow::Cow;
use std::ops::Range;

/// Text of a body, to be read together with the body's bytes.
#[derive(Debug)]
pub(super) enum Text {
    /// These bytes of the body.
    Within(Range<usize>),
    /// Unescaped, or joined from several places.
    Joined(String),
}

impl Text {
    /// Keeps `text`, which lies in `body` where it is borrowed.
    pub(super) fn new(text: Cow<'_, str>, body: &str) -> Self {
        match text {
            Cow::Borrowed("") => Self::default(),
            Cow::Borrowed(text) => {
                let start = text.as_ptr().addr() - body.as_ptr().addr();
                Self::Within(start..start + text.len())
            }
            Cow::Owned(text) => Self::Joined(text),
        }
    }

    /// The text in UTF-8, given the bytes of its body.
    pub(super) fn bytes<'a>(&'a self, body: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Within(range) => &body[range.clone()],
            Self::Joined(text) => text.as_bytes(),
        }
    }
}

impl Default for Text {
    /// No text.
    fn default() -> Self {
        Self::Within(0..0)
    }
}

/// Cuts a text that grows.
pub(super) fn truncate(text: &mut Cow<'_, str>, size: usize) {
    match text {
        Cow::Borrowed(text) => *text = &text[..size],
        Cow::Owned(text) => text.truncate(size),
    }
}
