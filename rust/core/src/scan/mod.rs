//! The scan of a request body: one pass that checks the JSON and picks out the few keys the router reads.
//!
//! Nothing is built but those values: other members are checked and skipped where they stand, and the prompt's text is
//! copied only where it has escapes or several pieces. The bytes go to the engine as they came; [`Body::splice`]
//! replaces single values in them.
//!
//! Accepted is what RFC 8259 calls a JSON text whose value is an object, in UTF-8 without a byte order mark, nested
//! at most [`DEPTH_LIMIT`] deep. Where the RFC leaves a choice, this is the one made:
//! - a key that occurs again replaces what came before, as in Go's and Python's decoders;
//! - keys are compared exactly, after unescaping;
//! - an escaped surrogate without its other half becomes U+FFFD, as in Go's decoder.

mod error;
mod fields;
mod form;
mod gathered;
mod prompt;
mod reader;
mod splice;
mod string;
mod text;
mod texts;

use self::fields::{Fields, Finder};
use self::reader::Reader;

pub use self::error::BodyError;
pub use self::splice::Members;

/// Arrays and objects that may stand inside each other, the body itself included.
pub const DEPTH_LIMIT: usize = 128;

/// Characters that a token id weighs as much as: the usual ratio for English text.
const CHARS_OF_ID: usize = 4;

/// Where the prompt of a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// In `messages`, as chat requests have it.
    Messages,
    /// In `prompt`, as completions have it.
    Plain,
    /// In whichever members have some, as requests to other endpoints have it; see [`texts`].
    Texts,
    /// Nowhere: what is asked for leaves nothing in an engine's cache.
    Nowhere,
}

/// A prompt as an engine renders it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rendered<'a> {
    /// UTF-8: the text, and all else that fills a cache, images by a hash of them.
    Text(&'a [u8]),
    /// Token ids that the client sent itself.
    Ids(&'a [u32]),
}

/// A request body, and what the router reads of it. `B` holds its bytes.
#[derive(Debug)]
pub struct Body<B> {
    bytes: B,
    fields: Fields,
}

impl<B: AsRef<[u8]>> Body<B> {
    /// Reads a request body.
    pub fn scan(bytes: B, prompt: Prompt) -> Result<Self, BodyError> {
        let fields = find(bytes.as_ref(), prompt)?;
        Ok(Self { bytes, fields })
    }

    /// A body that is no JSON, nor looked into.
    pub fn opaque(bytes: B) -> Self {
        Self {
            bytes,
            fields: Fields::default(),
        }
    }

    /// A form (`multipart/form-data`): nothing is checked, and only the field `model` is looked for. `content_type` is
    /// the header that has the boundary; without one the body is opaque.
    pub fn form(bytes: B, content_type: &[u8]) -> Self {
        let model = form::field(bytes.as_ref(), content_type, "model");
        let mut body = Self::opaque(bytes);
        body.fields.model = model;
        body
    }

    /// The bytes as they came.
    pub const fn bytes(&self) -> &B {
        &self.bytes
    }

    /// Whether the top-level `stream` is the literal `true`.
    pub const fn stream(&self) -> bool {
        self.fields.stream
    }

    /// Top-level `request_id`: a string's text or a number's literal.
    pub fn request_id(&self) -> Option<&str> {
        self.fields.request_id.as_deref()
    }

    /// Top-level non-empty string `session_id`, else the same of `extra_body`.
    pub fn session_id(&self) -> Option<&str> {
        self.fields.session_id.as_deref()
    }

    /// Top-level string `req_id`.
    pub fn req_id(&self) -> Option<&str> {
        self.fields.req_id.as_deref()
    }

    /// Top-level string `model`.
    pub fn model(&self) -> Option<&str> {
        self.fields.model.as_deref()
    }

    /// The value of `tools`, as it stands; empty where there is none.
    pub fn tools(&self) -> &[u8] {
        &self.bytes.as_ref()[self.fields.tools.clone()]
    }

    /// What an engine makes of the prompt: text, or token ids.
    pub fn rendered(&self) -> Rendered<'_> {
        if self.fields.ids.is_empty() {
            let text = self.fields.rendered.as_deref().map(str::as_bytes);
            Rendered::Text(text.unwrap_or_else(|| self.text()))
        } else {
            Rendered::Ids(&self.fields.ids)
        }
    }

    /// The prompt's text in UTF-8: trimmed pieces joined by one space.
    pub fn text(&self) -> &[u8] {
        self.fields.text.bytes(self.bytes.as_ref())
    }

    /// Unicode code points in the text.
    pub const fn chars(&self) -> usize {
        self.fields.chars
    }

    /// What the prompt weighs in a choice: tokens as [`Body::token_estimate`] has them, of all that an engine renders.
    pub fn weight(&self) -> u64 {
        let rendered = match self.rendered() {
            Rendered::Ids(ids) => CHARS_OF_ID * ids.len(),
            Rendered::Text(_) if self.fields.rendered.is_none() => self.fields.chars,
            Rendered::Text(text) => code_points(text),
        };
        2 * (rendered + code_points(self.tools())) as u64
    }

    /// Tokens that the prompt is booked with: 2 for each code point, as upstream (the Go router) estimates.
    pub const fn token_estimate(&self) -> u64 {
        2 * self.fields.chars as u64
    }

    /// The body with the given members set; every other byte unchanged.
    ///
    /// A present key has its value replaced where it stands, at each occurrence; an absent one is added before the
    /// closing brace.
    pub fn splice(&self, members: &Members<'_>) -> Vec<u8> {
        self.fields.layout.splice(self.bytes.as_ref(), members)
    }
}

/// Code points in UTF-8 text.
fn code_points(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte & 0xC0 != 0x80).count()
}

fn find(bytes: &[u8], prompt: Prompt) -> Result<Fields, BodyError> {
    let text =
        simdutf8::compat::from_utf8(bytes).map_err(|error| BodyError::utf8(error.valid_up_to()))?;
    let mut reader = Reader::new(text);
    let mut finder = Finder::new(prompt);
    reader.body(|reader, key| finder.member(reader, &key))?;
    let close = reader.position() - 1;
    reader.end()?;
    Ok(finder.finish(text, close))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
