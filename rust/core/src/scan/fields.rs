//! The top-level members that the router reads.

use std::ops::Range;

use super::gathered::Gathered;
use super::reader::{Reader, Result, Value};
use super::splice::Layout;
use super::string::Raw;
use super::text::Text;
use super::texts::Texts;
use super::{Prompt, prompt};

/// What was found in a body; see the methods of [`super::Body`].
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) stream: bool,
    pub(super) request_id: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) req_id: Option<String>,
    pub(super) model: Option<String>,
    pub(super) text: Text,
    pub(super) chars: usize,
    /// The text and all else that an engine renders, where there is something else.
    pub(super) rendered: Option<String>,
    pub(super) ids: Vec<u32>,
    /// The value of `tools`, where it stands.
    pub(super) tools: Range<usize>,
    pub(super) layout: Layout,
}

/// Takes the members as they come; a later one replaces an equal one before it.
pub(super) struct Finder<'a> {
    kind: Prompt,
    /// All but the prompt, which is known at the end.
    fields: Fields,
    prompt: Gathered<'a>,
    /// What stands in the place of the prompt where it may stand in several members.
    texts: Texts<'a>,
    /// `prompt_token_ids`, which an engine takes in place of any text.
    token_ids: Gathered<'a>,
    /// `session_id` of `extra_body`, which counts only where the top level has none.
    extra_session_id: Option<String>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(kind: Prompt) -> Self {
        Self {
            kind,
            fields: Fields::default(),
            prompt: Gathered::default(),
            texts: Texts::default(),
            token_ids: Gathered::default(),
            extra_session_id: None,
        }
    }

    /// Takes one member; `reader` stands after its colon.
    pub(super) fn member(&mut self, reader: &mut Reader<'a>, key: &Raw<'_>) -> Result<()> {
        reader.peek()?;
        let start = reader.position();
        let fields = &mut self.fields;
        fields.layout.members += 1;
        match (&*key.unescaped(), self.kind) {
            ("stream", _) => fields.stream = matches!(reader.value()?, Value::True),
            ("model", _) => fields.model = text_of(reader.value()?),
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
            ("messages", Prompt::Messages) => prompt::messages(reader, &mut self.prompt)?,
            ("prompt", Prompt::Plain) => prompt::plain(reader, &mut self.prompt)?,
            (name, Prompt::Texts) if Texts::holds(name) => self.texts.member(reader, name)?,
            ("prompt_token_ids", _) => prompt::token_ids(reader, &mut self.token_ids)?,
            ("tools", Prompt::Messages | Prompt::Texts) => {
                // `null` and an empty list render nothing.
                let (json, _) = reader.raw()?;
                fields.tools = if json.len() > 4 {
                    start..reader.position()
                } else {
                    0..0
                };
            }
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
        let Gathered {
            text,
            rendered,
            ids,
        } = match self.kind {
            Prompt::Texts => self.texts.join(),
            Prompt::Messages | Prompt::Plain | Prompt::Nowhere => self.prompt,
        };
        fields.ids = if self.token_ids.ids.is_empty() {
            // Strings among the ids are the prompt, as upstream reads it.
            if text.is_empty() { ids } else { Vec::new() }
        } else {
            self.token_ids.ids
        };
        fields.rendered = rendered;
        fields.chars = text.chars().count();
        fields.text = Text::new(text, body);
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
