//! Where a prompt stands in the members of a body; see [`Gathered`] for what is made of it.

use super::gathered::Gathered;
use super::reader::{Reader, Result, Value};
use super::string::Raw;

/// Words in the `type` of a content item that is a medium and no text.
pub(super) const MEDIA: [&str; 4] = ["image", "video", "audio", "file"];

/// The value of `messages`: `content` of each element, a string or a list of items; and whatever else stands there
/// beside its role.
pub(super) fn messages<'a>(reader: &mut Reader<'a>, out: &mut Gathered<'a>) -> Result<()> {
    *out = Gathered::default();
    if reader.peek()? != b'[' {
        return reader.value().map(drop);
    }
    reader.array(|reader| {
        if reader.peek()? != b'{' {
            return reader.value().map(drop);
        }
        let before = out.text.len();
        reader.object(|reader, key| match &*key.unescaped() {
            "content" => {
                out.truncate_text(before);
                content(reader, out)
            }
            "role" => reader.value().map(drop),
            _ => other_member(reader, out),
        })
    })
}

/// The value of `prompt`: a string, a list of strings, of token ids, or of lists of token ids.
pub(super) fn plain<'a>(reader: &mut Reader<'a>, out: &mut Gathered<'a>) -> Result<()> {
    *out = Gathered::default();
    if reader.peek()? != b'[' {
        push_if_string(reader.value()?, out);
        return Ok(());
    }
    reader.array(|reader| {
        if reader.peek()? == b'[' {
            return ids(reader, out);
        }
        match reader.value()? {
            Value::String(raw) => out.push_text(raw),
            Value::Number(literal) => out.push_id(literal),
            Value::True | Value::Other => {}
        }
        Ok(())
    })
}

/// The value of `prompt_token_ids`: a list of token ids, or of lists of them.
pub(super) fn token_ids<'a>(reader: &mut Reader<'a>, out: &mut Gathered<'a>) -> Result<()> {
    *out = Gathered::default();
    if reader.peek()? == b'[' {
        return ids(reader, out);
    }
    reader.value().map(drop)
}

/// A list of token ids, or of lists of them.
fn ids<'a>(reader: &mut Reader<'a>, out: &mut Gathered<'a>) -> Result<()> {
    out.begin_list();
    reader.array(|reader| {
        if reader.peek()? == b'[' {
            return ids(reader, out);
        }
        if let Value::Number(literal) = reader.value()? {
            out.push_id(literal);
        }
        Ok(())
    })
}

fn content<'a>(reader: &mut Reader<'a>, out: &mut Gathered<'a>) -> Result<()> {
    if reader.peek()? == b'[' {
        return reader.array(|reader| item(reader, out));
    }
    push_if_string(reader.value()?, out);
    Ok(())
}

/// An item of a content list: text, a medium, or whatever else an engine may render, such as the result of a tool.
fn item<'a>(reader: &mut Reader<'a>, out: &mut Gathered<'a>) -> Result<()> {
    if reader.peek()? != b'{' {
        return reader.value().map(drop);
    }
    let mut kind = None;
    let mut text = None;
    let json = reader.raw_object(|reader, key| {
        let value = reader.value()?;
        match (&*key.unescaped(), value) {
            ("type", Value::String(raw)) => kind = Some(raw),
            ("type", _) => kind = None,
            ("text", Value::String(raw)) => text = Some(raw),
            ("text", _) => text = None,
            _ => {}
        }
        Ok(())
    })?;
    let kind = kind.map(|raw: Raw<'_>| raw.unescaped()).unwrap_or_default();
    match text {
        Some(text) if kind == "text" => out.push_text(text),
        None if kind == "text" => {}
        _ if MEDIA.iter().any(|word| kind.contains(word)) => out.push_medium(json),
        _ => out.push_part(json),
    }
    Ok(())
}

/// Tool calls, a name, and the like.
fn other_member<'a>(reader: &mut Reader<'a>, out: &mut Gathered<'a>) -> Result<()> {
    let (json, _) = reader.raw()?;
    if json != "null" {
        out.push_part(json);
    }
    Ok(())
}

fn push_if_string<'a>(value: Value<'a>, out: &mut Gathered<'a>) {
    if let Value::String(raw) = value {
        out.push_text(raw);
    }
}
