use super::*;

fn chat(body: &str) -> Body<&[u8]> {
    Body::scan(body.as_bytes(), Prompt::Messages).unwrap()
}

fn plain(body: &str) -> Body<&[u8]> {
    Body::scan(body.as_bytes(), Prompt::Plain).unwrap()
}

fn text<'a>(body: &'a Body<&[u8]>) -> &'a str {
    str::from_utf8(body.text()).unwrap()
}

fn refused(body: impl AsRef<[u8]>) -> String {
    Body::scan(body.as_ref(), Prompt::Messages)
        .unwrap_err()
        .to_string()
}

#[test]
fn chat_text_joins_trimmed_pieces() {
    let body = chat(
        r#"{"messages":[{"role":"user","content":"  hello\n"},{"content":[{"type":"text","text":"hi"},
        {"type":"image_url","text":"no"},{"type":"text","text":" "}]},{"content":null},7,{"content":"how are you"}]}"#,
    );
    assert_eq!(text(&body), "hello hi how are you");
    assert_eq!(body.token_estimate(), 40);
}

#[test]
fn text_is_copied_only_where_it_must_be() {
    let lies_within = |json: &str| {
        let body = chat(json);
        json.as_bytes()
            .as_ptr_range()
            .contains(&body.text().as_ptr())
    };
    assert!(lies_within(r#"{"messages":[{"content":" hello  "}]}"#));
    assert!(lies_within(
        r#"{"messages":[{"content":" "},{"content":"a","content":"b"},{"content":"\n"}],"messages":[{"content":"c"}]}"#
    ));
    assert!(!lies_within(r#"{"messages":[{"content":"a\u0062"}]}"#));
    assert!(!lies_within(
        r#"{"messages":[{"content":"a"},{"content":"b"}]}"#
    ));
}

#[test]
fn completion_text_takes_strings_only() {
    assert_eq!(text(&plain(r#"{"prompt":["","hello",""]}"#)), "hello");
    assert_eq!(text(&plain(r#"{"prompt":" a "}"#)), "a");
    assert_eq!(text(&plain(r#"{"prompt":[1,2,3]}"#)), "");
    assert_eq!(text(&plain(r#"{"messages":[{"content":"x"}]}"#)), "");
}

#[test]
fn the_last_of_equal_keys_wins() {
    let body = chat(
        r#"{"stream":true,"stream":1,"messages":[{"content":"a"}],
        "messages":[{"content":"b","content":"c"},{"content":"d","content":5}]}"#,
    );
    assert!(!body.stream());
    assert_eq!(text(&body), "c");
}

#[test]
fn escapes_in_keys_and_values_are_read() {
    let body = chat(r#"{"\u0073tream":true,"request_id":"a\u00e9\ud83d\ude00\ud800x\\\/"}"#);
    assert!(body.stream());
    assert_eq!(body.request_id(), Some("aé😀\u{FFFD}x\\/"));
}

#[test]
fn ids_have_their_types() {
    assert_eq!(chat(r#"{"request_id":123}"#).request_id(), Some("123"));
    assert_eq!(chat(r#"{"request_id":null}"#).request_id(), None);
    assert_eq!(
        chat(r#"{"session_id":"","extra_body":{"session_id":"x"}}"#).session_id(),
        Some("x")
    );
    assert_eq!(chat(r#"{"session_id":5}"#).session_id(), None);
    assert_eq!(
        chat(r#"{"extra_body":{"session_id":"x"},"extra_body":[]}"#).session_id(),
        None
    );
}

#[test]
fn what_is_not_an_object_is_refused() {
    assert_eq!(refused(""), "unexpected end of input at byte 0");
    assert_eq!(refused(" [1]"), "expected an object at byte 1");
    assert_eq!(
        refused("{} {}"),
        "unexpected data after the object at byte 3"
    );
    assert_eq!(refused(r#"{"a":NaN}"#), "expected a value at byte 5");
    assert_eq!(refused(r#"{"a":01}"#), "expected `,` or `}` at byte 6");
    assert_eq!(refused(r#"{"a":1.}"#), "invalid number at byte 7");
    assert_eq!(
        refused("{\"a\":\"\n\"}"),
        "control character in string at byte 6"
    );
    assert_eq!(
        refused(r#"{"a":"\x"}"#),
        "invalid escape in string at byte 6"
    );
    assert_eq!(refused(b"{\"a\":\"\xff\"}"), "invalid UTF-8 at byte 6");
    assert_eq!(refused("\u{feff}{}"), "expected an object at byte 0");
    assert_eq!(refused(r#"{"a":1,}"#), "expected a string as key at byte 7");
}

#[test]
fn nesting_has_a_limit() {
    let nested = |levels: usize| {
        format!(
            "{{\"a\":{}{}}}",
            "[".repeat(levels - 1),
            "]".repeat(levels - 1)
        )
    };
    chat(&nested(DEPTH_LIMIT));
    assert!(refused(nested(DEPTH_LIMIT + 1)).starts_with("nested deeper than 128 levels"));
}

#[test]
fn splice_replaces_and_adds() {
    let members = Members {
        request_id: Some(b"\"r\""),
        disaggregate_info: Some(b"{}"),
    };
    let splice = |text: &str| String::from_utf8(chat(text).splice(&members)).unwrap();
    assert_eq!(splice("{}"), r#"{"request_id":"r","disaggregate_info":{}}"#);
    assert_eq!(
        splice(r#"{"a": 9007199254740993 } "#),
        r#"{"a": 9007199254740993 ,"request_id":"r","disaggregate_info":{}} "#
    );
    assert_eq!(
        splice(r#"{"disaggregate_info" : [1] ,"b":2,"request_id":null,"request_id":3}"#),
        r#"{"disaggregate_info" : {} ,"b":2,"request_id":"r","request_id":"r"}"#
    );
}

fn texts(body: &str) -> Body<&[u8]> {
    Body::scan(body.as_bytes(), Prompt::Texts).unwrap()
}

#[test]
fn texts_are_found_in_the_members_of_every_endpoint() {
    for (body, expected) in [
        (r#"{"input":" one "}"#, "one"),
        (r#"{"input":["one","two"]}"#, "one two"),
        (
            r#"{"text":["one","two"],"sampling_params":{"n":1}}"#,
            "one two",
        ),
        (r#"{"documents":["b",{"text":"c"}],"query":"a"}"#, "a b c"),
        (r#"{"text_2":["b"],"text_1":"a"}"#, "a b"),
        (r#"{"items":["b"],"query":"a"}"#, "a b"),
        (
            r#"{"messages":[{"role":"user","content":"b"}],"system":"a"}"#,
            "a b",
        ),
        (
            r#"{"system":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}],
            "messages":[{"role":"user","content":[{"type":"text","text":"b"}]}]}"#,
            "a b",
        ),
        (
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"b"}]},
            {"type":"message","role":"assistant","content":"c"}],"instructions":"a"}"#,
            "a b c",
        ),
        (r#"{"input":"a","input":["b"]}"#, "b"),
        (r#"{"model":"m","title":"x"}"#, ""),
    ] {
        assert_eq!(text(&texts(body)), expected, "{body}");
    }
    assert!(texts(r#"{"input":"a","stream":true}"#).stream());
}

#[test]
fn what_stands_beside_texts_is_rendered() {
    let rendered = |body: &str| match texts(body).rendered() {
        Rendered::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
        Rendered::Ids(ids) => format!("{ids:?}"),
    };
    assert_eq!(rendered(r#"{"input":[1,2,3]}"#), "[1, 2, 3]");
    let between = u32::MAX;
    assert_eq!(
        rendered(r#"{"input":[[1,2],[3]]}"#),
        format!("[1, 2, {between}, 3]")
    );
    assert_eq!(rendered(r#"{"input_ids":[1],"query":"a"}"#), "a");
    assert_eq!(
        rendered(r#"{"input":[{"type":"function_call_output","output":"7"}],"instructions":"a"}"#),
        r#"a {"type":"function_call_output","output":"7"}"#
    );
    let seen = rendered(r#"{"input":[{"content":[{"type":"input_image","image_url":"x"}]}]}"#);
    assert_eq!(seen.len(), 1_024);
    assert!(
        !texts(r#"{"input":"a","tools":[{"name":"f"}]}"#)
            .tools()
            .is_empty()
    );
}

#[test]
fn one_text_is_not_copied() {
    let json = r#"{"model":"m","input":" hello "}"#;
    let body = texts(json);
    assert!(
        json.as_bytes()
            .as_ptr_range()
            .contains(&body.text().as_ptr())
    );
}

#[test]
fn where_no_text_counts_the_rest_is_read() {
    let json =
        r#"{"prompt":"a","messages":[{"content":"b"}],"input":"c","model":"m","stream":true}"#;
    let body = Body::scan(json.as_bytes(), Prompt::Nowhere).unwrap();
    assert_eq!(
        (text(&body), body.model(), body.stream()),
        ("", Some("m"), true)
    );
    assert!(Body::scan(&b"[]"[..], Prompt::Nowhere).is_err());
}

#[test]
fn the_model_of_a_form_is_found() {
    let form = |content_type: &str, body: &str| {
        let body = Body::form(body.as_bytes(), content_type.as_bytes());
        body.model().map(str::to_owned)
    };
    let sound =
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\r\n\r\nRIFF\r\n";
    let model = "--B\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n";
    let kind = "multipart/form-data; boundary=B";
    for body in [
        format!("{sound}{model}--B--\r\n"),
        format!("preamble\r\n{model}{sound}--B--"),
    ] {
        assert_eq!(form(kind, &body).as_deref(), Some("whisper"), "{body}");
        assert_eq!(
            form("Multipart/Form-Data; charset=x; Boundary=\"B\"", &body).as_deref(),
            Some("whisper")
        );
        assert_eq!(form("multipart/form-data", &body), None);
        assert_eq!(form("application/json; boundary=B", &body), None);
        assert_eq!(form("multipart/form-data; boundary=", &body), None);
    }
    for body in [
        format!("{sound}--B--"),
        model.to_owned(),
        format!("--B\r\nname=\"model\"\r\n{model}"),
        format!(
            "--B\r\nx; name=\"model\"\r\n\r\n{}\r\n--B--",
            "m".repeat(2_000)
        ),
        String::new(),
        "--B--B--B".to_owned(),
    ] {
        assert_eq!(form(kind, &body), None, "{body}");
    }
}

proptest::proptest! {
    #[test]
    fn any_form_is_read_without_a_panic(
        parts in proptest::collection::vec(
            proptest::sample::select(&["--B", "\r\n", "\r\n\r\n", "; name=\"model\"", "é", "m"][..]),
            0..30,
        ),
    ) {
        let body = parts.concat();
        let _ = Body::form(body.as_bytes(), b"multipart/form-data; boundary=B").model();
    }
}
