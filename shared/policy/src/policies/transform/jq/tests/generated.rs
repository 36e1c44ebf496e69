//! Any program and any value beside jaq's own evaluation.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::compile;
use super::super::evaluate::{Run, Stop};
use super::{PROGRAMS, all, difference};

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

const LEAVES: &[&str] = &[
    ".",
    ".a",
    ".b?",
    ".n",
    ".s?",
    ".l",
    ".[]",
    ".[]?",
    "(arrays | .[0])",
    "..",
    "1",
    "-2",
    "0.5",
    "\"a\"",
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "empty",
    "length?",
    "keys?",
    "type",
    "not",
    "add?",
    "tostring",
    "tojson",
    "((arrays, strings) | .[1:])",
    "(arrays | .[-1])",
    "(arrays | reverse)",
    "sort?",
    "unique?",
    "min?",
    "max?",
    "(arrays | flatten)",
    "(objects | to_entries)",
    "(objects | to_entries | from_entries)",
    "(objects | has(\"a\"))",
    "(strings | ascii_upcase, utf8bytelength)",
    "[.[]? | strings]",
    "numbers",
    "scalars",
    "iterables",
    "values",
    "(arrays | first)",
    "(arrays | last)",
    "any?",
    "all?",
    "error(\"x\")",
    "[range(3)]",
    "{a: 1, b: [2, {c: \"d\"}]}",
    "[3, 1, \"b\", null, {a: 1}]",
    "(strings | split(\"a\"))",
    "([.[]? | strings] | join(\"-\"))",
    "(numbers | floor, abs)",
    "(tojson | fromjson)",
];

/// `~` is a program.
const AROUND_ONE: &[&str] = &[
    "[~]",
    "{x: ~}",
    "{(~ | strings): 1}",
    "map(~)?",
    "select(~)",
    "(~)?",
    "(try ~ catch \"c\")",
    "([.[]?, 0, 1] | sort_by(~))?",
    "group_by(~)?",
    "unique_by(~)?",
    "min_by(~)?",
    "max_by(~)?",
    "any(~)?",
    "all(~)?",
    "first(~)",
    "last(~)",
    "[limit(2; ~)]",
    "isempty(~)",
    "\"<\\(~)>\"",
    "add(~)?",
    "-~",
    "([~] | length)",
    "walk(~)",
    "(~ | not)",
    "(reduce ~ as $x (null; [., $x]))",
];

/// `~` and `^` are programs.
const AROUND_TWO: &[&str] = &[
    "(~ | ^)",
    "(~, ^)",
    "(~ + ^)",
    "(~ - ^)",
    "(~ == ^)",
    "(~ < ^)",
    "(~ >= ^)",
    "(~ // ^)",
    "(~ and ^)",
    "(~ or ^)",
    "(if ~ then ^ else . end)",
    "(if . then ~ elif ^ then 1 end)",
    "{x: ~, y: [^]}",
    "(~ as $x | [$x, ^])",
    "[~] + [^]",
    "\"\\(~)\\([^])\"",
    "(~ as $x | ^ | [., $x])",
    "(reduce ~ as $x (^; [$x, .]))",
    "(~ | .[\"a\", \"b\"]?, ^)",
];

/// Programs of what we and jaq both run, and that both are to run to the same. What is known to differ is not
/// among it: it is above, by name.
fn generated() -> impl Strategy<Value = String> {
    let leaf = proptest::sample::select(LEAVES).prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let one = proptest::sample::select(AROUND_ONE);
        let two = proptest::sample::select(AROUND_TWO);
        prop_oneof![
            (one, inner.clone()).prop_map(|(shape, inner)| shape.replace('~', &inner)),
            (two, inner.clone(), inner).prop_map(|(shape, one, two)| shape
                .replace('~', "\u{1}")
                .replace('^', &two)
                .replace('\u{1}', &one)),
        ]
    })
}

/// The same programs each time, so that what is red is red for all; `PROPTEST_CASES` goes further.
fn config() -> ProptestConfig {
    let of_environment = ProptestConfig::default();
    ProptestConfig {
        cases: of_environment.cases.max(3_000),
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(14),
        ..of_environment
    }
}

/// What is run in a thread with a stack for jaq, which has no bound of its own.
fn with_room(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(64 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn any_program_makes_the_same_as_by_jaq() {
    with_room(|| {
        let mut runner = proptest::test_runner::TestRunner::new(config());
        let (compared, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        let same = |(text, input): (String, Value)| {
            if compile::compile(&text).is_err() {
                refused.set(refused.get() + 1);
                return Ok(());
            }
            compared.set(compared.get() + 1);
            if let Err(Stop::Spent | Stop::Deep) = all(&text, &input).1 {
                return Ok(());
            }
            match difference(&text, &input) {
                None => Ok(()),
                Some(difference) => Err(TestCaseError::fail(difference)),
            }
        };
        runner.run(&(generated(), value()), same).unwrap_or_else(|fault| panic!("{fault}"));
        // Else it would compare little.
        assert!(compared.get() > refused.get(), "{} and {}", compared.get(), refused.get());
    });
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
