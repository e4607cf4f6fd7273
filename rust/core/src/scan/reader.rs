//! A cursor over JSON text that checks what it passes and builds nothing.

use super::DEPTH_LIMIT;
use super::error::{BodyError, Fault};
use super::string::{Raw, escape_size, plain_run};

pub(super) type Result<T> = std::result::Result<T, BodyError>;

/// A value as far as the router looks into it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    String(Raw<'a>),
    /// The literal, as it stands.
    Number(&'a str),
    True,
    /// `false`, `null`, or an array or object, which was skipped.
    Other,
}

pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
        }
    }

    pub(super) const fn position(&self) -> usize {
        self.at
    }

    /// The whole body, which must be an object.
    pub(super) fn body(
        &mut self,
        member: impl FnMut(&mut Self, Raw<'a>) -> Result<()>,
    ) -> Result<()> {
        if self.peek()? != b'{' {
            return Err(self.expected("an object"));
        }
        self.object(member)
    }

    /// Only white space may follow the body.
    pub(super) fn end(&mut self) -> Result<()> {
        self.skip_space();
        if self.at < self.text.len() {
            return Err(self.error(Fault::Trailing));
        }
        Ok(())
    }

    /// The first byte of what comes next, white space passed.
    pub(super) fn peek(&mut self) -> Result<u8> {
        self.skip_space();
        self.text
            .as_bytes()
            .get(self.at)
            .copied()
            .ok_or_else(|| self.error(Fault::End))
    }

    /// An object; `member` gets each key and must pass its value. Stands at the opening brace.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Raw<'a>) -> Result<()>,
    ) -> Result<()> {
        self.open()?;
        if self.peek()? == b'}' {
            self.close();
            return Ok(());
        }
        loop {
            if self.peek()? != b'"' {
                return Err(self.expected("a string as key"));
            }
            let key = self.string()?;
            if self.peek()? != b':' {
                return Err(self.expected("`:`"));
            }
            self.at += 1;
            member(self, key)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Err(self.expected("`,` or `}`")),
            }
        }
        self.close();
        Ok(())
    }

    /// An array; `element` must pass each element. Stands at the opening bracket.
    pub(super) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.open()?;
        if self.peek()? == b']' {
            self.close();
            return Ok(());
        }
        loop {
            element(self)?;
            match self.peek()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return Err(self.expected("`,` or `]`")),
            }
        }
        self.close();
        Ok(())
    }

    /// Any value; arrays and objects are checked and skipped.
    pub(super) fn value(&mut self) -> Result<Value<'a>> {
        match self.peek()? {
            b'"' => self.string().map(Value::String),
            b'{' => self
                .object(|reader, _| reader.value().map(drop))
                .map(|()| Value::Other),
            b'[' => self
                .array(|reader| reader.value().map(drop))
                .map(|()| Value::Other),
            b'-' | b'0'..=b'9' => self.number().map(Value::Number),
            b't' => self.literal("true").map(|()| Value::True),
            b'f' => self.literal("false").map(|()| Value::Other),
            b'n' => self.literal("null").map(|()| Value::Other),
            _ => Err(self.expected("a value")),
        }
    }

    /// An object, as [`Reader::object`], with the text it stands as.
    pub(super) fn raw_object(
        &mut self,
        member: impl FnMut(&mut Self, Raw<'a>) -> Result<()>,
    ) -> Result<&'a str> {
        let start = self.at;
        self.object(member)?;
        Ok(&self.text[start..self.at])
    }

    /// Any value, with the text it stands as.
    pub(super) fn raw(&mut self) -> Result<(&'a str, Value<'a>)> {
        self.peek()?;
        let start = self.at;
        let value = self.value()?;
        Ok((&self.text[start..self.at], value))
    }

    /// A string. Stands at the opening quote.
    fn string(&mut self) -> Result<Raw<'a>> {
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        self.at = start;
        loop {
            self.at += plain_run(&bytes[self.at..]);
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at +=
                        escape_size(&bytes[self.at..]).ok_or_else(|| self.error(Fault::Escape))?;
                }
                Some(_) => return Err(self.error(Fault::Control)),
                None => return Err(self.error(Fault::End)),
            }
        }
        let text = &self.text[start..self.at];
        self.at += 1;
        Ok(Raw { text, escaped })
    }

    fn number(&mut self) -> Result<&'a str> {
        let start = self.at;
        self.pass(b"-");
        if !self.pass(b"0") && self.digits() == 0 {
            return Err(self.error(Fault::Number));
        }
        if self.pass(b".") && self.digits() == 0 {
            return Err(self.error(Fault::Number));
        }
        if self.pass(b"eE") {
            self.pass(b"+-");
            if self.digits() == 0 {
                return Err(self.error(Fault::Number));
            }
        }
        Ok(&self.text[start..self.at])
    }

    fn literal(&mut self, word: &'static str) -> Result<()> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes one byte if it is one of `accepted`.
    fn pass(&mut self, accepted: &[u8]) -> bool {
        let found = self
            .text
            .as_bytes()
            .get(self.at)
            .is_some_and(|byte| accepted.contains(byte));
        self.at += usize::from(found);
        found
    }

    fn digits(&mut self) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }

    fn open(&mut self) -> Result<()> {
        if self.depth == DEPTH_LIMIT {
            return Err(self.error(Fault::TooDeep));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    const fn close(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    const fn expected(&self, what: &'static str) -> BodyError {
        self.error(Fault::Expected(what))
    }

    const fn error(&self, fault: Fault) -> BodyError {
        BodyError::new(fault, self.at)
    }
}
