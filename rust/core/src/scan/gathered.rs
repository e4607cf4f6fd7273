//! A prompt as it is gathered, in two forms.
//!
//! The *text* is what upstream (the Go router) sees of a prompt: pieces trimmed of Unicode white space, empty ones
//! skipped, joined by one space. What it does not see (tool calls, names, images, token ids) fills an engine's cache all
//! the same. So from the first such member on the prompt is gathered a second time as what an engine would *render* of
//! it; where there is none, as in most requests, both are one.

use std::borrow::Cow;
use std::fmt::Write as _;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::string::Raw;
use super::text::truncate;

/// Characters that an image, or another medium, counts for: some 256 tokens. They are made from a hash of it, so that
/// they are equal for equal media only.
const MEDIUM_CHARS: usize = 1024;

/// A token id that none is, between two lists of ids.
const BETWEEN_LISTS: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct Gathered<'a> {
    pub(super) text: Cow<'a, str>,
    /// The text and all else, in the order of the body; None while there is nothing else.
    pub(super) rendered: Option<String>,
    pub(super) ids: Vec<u32>,
}

impl<'a> Gathered<'a> {
    /// A piece of text.
    pub(super) fn push_text(&mut self, raw: Raw<'a>) {
        push_piece(raw, &mut self.text);
        if let Some(rendered) = &mut self.rendered {
            let mut whole = Cow::Borrowed("");
            push_piece(raw, &mut whole);
            push_joined(&whole, rendered);
        }
    }

    /// Takes back the text from `size` bytes on: a later value of the same key follows.
    pub(super) fn truncate_text(&mut self, size: usize) {
        truncate(&mut self.text, size);
    }

    /// A part that is no text, as it stands in the body.
    pub(super) fn push_part(&mut self, json: &str) {
        push_joined(json, self.rendered());
    }

    /// An image or another medium, as it stands in the body: its URL or its data.
    pub(super) fn push_medium(&mut self, json: &str) {
        let rendered = self.rendered();
        rendered.reserve(MEDIUM_CHARS);
        let mut hash = xxh3_64_with_seed(json.as_bytes(), 0);
        for _ in 0..MEDIUM_CHARS / 16 {
            // Writing to a String cannot fail.
            let _ = write!(rendered, "{hash:016x}");
            hash = xxh3_64_with_seed(&hash.to_le_bytes(), 0);
        }
    }

    /// A token id, as the number's literal.
    pub(super) fn push_id(&mut self, literal: &str) {
        // What is no id stands for itself by a hash: equal prompts stay equal.
        let id = literal.parse();
        self.ids.push(id.unwrap_or_else(|_| {
            xxh3_64_with_seed(literal.as_bytes(), BETWEEN_LISTS.into()) as u32
        }));
    }

    /// Another list of token ids begins.
    pub(super) fn begin_list(&mut self) {
        if !self.ids.is_empty() {
            self.ids.push(BETWEEN_LISTS);
        }
    }

    /// What another place has, after this.
    pub(super) fn join(mut self, other: Self) -> Self {
        if self.text.is_empty() && self.rendered.is_none() && self.ids.is_empty() {
            return other;
        }
        if self.rendered.is_some() || other.rendered.is_some() {
            let more = other.rendered.as_deref().unwrap_or(&other.text);
            push_joined(more, self.rendered());
        }
        if !other.text.is_empty() {
            push_joined(&other.text, self.text.to_mut());
        }
        if !other.ids.is_empty() {
            self.begin_list();
            self.ids.extend(other.ids);
        }
        self
    }

    fn rendered(&mut self) -> &mut String {
        let text = &self.text;
        self.rendered
            .get_or_insert_with(|| text.clone().into_owned())
    }
}

fn push_joined(piece: &str, out: &mut String) {
    if !piece.is_empty() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(piece);
    }
}

fn push_piece<'a>(raw: Raw<'a>, out: &mut Cow<'a, str>) {
    if out.is_empty() && !raw.escaped {
        *out = Cow::Borrowed(raw.text.trim());
        return;
    }
    let out = out.to_mut();
    let before = out.len();
    if before > 0 {
        out.push(' ');
    }
    let start = out.len();
    if raw.escaped {
        raw.unescape_into(out);
        trim_from(start, out);
    } else {
        out.push_str(raw.text.trim());
    }
    if out.len() == start {
        out.truncate(before);
    }
}

/// Trims white space at both ends of what stands from `start` on.
fn trim_from(start: usize, out: &mut String) {
    out.truncate(start + out[start..].trim_end().len());
    let leading = out.len() - start - out[start..].trim_start().len();
    out.drain(start..start + leading);
}
