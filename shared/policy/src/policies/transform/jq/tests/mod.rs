//! What programs make, and what is refused.

mod generated;
mod hostile;

use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars, data, unwrap_valr};
use jaq_json::Val;
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

fn needs_math(name: &str) -> bool {
    ["logb", "significand", "pow10", "drem", "nexttoward", "scalb", "gamma"].contains(&name)
}

/// The same by jaq's own evaluation; true where it ended without an error.
fn by_jaq(text: &str, input: &Value) -> (Vec<Value>, bool) {
    // Those of the standard library that need what is not built are left out.
    const LEFT_OUT: [&str; 20] = [
        "stderr",
        "debug",
        "halt_error",
        "test",
        "scan_",
        "match",
        "capture",
        "split",
        "sub",
        "gsub",
        "scan",
        "splits",
        "todate",
        "fromdate",
        "@html",
        "@htmld",
        "@uri",
        "@urid",
        "@base64",
        "@base64d",
    ];
    let of_std = jaq_std::defs().filter(|def| {
        let is_split = def.name == "split" && def.args.len() == 1;
        is_split || !(LEFT_OUT.contains(&def.name) || needs_math(def.name) || def.name == "@sh")
    });
    let defs = jaq_core::defs().chain(of_std).chain(jaq_json::defs());
    let funs = jaq_core::funs().chain(jaq_std::base_funs()).chain(jaq_json::funs());
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
            // What is no JSON, such as an infinite number, is none for us either.
            Ok(value) => match serde_json::from_str(&value.to_string()) {
                Ok(value) => made.push(value),
                Err(_) => return (made, false),
            },
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
    "{a: (1, 2), b: 3}, {(\"a\", \"b\"): 1}",
    "1 + 2 * 3 - 4 / 2",
    "(1, 2) + 10, 1 + (10, 20)",
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
    "reduce (1, 2, 3) as $x ([]; [$x] + .), reduce .l[]? as $x ((0, 10); . + $x)",
    "\"a\\(.n)b\\(.s)\"",
    "\"\\(1, 2)-\\(3)\"",
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
    "\"ab\" * 3, 2 * \"ab\"",
    "[1, \"a\"] | any(. > 0), all(. == 2)",
    "[[1, 2], [3]] | map(add), .[][0], (.[0] | .[0, 1])",
    "[1, 2] as $x | 1 + $x[0], -$x[1]",
    "9007199254740993, 9007199254740993 == 9007199254740992, 18446744073709551615 > 18446744073709551614",
    "[{a: 1}, {b: 1}, {a: 0, b: 0}, {}] | sort, unique, group_by(.a), min, max",
    "[{a: 1, b: 2} == {b: 2, a: 1}, {a: 1} < {b: 0}, [1, 2] < [1, 3], \"a\" < \"b\"]",
    "[.[]? | try error catch \"c\"]",
    "try (1, error(\"x\"), 2) catch .",
    "(1, error(\"x\"), 2)?, 3",
    "(error(\"x\") // 1)?, (((1, error(\"x\")) // 2)?), ((null, error(\"x\")) // 3)",
    "first(1, error(\"x\")), isempty(1, error(\"x\")), [limit(1; 1, error(\"x\"))]",
    "[limit(0; 1), limit(-1; 1)]",
    "\"\" | split(\"a\"), split(\"\"), . / \"a\"",
    "\"äöü\" | .[1:2], length, utf8bytelength, ascii_upcase, split(\"\")",
    "[range(0; 3) | if . == 0 then \"a\" elif . == 1 then \"b\" else \"c\" end]",
    "{a: 1} | .a as $a | {$a, b: ($a | . + 1)}, .[\"a\"]?",
    "[3, [1], {a: [2]}] | [..], [.. | scalars]",
    "[1, 2, 3] | (.[0], .[2]) = 9, .[1:], (.[] | select(. > 1)) |= . * 2",
    "{a: {b: [1, 2]}} | .a.b[0] += 5, .a[\"b\"] |= length, (.a.b | .[1]) = null, del(.a.b), .a.c = 1",
    "{a: null, b: 1} | .a //= 2 | .b //= 3",
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
        ("null | .[1:], .a, .[0]", json!([null, null, null])),
        ("4 / 2, 1.0 + 1, 0.5 * 4 | tostring", json!(["2", "2", "2"])),
        ("[[]] | .[0] | flatten(1)", json!([])),
        ("[1, 2, 3] | del(.[0], .[1])", json!([3])),
        (
            "try (5.5 % 2) catch 1, try (\"a\" * 0) catch 2, try ([1] | .[0.5:]) catch 3",
            json!([1, 2, 3]),
        ),
        ("try ([1] | .[0.5]) catch 1, try ([1] | has(-1)) catch 2", json!([1, 2])),
        (
            "try (reduce 1 as $x (0; empty)) catch 1, try ([{key: 1}] | from_entries) catch 2",
            json!([1, 2]),
        ),
        ("try ({a: {b: 1}} | (.a, .a.b) |= 1) catch 1", json!(1)),
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

fn codes(text: &str) -> Vec<&'static str> {
    let faults = compile::compile(text).err().unwrap_or_default();
    faults.iter().map(|fault| fault.code).collect()
}

#[test]
fn what_jq_and_jaq_read_or_run_differently_is_refused() {
    for text in [
        ".a = .b // 1",
        ".a // .b |= 1",
        "if .a then .b = .c // 1 else 2 end",
        "{a: (.b = .c // 1)}",
        "2 * 3 % 4",
        "2 % 3 / 4",
        "1 + 2 as $x | $x",
        "-1 as $x | $x",
        ".a // .b as $x | $x",
    ] {
        assert_eq!(codes(text), ["ambiguous_program"], "{text}");
    }
    for text in [
        "(1, 2) + (3, 4)",
        "{a: .[], b: .[]}",
        "\"\\(.[])\\(.[])\"",
        ".[][0, 1]",
        ".[.[]:.[]]",
        "range(1, 2; 3, 4)",
        ".[] == .[]",
        "reduce .[] as $x (0; ., $x)",
        ".a |= (1, 2)",
        "map_values(.[])",
        ".. |= 1",
        "(.a | recurse) += 1",
        ".[] as [$x] | $x",
    ] {
        assert_eq!(codes(text), ["unsupported_program"], "{text}");
    }
    for text in [
        "(.a = .b) // 1",
        "(.b // 1) as $x | .a = $x",
        ".a = .b | .c // 1",
        "{a: (.b // 1), c: .d} | .e = 1",
        "1 + reduce .[] as $x (0; . + $x)",
        "1 + 2 | . as $x | $x, 3 as $y | $y",
        "(2 * 3) | . % 4",
        "if .a // .b then .c = 1 end",
        ".[0, 1], .[.[]], (.[] | .[0, 1])",
        "reduce .[] as $x (0; select($x) | . + $x)",
        "(.. | numbers) |= . + 1",
        "(.a, .b) |= 1",
    ] {
        assert!(compile::compile(text).is_ok(), "{text}: {:?}", compile::compile(text));
    }
}

#[test]
fn every_function_is_in_the_manual() {
    let manual = include_str!("../../MANUAL.md");
    let words: Vec<&str> =
        manual.split(|character: char| !character.is_alphanumeric() && character != '_').collect();
    for name in Function::names().iter().filter(|name| !matches!(**name, "true" | "false" | "null"))
    {
        assert!(words.contains(name), "{name}");
    }
}
