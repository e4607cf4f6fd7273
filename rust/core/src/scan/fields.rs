//! The top-level members that the router reads.

use super::reader::{Reader, Result, Value};
use super::string::Raw;
use super::{Body, Prompt, prompt};

pub(super) struct Fields {
    prompt: Prompt,
    body: Body,
    /// `session_id` of `extra_body`, which counts only where the top level has none.
    extra_session_id: Option<String>,
}

impl Fields {
    pub(super) fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            body: Body::default(),
            extra_session_id: None,
        }
    }

    /// Takes one member; `reader` stands after its colon.
    pub(super) fn member(&mut self, reader: &mut Reader<'_>, key: &Raw<'_>) -> Result<()> {
        reader.peek()?;
        let start = reader.position();
        let body = &mut self.body;
        body.layout.members += 1;
        match (&*key.unescaped(), self.prompt) {
            ("stream", _) => body.stream = matches!(reader.value()?, Value::True),
            ("model", _) => body.model = text_of(reader.value()?),
            ("req_id", _) => body.req_id = text_of(reader.value()?),
            ("session_id", _) => body.session_id = text_of(reader.value()?),
            ("extra_body", _) => self.extra_session_id = extra_session(reader)?,
            ("request_id", _) => {
                body.request_id = match reader.value()? {
                    Value::Number(literal) => Some(literal.to_owned()),
                    other => text_of(other),
                };
                body.layout.request_ids.push(start..reader.position());
            }
            ("disaggregate_info", _) => {
                reader.value()?;
                body.layout
                    .disaggregate_infos
                    .push(start..reader.position());
            }
            ("messages", Prompt::Messages) => prompt::messages(reader, &mut body.text)?,
            ("prompt", Prompt::Plain) => prompt::plain(reader, &mut body.text)?,
            _ => drop(reader.value()?),
        }
        Ok(())
    }

    /// The body, whose closing brace stands at `close`.
    pub(super) fn finish(mut self, close: usize) -> Body {
        let session = self.body.session_id.take().filter(|id| !id.is_empty());
        self.body.session_id = session.or(self.extra_session_id.filter(|id| !id.is_empty()));
        self.body.chars = self.body.text.chars().count();
        self.body.layout.close = close;
        self.body
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
