//! Why a body cannot be read.

use super::DEPTH_LIMIT;

/// A body that is not a JSON object; says what is wrong and at which byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {at}")]
pub struct BodyError {
    fault: Fault,
    at: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("invalid UTF-8")]
    Utf8,
    #[error("unexpected end of input")]
    End,
    #[error("expected {0}")]
    Expected(&'static str),
    #[error("invalid number")]
    Number,
    #[error("control character in string")]
    Control,
    #[error("invalid escape in string")]
    Escape,
    #[error("nested deeper than {DEPTH_LIMIT} levels")]
    TooDeep,
    #[error("unexpected data after the object")]
    Trailing,
}

impl BodyError {
    pub(super) const fn new(fault: Fault, at: usize) -> Self {
        Self { fault, at }
    }

    pub(super) const fn utf8(at: usize) -> Self {
        Self::new(Fault::Utf8, at)
    }
}
