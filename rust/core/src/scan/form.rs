//! A field of a form (RFC 7578): of a body of many MiB that is a sound, a short text is wanted.
//!
//! Nothing is checked: whether the form is well formed is for the engine to say, which gets it as it came. A form that
//! is not has no field here, or one that its engine will not read either.

use memchr::memmem;

/// Parts that are looked at; a form of an API has a dozen.
const MAX_PARTS: usize = 64;
/// Bytes of the head of a part that are looked at.
const MAX_HEAD: usize = 4_096;
/// Bytes of a field that are taken for a name of something.
const MAX_FIELD: usize = 1_024;

/// The text of the first field of that name; None where there is none, and for one that is long, or no UTF-8.
pub(super) fn field(body: &[u8], content_type: &[u8], name: &str) -> Option<String> {
    let delimiter = [b"--", boundary(content_type)?].concat();
    let wanted = format!("name=\"{name}\"");
    let starts: Vec<usize> = memmem::find_iter(body, &delimiter)
        .take(MAX_PARTS)
        .collect();
    let parts = starts.windows(2).filter_map(|ends| {
        // What stands before a delimiter is the end of a line, which is none of the part's.
        let part = body[ends[0] + delimiter.len()..ends[1]].strip_suffix(b"\r\n")?;
        let head_size = memmem::find(&part[..part.len().min(MAX_HEAD)], b"\r\n\r\n")?;
        Some((&part[..head_size], &part[head_size + 4..]))
    });
    let mut found = parts.filter(|(head, _)| {
        memmem::find_iter(head, wanted.as_bytes())
            // `filename="model"` is not it.
            .any(|at| head[..at].ends_with(b" ") || head[..at].ends_with(b";"))
    });
    let (_, value) = found.next()?;
    let short = (value.len() <= MAX_FIELD).then_some(value)?;
    str::from_utf8(short).ok().map(str::to_owned)
}

/// The boundary that the header of a form names; it may stand in quotes.
fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    let mut parameters = content_type.split(|&byte| byte == b';');
    let kind = parameters.next()?.trim_ascii();
    if !kind.eq_ignore_ascii_case(b"multipart/form-data") {
        return None;
    }
    let value = parameters.find_map(|parameter| {
        let (name, value) = parameter.trim_ascii().split_at_checked(9)?;
        name.eq_ignore_ascii_case(b"boundary=").then_some(value)
    })?;
    let bare = value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    Some(bare.unwrap_or(value)).filter(|boundary| !boundary.is_empty())
}
