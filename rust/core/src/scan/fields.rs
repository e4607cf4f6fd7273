//! The top-level members that the router reads.

use std::borrow::Cow;

use super::reader::{Reader, Result, Value};
use super::splice::Layout;
use super::string::Raw;
use super::text::Text;
use super::{Prompt, prompt};

/// What was found in a body; see the methods of [`super::Body`].
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) stream: bool,
    pub(super) request_id: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) req_id: Option<String>,
    pub(super) text: Text,
    pub(super) chars: usize,
    pub(super) layout: Layout,
}

/// Takes the members as they come; a later one replaces an equal one before it.
pub(super) struct Finder<'a> {
    prompt: Prompt,
    /// All but the prompt's text, which is known at the end.
    fields: Fields,
    text: Cow<'a, str>,
    /// `session_id` of `extra_body`, which counts only where the top level has none.
    extra_session_id: Option<String>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            fields: Fields::default(),
            text: Cow::Borrowed(""),
            extra_session_id: None,
        }
    }

    /// Takes one member; `reader` stands after its colon.
    pub(super) fn member(&mut self, reader: &mut Reader<'a>, key: &Raw<'_>) -> Result<()> {
        reader.peek()?;
        let start = reader.position();
        let fields = &mut self.fields;
        fields.layout.members += 1;
        match (&*key.unescaped(), self.prompt) {
            ("stream", _) => fields.stream = matches!(reader.value()?, Value::True),
            ("req_id", _) => fields.req_id = text_of(reader.value()?),
            ("session_id", _) => fields.session_id = text_of(reader.value()?),
            ("extra_body", _) => self.extra_session_id = extra_session(reader)?,
            ("request_id", _) => {
                fields.request_id = match reader.value()? {
                    Value::Number(literal) => Some(literal.to_owned()),
                    other => text_of(other),
                };
                fields.layout.request_ids.push(start..reader.position());
            }
            ("disaggregate_info", _) => {
                reader.value()?;
                fields
                    .layout
                    .disaggregate_infos
                    .push(start..reader.position());
            }
            ("messages", Prompt::Messages) => prompt::messages(reader, &mut self.text)?,
            ("prompt", Prompt::Plain) => prompt::plain(reader, &mut self.text)?,
            _ => drop(reader.value()?),
        }
        Ok(())
    }

    /// What was found in `body`, whose closing brace stands at `close`.
    pub(super) fn finish(self, body: &str, close: usize) -> Fields {
        let filled = |id: &String| !id.is_empty();
        let mut fields = self.fields;
        fields.session_id = fields
            .session_id
            .filter(filled)
            .or(self.extra_session_id.filter(filled));
        fields.chars = self.text.chars().count();
        fields.text = Text::new(self.text, body);
        fields.layout.close = close;
        fields
    }
}

fn text_of(value: Value<'_>) -> Option<String> {
    match value {
        Value::String(raw) => Some(raw.unescaped().into_owned()),
        _ => None,
    }
}

fn extra_session(reader: &mut Reader<'_>) -> Result<Option<String>> {
    if reader.peek()? != b'{' {
        return reader.value().map(|_| None);
    }
    let mut session = None;
    reader.object(|reader, key| {
        let value = reader.value()?;
        if key.unescaped() == "session_id" {
            session = text_of(value);
        }
        Ok(())
    })?;
    Ok(session)
}
