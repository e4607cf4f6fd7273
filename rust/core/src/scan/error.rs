//! Why a body cannot be read.

use std::fmt;

use super::DEPTH_LIMIT;

/// A body that is not a JSON object; says what is wrong and at which byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyError {
    fault: Fault,
    at: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    Utf8,
    End,
    Expected(&'static str),
    Number,
    Control,
    Escape,
    TooDeep,
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

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::Utf8 => f.write_str("invalid UTF-8")?,
            Fault::End => f.write_str("unexpected end of input")?,
            Fault::Expected(what) => write!(f, "expected {what}")?,
            Fault::Number => f.write_str("invalid number")?,
            Fault::Control => f.write_str("control character in string")?,
            Fault::Escape => f.write_str("invalid escape in string")?,
            Fault::TooDeep => write!(f, "nested deeper than {DEPTH_LIMIT} levels")?,
            Fault::Trailing => f.write_str("unexpected data after the object")?,
        }
        write!(f, " at byte {}", self.at)
    }
}

impl std::error::Error for BodyError {}
