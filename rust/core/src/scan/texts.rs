//! The texts of requests that are no completions: of embeddings, rankings, answers by another protocol.
//!
//! Each such request has its text in members of its own, and their names are good for all of them. What stands there
//! is text, a list of texts, token ids, messages, or items that have one of these.

use super::gathered::Gathered;
use super::prompt::{self, MEDIA};
use super::reader::{Reader, Result, Value};
use super::string::Raw;

/// The members, in the order in which an engine reads them, wherever they stand in the body: instructions come before
/// what they are for, a question before the documents that are compared with it.
const MEMBERS: [&str; 15] = [
    "instructions",
    "system",
    "messages",
    "prompt",
    "input",
    "text",
    "input_ids",
    "query",
    "queries",
    "text_1",
    "data_1",
    "documents",
    "items",
    "text_2",
    "data_2",
];

/// What was found, by member.
#[derive(Default)]
pub(super) struct Texts<'a>(Vec<(usize, Gathered<'a>)>);

impl<'a> Texts<'a> {
    /// Whether a member of this name may have text.
    pub(super) fn holds(name: &str) -> bool {
        MEMBERS.contains(&name)
    }

    /// Takes a member for which [`Texts::holds`]; `reader` stands before its value. A later one replaces an equal one.
    pub(super) fn member(&mut self, reader: &mut Reader<'a>, name: &str) -> Result<()> {
        let mut found = Gathered::default();
        if name == "messages" {
            prompt::messages(reader, &mut found)?;
        } else {
            value(reader, &mut found)?;
        }
        let place = MEMBERS.iter().position(|&known| known == name);
        let place = place.unwrap_or(MEMBERS.len());
        self.0.retain(|&(known, _)| known != place);
        self.0.push((place, found));
        Ok(())
    }

    /// All of it as one prompt.
    pub(super) fn join(mut self) -> Gathered<'a> {
        self.0.sort_by_key(|&(place, _)| place);
        let texts = self.0.into_iter().map(|(_, found)| found);
        texts.reduce(Gathered::join).unwrap_or_default()
    }
}

fn value<'a>(reader: &mut Reader<'a>, out: &mut Gathered<'a>) -> Result<()> {
    match reader.peek()? {
        b'[' => {
            out.begin_list();
            reader.array(|reader| value(reader, out))
        }
        b'{' => item(reader, out),
        _ => {
            match reader.value()? {
                Value::String(raw) => out.push_text(raw),
                Value::Number(literal) => out.push_id(literal),
                Value::True | Value::Other => {}
            }
            Ok(())
        }
    }
}

/// A message, a document, or a part of one: what its `content` has, or its `text`, else a medium, else all of it as it
/// stands there.
fn item<'a>(reader: &mut Reader<'a>, out: &mut Gathered<'a>) -> Result<()> {
    let mut kind = None;
    let mut text = None;
    let mut told = false;
    let json = reader.raw_object(|reader, key| {
        match &*key.unescaped() {
            "content" => {
                told = true;
                return value(reader, out);
            }
            "text" => text = string(reader.value()?),
            "type" => kind = string(reader.value()?),
            _ => drop(reader.value()?),
        }
        Ok(())
    })?;
    let kind = kind.map(|raw: Raw<'_>| raw.unescaped()).unwrap_or_default();
    match text {
        _ if told => {}
        Some(text) => out.push_text(text),
        None if MEDIA.iter().any(|word| kind.contains(word)) => out.push_medium(json),
        None => out.push_part(json),
    }
    Ok(())
}

const fn string(value: Value<'_>) -> Option<Raw<'_>> {
    match value {
        Value::String(raw) => Some(raw),
        Value::Number(_) | Value::True | Value::Other => None,
    }
}
