//! Anything at all as a body: no panic, and what is accepted can be spliced and read again.

use proptest::prelude::*;

use super::*;

/// Pieces of which bodies are made, good and bad ones.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    " ",
    "\n",
    "\"messages\"",
    "\"prompt\"",
    "\"content\"",
    "\"text\"",
    "\"type\"",
    "\"request_id\"",
    "\"disaggregate_info\"",
    "\"session_id\"",
    "\"extra_body\"",
    "\"stream\"",
    "\"tools\"",
    "\"model\"",
    "\"a\"",
    "\\u00e9",
    "\\ud83d",
    "\\ude00",
    "\\u12",
    "é",
    "\u{1f600}",
    "true",
    "null",
    "-",
    "0",
    "1",
    ".5",
    "e9",
    "99999999999999999999",
    "[1,2,3]",
    "[[1],[2]]",
    "{\"a\":{}}",
];

fn joined() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..24).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        string(),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            object(inner),
        ]
    })
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(
        &[
            "",
            "a",
            " ",
            "é",
            "\\n",
            "\\\"",
            "\\u00e9",
            "\\ud83d\\ude00",
            "\\ud800",
        ][..],
    );
    prop::collection::vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn object(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let keys = PIECES
        .iter()
        .copied()
        .filter(|piece| piece.len() > 2 && piece.starts_with('"'));
    let key = prop::sample::select(keys.collect::<Vec<_>>());
    prop::collection::vec((key, inner), 0..5).prop_map(|members| {
        let members = members.iter().map(|(key, value)| format!("{key} :{value}"));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    })
}

/// A body that is one, or one in which a few bytes are others.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (object(value()), edits).prop_map(|(body, edits)| {
        let mut bytes = body.into_bytes();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

fn check(bytes: &[u8], prompt: Prompt) -> Result<bool, TestCaseError> {
    let Ok(body) = Body::scan(bytes, prompt) else {
        return Ok(false);
    };
    let text = str::from_utf8(body.text()).unwrap();
    prop_assert_eq!(body.chars(), text.chars().count());
    prop_assert!(
        body.weight() >= body.token_estimate() || matches!(body.rendered(), Rendered::Ids(_))
    );
    if let Rendered::Text(rendered) = body.rendered() {
        prop_assert!(str::from_utf8(rendered).is_ok());
    }
    prop_assert_eq!(body.splice(&Members::default()), bytes);
    let members = Members {
        request_id: Some(b"\"r-1\""),
        disaggregate_info: Some(b"{\"p\":1}"),
    };
    let spliced = body.splice(&members);
    let again = Body::scan(&spliced[..], prompt);
    prop_assert!(again.is_ok(), "{:?}", again.err());
    let again = again.unwrap();
    prop_assert_eq!(again.request_id(), Some("r-1"));
    prop_assert_eq!(again.text(), body.text());
    prop_assert_eq!(again.session_id(), body.session_id());
    prop_assert_eq!(again.stream(), body.stream());
    // Set once, it is there: doing it again changes nothing.
    prop_assert_eq!(again.splice(&members), spliced.clone());
    Ok(true)
}

fn prompts() -> impl Strategy<Value = Prompt> {
    prop::sample::select(&[Prompt::Messages, Prompt::Plain][..])
}

proptest! {
    #[test]
    fn bytes(bytes in prop::collection::vec(any::<u8>(), 0..64), prompt in prompts()) {
        check(&bytes, prompt)?;
    }

    #[test]
    fn pieces(text in joined(), prompt in prompts()) {
        check(text.as_bytes(), prompt)?;
        check(format!("{{{text}}}").as_bytes(), prompt)?;
    }

    #[test]
    fn damage(bytes in damaged(), prompt in prompts()) {
        check(&bytes, prompt)?;
    }

    #[test]
    fn bodies(text in object(value()), prompt in prompts()) {
        prop_assert!(check(text.as_bytes(), prompt)?, "a body is refused");
    }
}
