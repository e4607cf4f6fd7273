//! Answers of a Valkey or Redis, out of whatever bytes come (RESP 2).
//!
//! The bytes of an answer are kept until it is whole, and walked over once, in whatever pieces they come: a server that
//! is broken, or an enemy's, costs no more than the limit. What an answer says is looked at only then, by [`Answer`].

/// Arrays in arrays that are understood.
const DEEPEST: usize = 8;
/// Bytes of a line: a number, a status or a refusal.
const LONGEST_LINE: usize = 4_096;
/// Memory that stays after an answer.
const KEPT: usize = 1 << 20;

/// What is wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// They are not of the protocol.
    Malformed,
    /// They are more than the limit, or say that they will be.
    TooLarge,
}

/// One value, or the beginning of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// A string or a status.
    Bytes(&'a [u8]),
    /// A whole number.
    Number(i64),
    /// A command was refused, in these words.
    Refused(&'a [u8]),
    /// There is nothing.
    Nothing,
    /// So many values follow.
    Array(usize),
}

/// The bytes that came and were not taken.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    /// Up to where they were walked over.
    at: usize,
    /// Values that are still to come, of each array that is open.
    open: Vec<usize>,
    limit: usize,
}

impl Buffer {
    /// For answers of at most so many bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Takes more bytes, and tells of each answer that is whole with them. Nothing is to follow an error.
    pub fn feed<E: From<Bad>>(
        &mut self,
        bytes: &[u8],
        mut told: impl FnMut(Answer<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.bytes.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(end) = self.walk(start)? {
            told(Answer {
                rest: &self.bytes[start..end],
            })?;
            start = end;
        }
        if self.bytes.len() - start > self.limit {
            return Err(Bad::TooLarge.into());
        }
        self.at -= start;
        self.bytes.drain(..start);
        if self.bytes.is_empty() {
            self.bytes.shrink_to(KEPT);
        }
        Ok(())
    }

    /// The end of the answer that begins at `start`; None where it is not all there.
    fn walk(&mut self, start: usize) -> Result<Option<usize>, Bad> {
        while let Some((token, used)) = next(&self.bytes[self.at..], self.limit)? {
            let members = match token {
                Token::Array(count) => count,
                _ => 0,
            };
            self.at += used;
            if self.at - start > self.limit {
                return Err(Bad::TooLarge);
            }
            if self.close(members)? {
                return Ok(Some(self.at));
            }
        }
        Ok(None)
    }

    /// Whether an answer is whole with a value that has so many others in it.
    fn close(&mut self, members: usize) -> Result<bool, Bad> {
        if members > 0 {
            self.open.push(members);
            let deep = self.open.len() > DEEPEST;
            return if deep { Err(Bad::Malformed) } else { Ok(false) };
        }
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return Ok(false);
            }
            self.open.pop();
        }
        Ok(true)
    }
}

/// A whole answer: its tokens, in order.
#[derive(Debug, Clone)]
pub struct Answer<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Answer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let (token, used) = next(self.rest, usize::MAX).ok().flatten()?;
        self.rest = &self.rest[used..];
        Some(token)
    }
}

/// The token that bytes begin with, and the bytes that it takes; None where it is not all there.
fn next(bytes: &[u8], limit: usize) -> Result<Option<(Token<'_>, usize)>, Bad> {
    let Some((&kind, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let Some(end) = rest
        .iter()
        .take(LONGEST_LINE)
        .position(|&byte| byte == b'\n')
    else {
        let problem = rest.len() >= LONGEST_LINE;
        return if problem {
            Err(Bad::Malformed)
        } else {
            Ok(None)
        };
    };
    let line = rest[..end].strip_suffix(b"\r").ok_or(Bad::Malformed)?;
    let used = 1 + end + 1;
    let token = match kind {
        b'+' => Token::Bytes(line),
        b'-' => Token::Refused(line),
        b':' => Token::Number(number(line)?),
        b'$' | b'*' => match (kind, number(line)?) {
            (_, -1) => Token::Nothing,
            (b'$', count) => return string(bytes, used, size(count, limit)?),
            (_, count) => Token::Array(size(count, limit)?),
        },
        _ => return Err(Bad::Malformed),
    };
    Ok(Some((token, used)))
}

fn string(bytes: &[u8], start: usize, size: usize) -> Result<Option<(Token<'_>, usize)>, Bad> {
    let rest = &bytes[start..];
    if rest.len() < size + 2 {
        return Ok(None);
    }
    if rest[size..size + 2] != *b"\r\n" {
        return Err(Bad::Malformed);
    }
    Ok(Some((Token::Bytes(&rest[..size]), start + size + 2)))
}

/// A count of bytes, or of values, of which each takes some.
fn size(count: i64, limit: usize) -> Result<usize, Bad> {
    let count = usize::try_from(count).map_err(|_| Bad::Malformed)?;
    if count > limit {
        return Err(Bad::TooLarge);
    }
    Ok(count)
}

fn number(line: &[u8]) -> Result<i64, Bad> {
    let text = std::str::from_utf8(line).map_err(|_| Bad::Malformed)?;
    text.parse().map_err(|_| Bad::Malformed)
}

#[cfg(test)]
mod tests;
