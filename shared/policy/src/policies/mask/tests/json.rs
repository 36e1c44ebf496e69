use proptest::prelude::*;
use serde_json::Value;

use super::ways::card;
use super::*;

/// What becomes of a JSON text.
async fn json(rules: &str, body: &str) -> Result<String, (u16, &'static str)> {
    text(&format!("rules: [{rules}]"), "application/json", body).await
}

#[tokio::test]
async fn what_no_rule_finds_keeps_its_text() {
    let odd = "\u{feff} {\"b\" : 1.0, \"a\":[1,-0, 1e5 ,12345678901234567890123456789 ],\r\n\t\"a\": \"\\u0041\\/\\ud83d\",\"c\":{ }, \"d\": [ ]}\n";
    assert_eq!(json("{kind: card}, {json_path: '$.none'}", odd).await.unwrap(), odd);
    let one = odd.replace("\"\\u0041", "\"4111111111111111\\u0020\\u0041");
    let expected = odd.replace("\"\\u0041\\/\\ud83d\"", "\"************1111 A/\u{fffd}\"");
    assert_eq!(json("{kind: card}, {json_path: '$.none'}", &one).await.unwrap(), expected);
}

#[tokio::test]
async fn values_are_read_and_names_are_not() {
    let body = r#"{"joe@x.org":{"mail":"joe@x.org","n":4111111111111111,"m":-4111111111111111.0,"t":true,"z":null}}"#;
    let expected = r#"{"joe@x.org":{"mail":"j**@x.org","n":"************1111","m":"-************1111.0","t":true,"z":null}}"#;
    assert_eq!(json("{kind: card}, {kind: email}", body).await.unwrap(), expected);
}

#[tokio::test]
async fn escapes_hide_nothing() {
    let body =
        r#"["joe\u0040x.org","\u0034111 1111 1111 1111","J\u00f6rg","\ud83d\ude00joe@x.org\n"]"#;
    let expected =
        "[\"j**@x.org\",\"**** **** **** 1111\",\"[\\\"n\\\\\\u0001]\",\"😀j**@x.org\\u000a\"]";
    let rules = r#"{kind: card}, {kind: email}, {keywords: [jörg], replace: "[\"n\\\u0001]"}"#;
    assert_eq!(json(rules, body).await.unwrap(), expected);
}

#[tokio::test]
async fn a_place_finds_all_values_below_it() {
    let body = r#"{"a":{"b":["x",12,true,false,null,""],"c":{"d":"yy"}},"a":"twice","e":"stays"}"#;
    for (rule, expected) in [
        (
            "{json_path: $.a}",
            r#"{"a":{"b":["*","**","****","****",null,""],"c":{"d":"**"}},"a":"*****","e":"stays"}"#,
        ),
        (
            "{json_path: $.a.b, replace: '?'}",
            r#"{"a":{"b":["?","?","?","?",null,""],"c":{"d":"yy"}},"a":"twice","e":"stays"}"#,
        ),
        (
            "{json_path: '$..b[1,2]'}, {json_path: '$..[\"d\", \"e\"]', replace: Z}",
            r#"{"a":{"b":["x","**","****",false,null,""],"c":{"d":"Z"}},"a":"twice","e":"Z"}"#,
        ),
        (
            "{json_path: $, replace: Z}",
            r#"{"a":{"b":["Z","Z","Z","Z",null,""],"c":{"d":"Z"}},"a":"Z","e":"Z"}"#,
        ),
    ] {
        assert_eq!(json(rule, body).await.unwrap(), expected, "{rule}");
    }
    let hash = "{json_path: '$[*]', hash: {key: {secret: pseudonyms}}}";
    let hashed = json(hash, "[true,\"true\",false]").await.unwrap();
    let hashed: Vec<String> = serde_json::from_str(&hashed).unwrap();
    assert!(hashed[0] == hashed[1] && hashed[0] != hashed[2] && hashed[0].len() == 24);
}

#[tokio::test]
async fn what_is_removed_leaves_json_behind() {
    for (path, body, expected) in [
        ("$.a", r#"{ "a" : 1 }"#, "{ }"),
        ("$.a", r#"{ "a":1, "b":2, "c":3 }"#, r#"{ "b":2, "c":3 }"#),
        ("$.b", r#"{"a":1 , "b":{"x":[1,{"b":2}]} , "c":3}"#, r#"{"a":1 , "c":3}"#),
        ("$.c", r#"{"a":1, "b":2, "c":"x,y" }"#, r#"{"a":1, "b":2 }"#),
        ("$['a','b']", r#"{"a":1,"b":2,"c":3,"d":4}"#, r#"{"c":3,"d":4}"#),
        ("$['a','b','c']", r#"{"a":1,"b":2,"c":3}"#, "{}"),
        ("$['b','c']", r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1}"#),
        ("$.a", r#"{"a":1,"a":{"b":2},"\u0061":3}"#, "{}"),
        ("$[0,2]", "[1,[2],3,4]", "[[2],4]"),
        ("$..x", r#"[{"x":1},{"y":{"x":2,"z":3}},{"x":{"x":4}}]"#, r#"[{},{"y":{"z":3}},{}]"#),
        ("$.*", "[1,2]", "[]"),
        ("$.none", r#"{"a":1}"#, r#"{"a":1}"#),
    ] {
        let rule = format!("{{json_path: \"{path}\", remove: true}}");
        let masked = json(&rule, body).await.unwrap();
        assert_eq!(masked, expected, "{path}");
        serde_json::from_str::<Value>(&masked).unwrap();
    }
}

#[tokio::test]
async fn removal_comes_before_everything_else() {
    let rules = "{json_path: $.a}, {json_path: $.a.b, remove: true}, {kind: card}";
    let body = r#"{"a":{"b":"4111111111111111","c":"xy"},"d":"4111111111111111"}"#;
    let expected = r#"{"a":{"c":"**"},"d":"************1111"}"#;
    assert_eq!(json(rules, body).await.unwrap(), expected);
}

#[tokio::test]
async fn a_place_and_a_form_take_their_turns_as_they_are_written() {
    let body = r#"{"a":"Joe joe@x.org"}"#;
    let one = json("{kind: email}, {json_path: $.a, replace: X}", body).await.unwrap();
    assert_eq!(one, r#"{"a":"Xj**@x.org"}"#);
    let other = json("{json_path: $.a, replace: X}, {kind: email}", body).await.unwrap();
    assert_eq!(other, r#"{"a":"X"}"#);
}

#[tokio::test]
async fn what_is_no_json_is_not_shown() {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    for body in [
        "{",
        "}",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "[1 2]",
        "1 2",
        "{}{}",
        "01",
        "-",
        "1.",
        "1e",
        "+1",
        ".5",
        "tru",
        "nul",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "'a'",
        "[1}",
        "{\"a\":1]",
        "NaN",
        "text",
        &deep(129),
    ] {
        let refused = json("{kind: card}", body).await;
        assert_eq!(refused, Err((502, "malformed_response")), "{body}");
    }
    for body in [" ", "\n", "1", "\"a\"", "null", &deep(128)] {
        assert_eq!(json("{kind: card}", body).await.unwrap(), body);
    }
}

#[tokio::test]
async fn lines_of_json_are_read_one_by_one() {
    let rules = "rules: [{json_path: $.a}, {kind: email}]";
    for media_type in ["application/x-ndjson", "application/json-seq", "application/jsonl"] {
        let body = "\u{1e}{\"a\":1}\n\n{\"b\":\"j@x.org\"}\n\u{1e}[]\n3\r\n";
        let expected = "\u{1e}{\"a\":\"*\"}\n\n{\"b\":\"*@x.org\"}\n\u{1e}[]\n3\r\n";
        assert_eq!(text(rules, media_type, body).await.unwrap(), expected);
        let refused = text(rules, media_type, "{}\n{").await;
        assert_eq!(refused, Err((502, "malformed_response")));
    }
}

#[tokio::test]
async fn a_mebibyte_of_hostile_json_ends() {
    let rules = "{kind: card}, {kind: email}, {kind: phone}, {kind: iban}, {kind: ip}, {json_path: '$..*..*..*..*'}, {json_path: '$..a', remove: true}";
    let times = |part: &str| part.repeat((1_000_000 / part.len()).max(1));
    for body in [
        times("["),
        format!("[{}1]", times("1,")),
        format!("\"{}\"", times("\\u0040")),
        format!("\"{}\"", times("a@a.aa ")),
        format!("{{{}\"b\":1}}", times("\"a\":1,")),
        format!("[{}1]", times("[[[[[[1]]]]]],")),
        format!("[{}1]", times("{\"b\":{\"b\":{\"b\":\"@\"}}},")),
    ] {
        let outcome = json(rules, &body).await;
        assert!(
            matches!(outcome, Ok(_) | Err((502, "malformed_response" | "response_not_masked"))),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn what_grows_too_much_is_not_shown() {
    let text = "x".repeat(250);
    let rules = format!("{{json_path: '$[*]', replace: '{text}'}}");
    let body = format!("[{}1]", "1,".repeat(20_000));
    assert_eq!(json(&rules, &body).await, Err((502, "response_not_masked")));
    let rules = format!("rules: [{{regex: a, replace: '{text}'}}], max_body: 64KiB");
    let grown = super::text(&rules, "text/plain", &"a".repeat(2_000)).await;
    assert_eq!(grown, Err((502, "response_not_masked")));
    let grown = super::text(&rules, "text/plain", &"a".repeat(1_000)).await;
    assert_eq!(grown.unwrap().len(), 250_000);
}

#[tokio::test]
async fn others_have_their_turn_while_a_large_answer_is_read() {
    let (world, chain) = (world(), chain(&["mask: {rules: [{kind: card}]}"]));
    let body = format!("[{}1]", "1,".repeat(200_000));
    let mut waiting = Box::pin(through(&world, &chain, answer("application/json", body)));
    let mut waits = 0;
    let mut cx = Context::from_waker(std::task::Waker::noop());
    while Future::poll(waiting.as_mut(), &mut cx).is_pending() {
        waits += 1;
    }
    assert!((5..10).contains(&waits), "{waits}");
}

/// Any JSON, with cards in some of its texts.
fn value() -> impl Strategy<Value = (Value, Vec<String>)> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        card().prop_map(Value::from),
        ("[ \"\\\\\n.,é]{0,3}", card(), "[ \"\\\\\n,é]{0,3} ?").prop_map(
            |(before, card, after)| {
                let after = after.trim_start_matches('é');
                Value::from(format!("{before} {card} {after}"))
            }
        ),
    ];
    let value = leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map("[a-d\"\\\\]{0,3}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    value.prop_map(|value| {
        let mut cards = Vec::new();
        collect(&value, &mut cards);
        (value, cards)
    })
}

fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(members) => members.values().for_each(|member| collect(member, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether two values are the same but for texts, and numbers that became texts.
fn is_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.keys().eq(other.keys())
                && one.values().zip(other.values()).all(|(one, other)| is_alike(one, other))
        }
        (Value::String(_) | Value::Number(_), Value::String(_)) => true,
        _ => one == other,
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

proptest! {
    #[test]
    fn no_card_is_left_in_any_json_and_its_shape_stays((value, texts) in value(), is_pretty in any::<bool>()) {
        let body = if is_pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let body = body.unwrap();
        let masked = block_on(json("{kind: card}", &body)).unwrap();
        let after: Value = serde_json::from_str(&masked).unwrap();
        prop_assert!(is_alike(&value, &after), "{body} {masked}");
        let mut left = Vec::new();
        collect(&after, &mut left);
        let longest = |text: &str| text.split(|c: char| !c.is_ascii_digit() && !" -\u{a0}".contains(c)).map(|run| run.chars().filter(char::is_ascii_digit).count()).max().unwrap_or(0);
        for (before, after) in texts.iter().zip(&left) {
            prop_assert!(longest(before) < 16 || longest(after) < 16, "{before} {after}");
        }
    }

    #[test]
    fn removal_gives_what_removal_from_the_value_gives((value, _) in value(), is_pretty in any::<bool>()) {
        let body = if is_pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let masked = block_on(json("{json_path: '$..[a,1]', remove: true}".replace("[a,1]", "[\"a\",1]").as_str(), &body.unwrap())).unwrap();
        let after: Value = serde_json::from_str(&masked).unwrap();
        prop_assert_eq!(after, without(value));
    }

    #[test]
    fn what_serde_reads_is_read_and_nothing_else(body in "([\\[\\]{},:]|\"a\"|\"\\\\[nu\"]?(00e9)?\"| |1|-0|01|1\\.5|2e3|true|null|tru|\n){0,10}") {
        // A number may be written that no double holds: it is JSON all the same, and stays as it stands.
        let read = serde_json::from_str::<Value>(&body);
        let is_json = match &read {
            Ok(_) => true,
            Err(error) if error.to_string().contains("out of range") => return Ok(()),
            Err(_) => body.trim_matches([' ', '\n']).is_empty(),
        };
        let outcome = block_on(json("{kind: card}, {json_path: $.none}", &body));
        if is_json {
            prop_assert_eq!(outcome, Ok(body));
        } else {
            prop_assert_eq!(outcome, Err((502, "malformed_response")));
        }
    }
}

/// The value without members named `a` and second items, wherever they are.
fn without(value: Value) -> Value {
    match value {
        Value::Array(items) => items
            .into_iter()
            .enumerate()
            .filter(|(place, _)| *place != 1)
            .map(|(_, item)| without(item))
            .collect(),
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(name, _)| name != "a")
                .map(|(name, member)| (name, without(member)))
                .collect(),
        ),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}
