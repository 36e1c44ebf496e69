use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars, data, unwrap_valr};
use jaq_json::Val;
use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_model::Issues;

use super::evaluate::{Run, Stop};
use super::function::Function;
use super::{Program, compile};

fn program(text: &str) -> Program {
    let mut issues = Issues::default();
    Program::compile(text, "", &mut issues).unwrap_or_else(|| panic!("{text}: {issues}"))
}

/// All that a program makes, and how it ended.
fn all(text: &str, input: &Value) -> (Vec<Value>, Result<(), Stop>) {
    let (mut run, mut made) = (Run::new(json!({"id": "r"})), Vec::new());
    let ended = run.run(&program(text).filter, input, &mut made);
    (made, ended)
}

/// The same by jaq's own evaluation; true where it ended without an error.
fn by_jaq(text: &str, input: &Value) -> (Vec<Value>, bool) {
    let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let modules = Loader::new(defs).load(&arena, File { code: text, path: () });
    let modules = modules.unwrap_or_else(|_faults| panic!("jaq cannot read {text}"));
    let filter = Compiler::default().with_funs(funs).compile(modules);
    let filter = filter.unwrap_or_else(|faults| panic!("jaq cannot run {text}: {faults:?}"));
    let ctx = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
    let input = jaq_json::read::parse_single(input.to_string().as_bytes()).unwrap();
    let mut made = Vec::new();
    for value in filter.id.run((ctx, input)).map(unwrap_valr) {
        match value {
            Ok(value) => made.push(serde_json::from_str(&value.to_string()).unwrap()),
            Err(_) => return (made, false),
        }
    }
    (made, true)
}

/// Numbers as doubles: 1 and 1.0 are the same to jq.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
        }
        other => other.clone(),
    }
}

/// Where the two differ, both.
fn difference(text: &str, input: &Value) -> Option<String> {
    let ((ours, ended), (theirs, is_whole)) = (all(text, input), by_jaq(text, input));
    let (ours, theirs): (Vec<_>, Vec<_>) =
        (ours.iter().map(plain).collect(), theirs.iter().map(plain).collect());
    let differs = ours != theirs || ended.is_ok() != is_whole;
    differs.then(|| {
        let (ours, theirs) = (Value::from(ours), Value::from(theirs));
        format!("{text} on {input}:\n  {ours} {ended:?}\n  {theirs} {is_whole}\n")
    })
}

/// What we run, and jaq runs the same. Where jaq does what jq does not, such as for null in `.a = 1`, the input is
/// narrowed first; what we do then is below.
const PROGRAMS: &[&str] = &[
    ".",
    "..",
    ".a",
    ".a?",
    ".a.b",
    "arrays | .[0], .[-1], .[9]",
    ".l | arrays | .[0]",
    ".a[]",
    ".[]?",
    "arrays, strings | .[1:], .[:-1], .[1:2], .[-9:9], .[:-9], .[2:1]",
    ".[\"a\", \"b\"]",
    ".a.b?.c?",
    ".[\"a\"][\"b\"]",
    ".. | numbers",
    "[.[]?]",
    "[.a, .b]",
    "{a: .b, \"c\": 1}",
    "{a, b}",
    "{(.s | strings): 1}",
    "{a: (1, 2), b: (3, 4)}",
    "1 + 2 * 3 - 4 / 2",
    "(1, 2) + (10, 20)",
    "7 % 3",
    "-7 % 3",
    "-(.n)",
    ".n / 4",
    ".s + \"x\"",
    ".l + [1]",
    ".l - [1, 2]",
    ". + {z: 1}",
    ". * {a: {q: 1}}",
    "\"a,b\" / \",\"",
    "null + 1",
    ".n == 1",
    ".n < .s",
    ".l >= [1]",
    ". == .",
    ".a == .b, .a < .b",
    "[1, \"a\", null, true, {}, []] | sort",
    ".a? // \"none\"",
    ".l[]? // 5",
    "(.x?, .n?) // 3",
    "empty // 1",
    "if .n then 1 else 2 end",
    "if .n > 1 then \"big\" elif .n == 1 then \"one\" end",
    "[.l[]? | if . > 1 then . else empty end]",
    ".n and true",
    "(true, false) or (false, true)",
    "not",
    "try error(\"x\") catch .",
    "try .n.a catch 0",
    "(.n.a)?, 1",
    ".n as $x | [$x, .s]",
    ".l[]? as $x | $x * 2",
    "reduce .l[]? as $x (0; . + $x)",
    "reduce (1, 2, 3) as $x ([]; [$x] + .)",
    "\"a\\(.n)b\\(.s)\"",
    "\"\\(1, 2)-\\(3, 4)\"",
    "@json \"x\\(.l)\"",
    "@text",
    "@json",
    "length",
    "keys?",
    "keys_unsorted?",
    "objects | has(\"a\")",
    "map(. + 1)?",
    "map_values(. + 1)?",
    "select(.n == 1)",
    "[.[]? | values]",
    "[.. | strings, nulls, booleans, arrays, scalars, iterables, objects]",
    "objects | to_entries",
    "objects | with_entries(.value |= [.])",
    "[{key: \"a\", value: 1}] | from_entries",
    ".l | add?",
    "[.l[]? > 1] | any, all",
    ".l | arrays | first, last",
    "first(.l[]?)",
    "last(.l[]?)",
    "[limit(2; .l[]?)]",
    "[range(3)]",
    "[range(1; 3)]",
    "isempty(.l[]?)",
    "[[1, [2]], 3] | flatten, flatten(1)",
    ".l | arrays | reverse, sort, unique, min, max",
    "[{a: 2, b: 1}, {a: 1}, {a: 2}] | sort_by(.a), group_by(.a), unique_by(.a), min_by(.a), max_by(.a)",
    "arrays | sort, unique, min, max, sort_by(length?), group_by(type), reverse",
    "tostring, tojson",
    "(.s | tonumber)?",
    "\"[1, {}]\" | fromjson",
    ".s | strings | ascii_upcase, ascii_downcase, startswith(\"a\"), endswith(\"b\"), ltrimstr(\"a\"), rtrimstr(\"b\"), split(\"b\"), split(\"\"), trim, ltrim, rtrim, length, utf8bytelength",
    "[1, true, \"a\"] | join(\"-\")",
    "1.5, -1.5 | floor, ceil, round, abs",
    "type",
    "walk(if type == \"number\" then . + 1 else . end)",
    "objects | .a = 1",
    "objects | .a |= 5",
    "objects | select(.l | arrays) | .l[] |= [.]",
    "objects | .n += 1",
    "objects | .z //= 3",
    "objects | del(.a)",
    "objects | select(.l | arrays) | del(.l[0]?)",
    "(.. | numbers) |= . + 1",
    "(.[]? | strings) |= . + \"!\"",
    "\"ab\" * 3, \"ab\" * 0",
];

fn inputs() -> Vec<Value> {
    vec![
        json!({"n": 1, "s": "a b", "l": [3, 1, 2, 1], "a": {"b": {"c": 1}}, "b": null, "z": false}),
        json!({"s": "12", "n": -2.5, "l": [], "a": [{"b": 1}, 2]}),
    ]
}

#[test]
fn what_is_run_makes_the_same_as_by_jaq() {
    let all = PROGRAMS.iter().flat_map(|text| inputs().into_iter().map(move |input| (text, input)));
    let differences: String = all.filter_map(|(text, input)| difference(text, &input)).collect();
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn what_has_no_counterpart_makes_what_the_manual_says() {
    for (text, expected) in [
        ("$request.id", json!("r")),
        (
            "@base64, @base64d \"\\(@base64)\", @uri, @html",
            json!(["PGEmYg==", "<a&b", "%3Ca%26b", "&lt;a&amp;b"]),
        ),
        (". as $x | {$x}", json!({"x": "<a&b"})),
        ("[3, 1] | del(.[])", json!([])),
        ("[1, 2, 3] | .[] |= (select(. != 2) | . * 10)", json!([10, 30])),
        ("{} | .a.b[1] = 5", json!({"a": {"b": [null, 5]}})),
        ("9223372036854775807 + 1", json!(9223372036854775808.0)),
        ("18446744073709551615", json!(18446744073709551615u64)),
        ("(error // 1), (null | .[1:], .a, .[0])", json!([1, null, null, null])),
        ("null | .a = 1", json!({"a": 1})),
        ("[1, null, \"a\"] | join(\"-\")", json!("1--a")),
        ("[1, 2] | ltrimstr(\"a\")", json!([1, 2])),
        (
            "try ({} | .[0]) catch 1, try (null | has(\"a\")) catch 2, try (1 / 0) catch 3",
            json!([1, 2, 3]),
        ),
    ] {
        let (made, ended) = all(text, &json!("<a&b"));
        assert_eq!(ended, Ok(()), "{text}");
        let made = if made.len() == 1 { made[0].clone() } else { Value::from(made) };
        assert_eq!(made, expected, "{text}");
    }
}

#[test]
fn what_would_go_on_without_an_end_is_ended() {
    let numbers: Vec<u32> = (0..40_000).collect();
    let deep = (0..60).fold(json!(1), |inner, _| json!([inner]));
    let input = json!({"l": numbers, "t": "a".repeat(100_000), "d": deep});
    for (text, expected) in [
        ("[range(1e12; 1e13)]", None),
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
            Some(Stop::Deep),
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
        (".. |= [.]", Some(Stop::Error(json!("a array has no such place")))),
        ("(.l | map({a: ., b: ., c: .})) as $x | [range(100)] | map($x)", Some(Stop::Spent)),
    ] {
        let begun = std::time::Instant::now();
        let (_, ended) = all(text, &input);
        match expected {
            Some(expected) => match (&ended, &expected) {
                (Err(Stop::Error(_)), Stop::Error(_)) => {}
                _ => assert_eq!(ended, Err(expected), "{text}"),
            },
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
    assert_eq!(all(&walks(2), &deep).1, Ok(()));
    assert_eq!(all(&walks(20), &deep).1, Err(Stop::Deep));
}

#[test]
fn a_program_that_would_be_too_much_for_the_parser_is_refused_before() {
    for text in [
        "(".repeat(4_000),
        "[".repeat(2_000) + &"]".repeat(2_000),
        "-".repeat(4_000) + "1",
        "if ".repeat(1_300),
        "try ".repeat(1_000),
        "1|".repeat(2_000) + "1",
        ".a as $x|".repeat(440) + "1",
        "reduce ".repeat(500),
        "def f: ".repeat(500),
    ] {
        let faults = compile::compile(&text).unwrap_err();
        assert_eq!(faults[0].code, "too_deep", "{}", &text[..20]);
    }
    let mut issues = Issues::default();
    assert!(Program::compile(&" ".repeat(5_000), "", &mut issues).is_none());
    assert_eq!(issues.0[0].code, "too_large");
}

#[test]
fn a_program_at_its_bounds_is_run() {
    let chain = "1".to_owned() + &"+1".repeat(100);
    assert_eq!(all(&chain, &Value::Null).0, [json!(101)]);
    let binds = ".a as $x|".repeat(100) + "1";
    assert_eq!(all(&binds, &Value::Null).0, [json!(1)]);
    let choices = "if .a then 1 else ".repeat(100) + "2" + &" end".repeat(100);
    assert_eq!(all(&choices, &Value::Null).0, [json!(2)]);
    assert_eq!(all(&("1|".repeat(400) + "1"), &Value::Null).0, [json!(1)]);
    assert_eq!(all(&("1,".repeat(400) + "1"), &Value::Null).0.len(), 401);
    let nested = "[".repeat(32) + &"]".repeat(32);
    assert_eq!(all(&nested, &Value::Null).0.len(), 1);
}

#[test]
fn every_function_is_in_the_manual() {
    let manual = include_str!("../MANUAL.md");
    let words: Vec<&str> =
        manual.split(|character: char| !character.is_alphanumeric() && character != '_').collect();
    for name in Function::names().iter().filter(|name| !matches!(**name, "true" | "false" | "null"))
    {
        assert!(words.contains(name), "{name}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i32..4).prop_map(Value::from),
        "[ab ]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[abnslz]", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_value_makes_the_same_as_by_jaq(input in value(), which in 0..PROGRAMS.len()) {
        let difference = difference(PROGRAMS[which], &input);
        prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    }

    #[test]
    fn any_text_is_a_program_or_a_fault(text in "[\\[\\](){}.|,;:?/*+\\-a-c0-9$@\"= \\\\]{0,40}|\\PC{0,40}") {
        if let Ok(compiled) = compile::compile(&text) {
            let _ = Run::new(Value::Null).run(&compiled.filter, &json!({"a": [1]}), &mut Vec::new());
        }
    }
}
