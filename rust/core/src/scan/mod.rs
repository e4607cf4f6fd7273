//! The scan of a request body: one pass that checks the JSON and picks out the few keys the router reads.
//!
//! Nothing is built but those values: other members are checked and skipped where they stand, and only the prompt's
//! text is unescaped. The bytes go to the engine as they came; [`Body::splice`] replaces single values in them.
//!
//! Accepted is what RFC 8259 calls a JSON text whose value is an object, in UTF-8 without a byte order mark, nested
//! at most [`DEPTH_LIMIT`] deep. Where the RFC leaves a choice, this is the one made:
//! - a key that occurs again replaces what came before, as in Go's and Python's decoders;
//! - keys are compared exactly, after unescaping;
//! - an escaped surrogate without its other half becomes U+FFFD, as in Go's decoder.

mod error;
mod fields;
mod prompt;
mod reader;
mod splice;
mod string;

use self::fields::Fields;
use self::reader::Reader;
use self::splice::Layout;

pub use self::error::BodyError;
pub use self::splice::Members;

/// Arrays and objects that may stand inside each other, the body itself included.
pub const DEPTH_LIMIT: usize = 128;

/// Where the prompt of a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// In `messages`, as chat requests have it.
    Messages,
    /// In `prompt`, as completions have it.
    Plain,
}

/// What the router reads of a request body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    /// Whether the top-level `stream` is the literal `true`.
    pub stream: bool,
    /// Top-level `request_id`: a string's text or a number's literal.
    pub request_id: Option<String>,
    /// Top-level non-empty string `session_id`, else the same of `extra_body`.
    pub session_id: Option<String>,
    /// Top-level string `req_id`.
    pub req_id: Option<String>,
    /// Top-level string `model`.
    pub model: Option<String>,
    /// The prompt's text: trimmed pieces joined by one space.
    pub text: String,
    /// Unicode code points in `text`.
    pub chars: usize,
    layout: Layout,
}

impl Body {
    /// Reads a request body.
    pub fn scan(bytes: &[u8], prompt: Prompt) -> Result<Self, BodyError> {
        let text = simdutf8::compat::from_utf8(bytes)
            .map_err(|error| BodyError::utf8(error.valid_up_to()))?;
        let mut reader = Reader::new(text);
        let mut fields = Fields::new(prompt);
        reader.body(|reader, key| fields.member(reader, &key))?;
        let close = reader.position() - 1;
        reader.end()?;
        Ok(fields.finish(close))
    }

    /// Tokens that the prompt is booked with: 2 for each code point, as upstream (the Go router) estimates.
    pub const fn token_estimate(&self) -> u64 {
        2 * self.chars as u64
    }

    /// `bytes`, which must be those given to [`Body::scan`], with the given members set; every other byte unchanged.
    ///
    /// A present key has its value replaced where it stands, at each occurrence; an absent one is added before the
    /// closing brace.
    pub fn splice(&self, bytes: &[u8], members: &Members<'_>) -> Vec<u8> {
        self.layout.splice(bytes, members)
    }
}

#[cfg(test)]
mod tests;
