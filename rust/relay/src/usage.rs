//! What an engine says at the end of an answer of the prompt that it got.
//!
//! Engines of the `OpenAI` kind put an object `usage` at the end of a whole answer, and, where the client asks for it,
//! into the last event of a stream. Only the end of the body is read, once, when it is there: its events are nowhere
//! parsed, as everything but the usage passes as it came. An object that has the name `usage` and a number of prompt
//! tokens is taken for it wherever it stands, the last one of several: engines that give the usage with every event
//! count on in it. Text that an engine quotes cannot be taken for it, as its quotes are escaped.

use memchr::memmem;

use crate::head::Head;
use crate::json::{after, members, number};
use crate::tail::last;

/// What an answer says of its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, at least 1.
    pub prompt_tokens: u64,
    /// Those that the engine had cached; None where it does not say, which is not to say that there were none.
    pub cached_tokens: Option<u64>,
    /// Tokens of the answer; None where it does not say.
    pub completion_tokens: Option<u64>,
}

/// Bytes at the end of a body in which the usage is looked for; engines add little after it.
const WINDOW: usize = 16 * 1024;
const NAME: &[u8] = b"\"usage\"";

/// Whether the body of an answer can be read for a usage: it tells of a success, and is not compressed.
pub(crate) fn may_follow(head: &Head) -> bool {
    (200..300).contains(&head.status) && !head.encoded()
}

/// Finds the usage in a body, of which `body` has the end.
pub(crate) fn find(body: &[u8]) -> Option<Usage> {
    let end = last(body, WINDOW);
    memmem::find_iter(end, NAME)
        .filter(|&at| at == 0 || end[at - 1] != b'\\')
        .filter_map(|at| read(&end[at + NAME.len()..]))
        .last()
}

/// Reads what follows the name.
///
/// `FastDeploy`, vLLM and sglang give cached tokens in `prompt_tokens_details`, which may be null; some others beside
/// the prompt's. `OpenAI`'s responses and Anthropic's messages say input and output instead; the latter do not count
/// among their input what was cached, or is from now on.
fn read(text: &[u8]) -> Option<Usage> {
    let (mut prompt, mut cached, mut beside, mut answer) = (None, None, None, None);
    let (mut hit, mut kept) = (None, None);
    members(after(text, b':')?, |name, value| match name {
        b"prompt_tokens" | b"input_tokens" => prompt = number(value),
        b"prompt_tokens_details" | b"input_tokens_details" => cached = detail(value),
        b"cached_tokens" => beside = number(value),
        b"cache_read_input_tokens" => hit = number(value),
        b"cache_creation_input_tokens" => kept = number(value),
        b"completion_tokens" | b"output_tokens" => answer = number(value),
        _ => {}
    })?;
    let apart = hit.unwrap_or(0).saturating_add(kept.unwrap_or(0));
    let prompt = prompt.map(|tokens: u64| tokens.saturating_add(apart));
    Some(Usage {
        prompt_tokens: prompt.filter(|&tokens| tokens > 0)?,
        cached_tokens: cached.or(beside).or(hit),
        completion_tokens: answer,
    })
}

fn detail(details: &[u8]) -> Option<u64> {
    let mut cached = None;
    members(details, |name, value| {
        if name == b"cached_tokens" {
            cached = number(value);
        }
    })?;
    cached
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::tail::Tail;

    fn usage(prompt_tokens: u64, cached_tokens: impl Into<Option<u64>>) -> Usage {
        Usage {
            prompt_tokens,
            cached_tokens: cached_tokens.into(),
            completion_tokens: None,
        }
    }

    /// Of [`DETAILED`].
    fn detailed() -> Usage {
        Usage {
            completion_tokens: Some(5),
            ..usage(90, 64)
        }
    }

    fn check(body: &str, expected: Option<Usage>) {
        assert_eq!(find(body.as_bytes()), expected, "{body}");
    }

    /// The end of a whole answer.
    fn whole(usage: &str) -> String {
        format!(r#"{{"id":"c","choices":[{{"index":0,"text":"a"}}],"usage":{usage}}}"#)
    }

    /// A stream of vLLM's, in which every event has the key.
    fn stream(last: &str, end: &str) -> String {
        let mut text = String::new();
        for usage in ["null", "null", last] {
            let _ = write!(text, r#"data: {{"choices":[],"usage":{usage}}}{end}{end}"#);
        }
        text + "data: [DONE]" + end + end
    }

    const DETAILED: &str = r#"{"prompt_tokens":90,"total_tokens":95,"completion_tokens":5,
        "prompt_tokens_details":{"cached_tokens":64,"image_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}"#;

    #[test]
    fn every_spelling_of_a_usage() {
        check(&whole(DETAILED), Some(detailed()));
        check(&whole(r#"{"prompt_tokens":9}"#), Some(usage(9, None)));
        check(
            &whole(r#"{ "prompt_tokens" : 9 , "prompt_tokens_details" : null }"#),
            Some(usage(9, None)),
        );
        check(
            &whole(r#"{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":null}}"#),
            Some(usage(9, None)),
        );
        check(
            &whole(r#"{"prompt_tokens_details":{"cached_tokens":0},"prompt_tokens":9}"#),
            Some(usage(9, 0)),
        );
        check(
            &whole(r#"{"prompt_tokens":9,"cached_tokens":4}"#),
            Some(usage(9, 4)),
        );
        check(
            &whole(r#"{"prompt_tokens":18446744073709551615}"#),
            Some(usage(u64::MAX, None)),
        );
    }

    #[test]
    fn other_protocols_have_names_of_their_own() {
        let answered = |prompt_tokens, cached_tokens| Usage {
            completion_tokens: Some(4),
            ..usage(prompt_tokens, cached_tokens)
        };
        check(
            &whole(
                r#"{"input_tokens":9,"input_tokens_details":{"cached_tokens":8},"output_tokens":4}"#,
            ),
            Some(answered(9, Some(8))),
        );
        check(
            &whole(r#"{"input_tokens":9,"output_tokens":4}"#),
            Some(answered(9, None)),
        );
        check(
            &whole(
                r#"{"input_tokens":1,"cache_read_input_tokens":8,"cache_creation_input_tokens":2,"output_tokens":4}"#,
            ),
            Some(answered(11, Some(8))),
        );
        check(&whole(r#"{"output_tokens":4}"#), None);
    }

    #[test]
    fn the_frames_of_a_stream_do_not_matter() {
        for end in ["\n", "\r\n", "\r", " \n"] {
            check(&stream(DETAILED, end), Some(detailed()));
            check(&stream("null", end), None);
        }
    }

    #[test]
    fn the_last_that_can_be_read_wins() {
        let first = whole(r#"{"prompt_tokens":9,"cached_tokens":4}"#);
        check(&(first.clone() + &whole(DETAILED)), Some(detailed()));
        for later in [
            "null",
            "{}",
            "[1]",
            "\"x\"",
            "7",
            r#"{"prompt_tokens":0}"#,
            r#"{"prompt_tokens":1.5}"#,
            r#"{"prompt_tokens":18446744073709551616}"#,
        ] {
            check(&(first.clone() + &whole(later)), Some(usage(9, 4)));
        }
        check(
            &(first + r#"{"usage":{"prompt_tokens":7"#),
            Some(usage(9, 4)),
        );
    }

    #[test]
    fn a_number_that_is_too_large_is_not_said() {
        check(
            &whole(
                r#"{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":99999999999999999999}}"#,
            ),
            Some(usage(9, None)),
        );
    }

    #[test]
    fn quoted_text_is_no_usage() {
        for text in [
            r#"{"text":"\"usage\":{\"prompt_tokens\":9}"}"#,
            r#"{"text":"\\\"usage\":{\"prompt_tokens\":9}"}"#,
            r#"{"text":"usage","prompt_tokens":9}"#,
            r#"{"text":"\"usage"}:{"prompt_tokens":9}"#,
            r#"["usage",{"prompt_tokens":9}]"#,
            r#"{"usages":{"prompt_tokens":9}}"#,
            r#"{"usage" {"prompt_tokens":9}}"#,
            r#"{"prompt_tokens":9}"#,
            "",
        ] {
            check(text, None);
        }
        check(
            r#"{"usage":{"say":"{\"prompt_tokens\":1,","prompt_tokens":9,"b":["}",{"prompt_tokens":2}]}}"#,
            Some(usage(9, None)),
        );
    }

    #[test]
    fn only_the_end_of_a_body_is_read() {
        let found = whole(DETAILED);
        check(
            &(found.clone() + &" ".repeat(WINDOW - found.len())),
            Some(detailed()),
        );
        check(&(found + &" ".repeat(WINDOW)), None);
    }

    proptest! {
        #[test]
        fn where_the_chunks_end_does_not_matter(
            cuts in prop::collection::vec(0..4_000_usize, 0..30),
            filler in 0..4_000_usize,
            crlf in any::<bool>(),
        ) {
            let end = if crlf { "\r\n" } else { "\n" };
            let body = "x".repeat(filler) + &stream(DETAILED, end);
            let (mut tail, mut rest) = (Tail::default(), body.as_bytes());
            for cut in cuts {
                let (chunk, behind) = rest.split_at(cut % (rest.len() + 1));
                tail.push(chunk);
                rest = behind;
            }
            tail.push(rest);
            prop_assert_eq!(find(tail.bytes()), Some(detailed()));
        }

        #[test]
        fn any_text_is_read_without_a_panic(
            parts in prop::collection::vec(
                prop::sample::select(&[
                    "\"usage\"", ":", "{", "}", "[", "]", ",", "\"", "\\", "\"prompt_tokens\":1",
                    "\"prompt_tokens_details\":", "null", " ", "é",
                ][..]),
                0..40,
            ),
        ) {
            let found = find(parts.concat().as_bytes());
            prop_assert!(found.is_none() || found == Some(usage(1, None)));
        }
    }
}
