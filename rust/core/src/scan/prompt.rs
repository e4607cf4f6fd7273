//! The prompt's text, as upstream (the Go router) sees it: pieces trimmed of Unicode white space, empty ones skipped,
//! joined by one space. Roles, tool calls and images do not count.

use std::borrow::Cow;

use super::reader::{Reader, Result, Value};
use super::string::Raw;
use super::text::truncate;

/// The value of `messages`: `content` of each element, a string or a list with items of type `text`.
pub(super) fn messages<'a>(reader: &mut Reader<'a>, out: &mut Cow<'a, str>) -> Result<()> {
    *out = Cow::Borrowed("");
    each_element(reader, |reader| {
        if reader.peek()? != b'{' {
            return reader.value().map(drop);
        }
        let before = out.len();
        reader.object(|reader, key| {
            if key.unescaped() != "content" {
                return reader.value().map(drop);
            }
            truncate(out, before);
            content(reader, out)
        })
    })
}

/// The value of `prompt`: a string, or a list of which the strings count.
pub(super) fn plain<'a>(reader: &mut Reader<'a>, out: &mut Cow<'a, str>) -> Result<()> {
    *out = Cow::Borrowed("");
    string_or_list(reader, out, |reader, out| {
        push_if_string(reader.value()?, out);
        Ok(())
    })
}

fn content<'a>(reader: &mut Reader<'a>, out: &mut Cow<'a, str>) -> Result<()> {
    string_or_list(reader, out, |reader, out| {
        if let Some(text) = text_item(reader)? {
            push_piece(text, out);
        }
        Ok(())
    })
}

/// A string is one piece; of a list, `element` passes each element; anything else has no text.
fn string_or_list<'a>(
    reader: &mut Reader<'a>,
    out: &mut Cow<'a, str>,
    mut element: impl FnMut(&mut Reader<'a>, &mut Cow<'a, str>) -> Result<()>,
) -> Result<()> {
    if reader.peek()? == b'[' {
        return reader.array(|reader| element(reader, out));
    }
    push_if_string(reader.value()?, out);
    Ok(())
}

fn each_element<'a>(
    reader: &mut Reader<'a>,
    element: impl FnMut(&mut Reader<'a>) -> Result<()>,
) -> Result<()> {
    if reader.peek()? != b'[' {
        return reader.value().map(drop);
    }
    reader.array(element)
}

/// The `text` of an item whose `type` is `text`.
fn text_item<'a>(reader: &mut Reader<'a>) -> Result<Option<Raw<'a>>> {
    if reader.peek()? != b'{' {
        return reader.value().map(|_| None);
    }
    let mut is_text = false;
    let mut text = None;
    reader.object(|reader, key| {
        let value = reader.value()?;
        match (&*key.unescaped(), value) {
            ("type", Value::String(raw)) => is_text = raw.unescaped() == "text",
            ("type", _) => is_text = false,
            ("text", Value::String(raw)) => text = Some(raw),
            ("text", _) => text = None,
            _ => {}
        }
        Ok(())
    })?;
    Ok(text.filter(|_| is_text))
}

fn push_if_string<'a>(value: Value<'a>, out: &mut Cow<'a, str>) {
    if let Value::String(raw) = value {
        push_piece(raw, out);
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
