//! Programs that would take all time, memory or stack.

use serde_json::{Value, json};
use tollgate_model::Issues;

use super::super::evaluate::Stop;
use super::super::{Program, compile};
use super::{all, codes};

#[test]
fn what_would_go_on_without_an_end_is_ended() {
    let numbers: Vec<u32> = (0..40_000).collect();
    let deep = (0..60).fold(json!(1), |inner, _| json!([inner]));
    let many: serde_json::Map<String, Value> =
        (0..4_000).map(|i| (format!("name-{i}"), json!(i))).collect();
    // A name that would be in the path of each number.
    let wide = json!({"n".repeat(1_000_000): numbers});
    let input = json!({"l": numbers, "t": "a".repeat(100_000), "d": deep, "h": many, "w": wide});
    for (text, expected) in [
        ("[range(1e12; 1e13)]", Some(Stop::Spent)),
        ("[range(1000000000000)]", Some(Stop::Spent)),
        ("last(range(1000000000000))", Some(Stop::Spent)),
        ("[limit(1; range(1000000000000))]", Some(Stop::Spent)),
        ("[.l[] as $a | .l[] as $b | 1]", Some(Stop::Spent)),
        ("[.l[] | .] | map(. as $x | [range(1000)])", Some(Stop::Spent)),
        ("try [range(1000000000000)] catch 1", Some(Stop::Spent)),
        ("first(range(1000000000000))", Some(Stop::Spent)),
        ("isempty(range(1000000000000))", Some(Stop::Spent)),
        (".t * 1000000000", Some(Stop::Spent)),
        (
            ". as $x | walk($x | walk($x | walk($x | walk($x | walk($x | walk(1))))))",
            Some(Stop::Spent),
        ),
        ("[range(1000000000000)]? // 1", Some(Stop::Spent)),
        ("reduce range(1000000000) as $x (.t; . + .)", Some(Stop::Spent)),
        ("reduce range(1000000000) as $x (.l; [., .])", Some(Stop::Spent)),
        ("reduce range(100) as $x (.d; [.])", Some(Stop::Deep)),
        ("reduce range(100) as $x (1; {a: .})", Some(Stop::Deep)),
        ("reduce range(100) as $x (1; . as $y | null | .a = $y)", Some(Stop::Deep)),
        ("reduce range(100) as $x (1; [1] | map(0) | [.[0]] | . + [.])", None),
        (". | .l[1000000000000] = 1", Some(Stop::Spent)),
        ("{} | .a[999999999] = 1", Some(Stop::Spent)),
        (
            "[.l[] | tojson] | join(\",\") | [., ., ., .] | tojson | [., ., ., .] | tojson | [., ., ., .] | tojson | [., ., ., .] | tojson | [., ., ., .] | tojson",
            Some(Stop::Spent),
        ),
        (".l - .l", Some(Stop::Spent)),
        (
            "[.l[] | [., .]] | sort | map(.[0]) | sort | unique | sort_by(-.) | group_by(.)",
            Some(Stop::Spent),
        ),
        ("[.t | split(\"\")[] | split(\"\")] | map(length)", Some(Stop::Spent)),
        (".w |= (.[][] |= . + 1)", Some(Stop::Spent)),
        ("del(.w[][])", Some(Stop::Spent)),
        ("[.w | to_entries[] | .value[] as $x | {(.key): $x}]", Some(Stop::Spent)),
        ("[.h, (range(20000) | {})] | sort", Some(Stop::Spent)),
        ("[.h, (range(5000) | {})] | unique", Some(Stop::Spent)),
        ("[.h, .h] | . - .", None),
        ("[range(100)] | map([.])| map([[.]]) | map([[[[[[.]]]]]]) | length", None),
        ("if .l[] == 0 then 1 elif .l[] == 1 then 2 elif .l[] == 3 then 4 end", Some(Stop::Spent)),
        ("(.l | map({a: ., b: ., c: .})) as $x | [range(100)] | map($x)", Some(Stop::Spent)),
    ] {
        let begun = std::time::Instant::now();
        let (_, ended) = all(text, &input);
        match expected {
            Some(expected) => assert_eq!(ended, Err(expected), "{text}"),
            None => assert!(!matches!(ended, Err(Stop::Spent | Stop::Deep)), "{text}: {ended:?}"),
        }
        assert!(begun.elapsed().as_secs() < 10, "{text}: {:?}", begun.elapsed());
    }
}

#[test]
fn walks_within_walks_end_before_the_stack_does() {
    let deep = (0..60).fold(json!(1), |inner, _| json!([inner]));
    let walks =
        |number: usize| format!(". as $x | {}.{}", "walk($x | ".repeat(number), ")".repeat(number));
    assert_eq!(all(&walks(1), &deep).1, Ok(()));
    // On a value that is not wide, it is the levels that end it.
    assert!(matches!(all(&walks(9), &deep).1, Err(Stop::Deep | Stop::Spent)));
}

#[test]
fn a_program_that_would_be_too_much_for_the_parser_is_refused_before() {
    for text in [
        "(".repeat(4_000),
        "[".repeat(2_000) + &"]".repeat(2_000),
        "-".repeat(4_000) + "1",
        "|-".repeat(2_000) + "1",
        "if ".repeat(1_300),
        "try ".repeat(1_000),
        "1|".repeat(2_000) + "1",
        "1,".repeat(2_000) + "1",
        ".a as $x|".repeat(440) + "1",
        "reduce ".repeat(500),
        "def f: ".repeat(500),
        "label $x|".repeat(400),
        "1|def f:1;".repeat(370),
        "if 1|2 then 3 else ".repeat(200),
        "{a:label $x|".to_owned() + &"1,1|".repeat(900) + "1}",
        "{a:".to_owned() + &"1|".repeat(50) + "1}",
        // What looks like an end in a text or in a comment is none.
        "(\")\"|".repeat(600),
        "\"\\(".repeat(1_000),
        "(#)\n".repeat(1_000),
        "(#)\\\n)\n".repeat(500),
    ] {
        assert_eq!(codes(&text), ["too_deep"], "{}", &text[..8]);
    }
    // A word that ends something is a filter's name to the parser where a filter stands.
    for text in ["1|then|", "1+end+", "if 1|end|", "if 1|else|", "if 1 then 2|elif|"] {
        assert_eq!(codes(&text.repeat(300)), ["invalid_program"], "{text}");
    }
    let names = "{if: 1, then: 2, end: .end, else, \"reduce\": 3, def: {label: 4}} | .if, .then";
    assert_eq!(all(names, &json!({"else": 5})).0, [json!(1), json!(2)]);
    // Where the words' reader would lose count of what is open, there is none.
    for text in ["\"\\(&\" ((((", "\"\\([)\"((((", "(]", ")", "\u{e4}", "{)"] {
        assert_eq!(codes(text), ["invalid_program"], "{text}");
    }
    let mut issues = Issues::default();
    assert!(Program::compile(&" ".repeat(5_000), "", &mut issues).is_none());
    assert_eq!(issues.0[0].code, "too_large");
}

#[test]
fn a_program_at_its_bounds_is_run() {
    let chain = "1".to_owned() + &"+1".repeat(40);
    assert_eq!(all(&chain, &Value::Null).0, [json!(41)]);
    let choices = "if .a then 1 else ".repeat(40) + "2" + &" end".repeat(40);
    assert_eq!(all(&choices, &Value::Null).0, [json!(2)]);
    let choices = "if false then 1 ".to_owned() + &"elif .a then 1 ".repeat(200) + "else 2 end";
    assert_eq!(all(&choices, &Value::Null).0, [json!(2)]);
    assert_eq!(all(&("1|".repeat(40) + "1"), &Value::Null).0, [json!(1)]);
    assert_eq!(all(&("1,".repeat(128) + "1"), &Value::Null).0.len(), 129);
    let nested = "[".repeat(24) + &"]".repeat(24);
    assert_eq!(all(&nested, &Value::Null).0.len(), 1);
    let path = ".a".repeat(32);
    assert_eq!(all(&path, &Value::Null).0, [Value::Null]);
    assert_eq!(codes(&".a".repeat(33)), ["unsupported_program"]);
    let object: String = (0..200).map(|i| format!("a{i}:.a+1,")).collect();
    assert_eq!(
        all(&format!("{{{object}}}"), &json!({"a": 1})).0[0].as_object().unwrap().len(),
        200
    );
}

/// What goes further in with each repetition, and what ends it.
const GROWING: &[(&str, &str, &str)] = &[
    ("(", ".", ")"),
    ("[", ".", "]"),
    ("{a:", ".", "}"),
    ("{(", "\"a\"", "):1}"),
    ("map(", ".", ")"),
    ("map(map_values(", ".", "))"),
    ("select(", ".", ")"),
    ("first(", ".", ")"),
    ("sort_by(", ".", ")"),
    ("with_entries(", ".", ")"),
    ("any(", ".", ")"),
    ("walk(", ".", ")"),
    (". as $x|walk($x|", ".", ")"),
    ("\"\\(", ".", ")\""),
    (".[", "0", "]"),
    (".[", "0", ":]"),
    ("if . then ", ".", " end"),
    ("if ", ".", " then . end"),
    ("try ", ".", ""),
    ("try error catch ", ".", ""),
    ("-", "1", ""),
    ("1+", "1", ""),
    ("1+(", "1", ")"),
    ("1==1 and ", "1", ""),
    ("null//", "1", ""),
    ("1|", ".", ""),
    (".|", ".", ""),
    ("1,", ".", ""),
    (". as $x|", ".", ""),
    ("reduce . as $x (.;", ".", ")"),
    ("reduce . as $x (", ".", ";.)"),
    ("reduce (", ".", ") as $x (0;.)"),
    ("(.a|=", ".", ")"),
    (".a=(", ".", ")"),
    ("del(.a|select(", ".", "))"),
    ("del(.[", "0", "]?)"),
    ("(..|select(", ".", "))|=1"),
    ("limit(1;", ".", ")"),
    ("range(", "0", ")"),
    ("[..]|", ".", ""),
];

fn grown((open, inner, close): &(&str, &str, &str), times: usize) -> String {
    format!("{}{inner}{}", open.repeat(times), close.repeat(times))
}

/// The deepest that is taken of everything that grows, with the deepest values: on an eighth of the stack that
/// threads have.
#[test]
fn the_deepest_programs_need_little_stack() {
    let mut found = Vec::new();
    for growing in GROWING {
        let taken = |times: &usize| compile::compile(&grown(growing, *times)).is_ok();
        let most = (1..200).take_while(taken).last();
        found.extend(
            (1..=most.unwrap_or_else(|| panic!("{growing:?}")))
                .rev()
                .take(3)
                .map(|times| grown(growing, times)),
        );
    }
    let work = move || {
        let list = (0..64).fold(json!(1), |inner, _| json!([inner]));
        let object = (0..64).fold(json!(1), |inner, _| json!({"a": inner}));
        for text in &found {
            for input in [&list, &object, &json!(1)] {
                let _ = all(text, input);
            }
        }
        for (open, _, _) in GROWING {
            let _refused = compile::compile(&open.repeat(4_096 / open.len()));
        }
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap();
}
