//! The text of resource files: what is read, where things stand, and what no text can do to the reader.

#![expect(clippy::unwrap_used, reason = "tests stop at the first fault")]

use serde_json::{Value, json};
use tollgate_model::Issue;
use tollgate_model::file::{MAX_BYTES, Malformed, describe, documents, dotted};

fn values(text: &str) -> Vec<Value> {
    documents(text).unwrap().into_iter().map(|located| located.value).collect()
}

/// The line and the problem of a text that is no resource file.
fn refused(text: &str) -> (usize, String) {
    let Malformed { line, problem } = documents(text).unwrap_err();
    (line, problem)
}

#[test]
fn yaml_and_json_are_read_and_empty_documents_left_out() {
    assert_eq!(values(""), [json!(null); 0]);
    assert_eq!(values("# nothing\n---\n---\na: 1\n---\n...\n"), [json!({"a": 1})]);
    assert_eq!(
        values("{\"a\": [1, \"b\", null, true, 1.5]}"),
        [json!({"a": [1, "b", null, true, 1.5]})]
    );
    assert_eq!(values("a: 1\n---\nb: 2\n"), [json!({"a": 1}), json!({"b": 2})]);
}

#[test]
fn scalars_are_what_yaml_1_2_says() {
    assert_eq!(
        values(
            "[yes, no, on, off, y, true, ~, null, '', 0x10, 0o10, 010, 1e3, -1, \"5\", 1.0.0, 2027-01-31]"
        ),
        [json!([
            "yes",
            "no",
            "on",
            "off",
            "y",
            true,
            null,
            null,
            "",
            16,
            8,
            10,
            1000.0,
            -1,
            "5",
            "1.0.0",
            "2027-01-31"
        ])]
    );
}

#[test]
fn every_value_has_its_line() {
    let text = "# first\nkind: Api\nspec:\n  routes:\n    - name: a\n      match:\n        path: /x\n    - name: b\n---\nkind: Upstream\n";
    let located = documents(text).unwrap();
    let lines: Vec<usize> = [
        "/kind",
        "/spec",
        "/spec/routes",
        "/spec/routes/0",
        "/spec/routes/0/match/path",
        "/spec/routes/1/name",
    ]
    .map(|pointer| located[0].line_of(pointer))
    .to_vec();
    assert_eq!(lines, [2, 3, 4, 5, 7, 8]);
    // What is missing is looked for where it ought to be.
    assert_eq!(located[0].line_of("/spec/routes/1/match/path"), 8);
    assert_eq!(located[0].line_of("/name"), located[0].line);
    assert_eq!((located[1].line, located[1].line_of("/kind")), (10, 10));
}

#[test]
fn an_issue_is_shown_with_file_line_and_path() {
    let located =
        documents("kind: Api\nspec:\n  routes:\n    - {a/b: {c~d: 1}}\n").unwrap().remove(0);
    let issue = Issue::new("/spec/routes/0/a~1b/c~0d", "invalid", "is wrong");
    assert_eq!(
        describe("orders.yaml", &located, &issue),
        "orders.yaml:4: spec.routes[0].a/b.c~d: is wrong (invalid)"
    );
    let issue = Issue::new("", "missing_field", "`name` is missing");
    assert_eq!(
        describe("orders.yaml", &located, &issue),
        "orders.yaml:1: `name` is missing (missing_field)"
    );
    assert_eq!(dotted("/spec/routes/1/match"), "spec.routes[1].match");
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    for text in
        ["a: 1\nb: 2\na: 3\n", "x: {a: 1, a: 2}", "{\"a\": 1, \"a\": 1}", "a: 1\n\"a\": 2\n"]
    {
        let (_, problem) = refused(text);
        assert_eq!(problem, "has a key twice; give it once", "{text}");
    }
    assert_eq!(refused("a: 1\nb: 2\na: 3\n").0, 3);
    // Two YAML keys that are one JSON key.
    assert_eq!(refused("1: a\n\"1\": b\n"), (2, "has a key twice".to_owned()));
}

#[test]
fn what_is_not_yaml_is_refused_with_its_line() {
    for (text, line) in [
        ("a: 1\n\tb: 2\n", 1),
        ("a: [1, 2\nb: 3\n", 2),
        ("a: \"text\n", 2),
        ("a: 1\n b: 2\n", 2),
        ("a: *nobody\n", 1),
        ("{a: 1}}\n", 1),
    ] {
        let (at, problem) = refused(text);
        assert!(problem.starts_with("is not YAML: "), "{text}: {problem}");
        assert!((1..=line + 1).contains(&at), "{text}: line {at}: {problem}");
    }
}

#[test]
fn what_json_cannot_hold_is_refused() {
    for text in ["a: .nan", "a: .inf", "a: -.inf"] {
        assert_eq!(refused(text), (1, "has a number that JSON cannot hold".to_owned()), "{text}");
    }
    for text in ["? [a]\n: b\n", "? {a: b}\n: c\n", "~: a\n", "1.5: a\n"] {
        assert_eq!(refused(text), (1, "has a key that is not a text".to_owned()), "{text}");
    }
    // A number that is no 64-bit one is not rounded in silence.
    assert!(!values("a: 99999999999999999999")[0]["a"].is_i64());
}

#[test]
fn byte_order_mark_line_ends_and_trailing_space_change_nothing() {
    let expected = [json!({"a": {"b": [1, 2]}})];
    for text in [
        "a:\n  b: [1, 2]\n",
        "\u{feff}a:\n  b: [1, 2]\n",
        "a:\r\n  b: [1, 2]\r\n",
        "a:  \n  b: [1, 2]   \n\n\n",
    ] {
        assert_eq!(values(text), expected, "{text:?}");
    }
}

#[test]
fn anchors_are_followed_and_bombs_are_not() {
    assert_eq!(values("a: &x {b: 1}\nc: *x\n"), [json!({"a": {"b": 1}, "c": {"b": 1}})]);
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..30 {
        let last = i - 1;
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{last}"); 10].join(", ")));
    }
    let (_, problem) = refused(&bomb);
    assert!(problem.contains("alias"), "{problem}");
    assert!(documents("a: &a [*a]\n").is_err(), "an anchor within itself");
}

#[test]
fn no_nesting_takes_the_stack() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        "? ".repeat(100_000),
        (0..20_000).map(|i| format!("{}a:\n", " ".repeat(i))).collect::<String>(),
        (0..5_000).map(|i| format!("{}- \n", " ".repeat(i))).collect::<String>(),
    ] {
        assert!(documents(&text).is_err());
    }
    // The deepest that the indentation allows.
    let deepest: String =
        (0..=510).map(|i| format!("{}a:\n{}-\n", " ".repeat(i), " ".repeat(i))).collect();
    assert!(documents(&deepest).is_err());
    assert_eq!(
        refused(&format!("{}x{}", "[".repeat(66), "]".repeat(66))).1,
        "is nested deeper than 64 levels"
    );
    assert!(documents(&format!("{}x{}", "[".repeat(64), "]".repeat(64))).is_ok());
}

#[test]
fn a_file_that_is_too_large_is_refused_before_it_is_read() {
    let (line, problem) = refused(&" ".repeat(MAX_BYTES + 1));
    assert_eq!((line, problem.as_str()), (1, "is larger than 64 MiB; split it"));
}

#[test]
fn a_large_file_is_read() {
    let text: String = (0..2_000)
        .map(|i| format!("kind: Api\nname: a{i}\nspec:\n  base_path: /a{i}\n  upstream: u\n---\n"))
        .collect();
    let located = documents(&text).unwrap();
    assert_eq!((located.len(), located[1_999].line_of("/name")), (2_000, 1_999 * 6 + 2));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[-?:,\\[\\]{}#&*!|>'\"%@` \t\r\na-c0-9.~\\\\]{0,60}") {
        drop(documents(&text));
    }
}
