//! What an expression means, compared with another implementation of CEL.

use std::thread;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use super::hostile::{all_sorts, expressions};
use super::*;

/// Claims as the reference has them: whole numbers are ints.
fn of_json(json: &Value) -> cel::Value {
    match json {
        Value::Null => cel::Value::Null,
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => cel::Value::Float(number.as_f64().unwrap()),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(of_json).collect::<Vec<_>>().into(),
        Value::Object(fields) => {
            let fields: HashMap<String, cel::Value> =
                fields.iter().map(|(name, value)| (name.clone(), of_json(value))).collect();
            fields.into()
        }
    }
}

fn by_the_reference(source: &str) -> Option<bool> {
    let program = cel::Program::compile(source).unwrap();
    let mut context = cel::Context::default();
    context.add_variable_from_value("claims", of_json(&all_sorts()));
    match program.execute(&context) {
        Ok(cel::Value::Bool(truth)) => Some(truth),
        Ok(_) | Err(_) => None,
    }
}

#[test]
fn we_say_what_the_reference_says() {
    // The reference's parser needs much of it.
    let work = || {
        let mut runner = TestRunner::deterministic();
        let (world, request) = (world(all_sorts()), request(&[]));
        let (mut compared, mut with_value, mut different) = (0, 0, Vec::new());
        let strategy = expressions();
        while compared < 1_500 {
            let source = strategy.new_tree(&mut runner).unwrap().current();
            let Ok(condition) = Condition::compile(&source, SCOPE) else { continue };
            let cx = world.cx();
            let ours = condition.holds(&mut begin(&cx, &request));
            let theirs = by_the_reference(&source);
            compared += 1;
            with_value += u32::from(ours.is_some());
            if ours != theirs {
                different.push(format!("{source}: {ours:?}, they say {theirs:?}"));
            }
        }
        different.sort_by_key(String::len);
        (compared, with_value, different)
    };
    let work = thread::Builder::new().stack_size(64 << 20).spawn(work).unwrap();
    let (compared, with_value, different) = work.join().unwrap();
    let shown = different.iter().take(40).fold(String::new(), |text, line| text + line + "\n");
    assert!(different.is_empty(), "{} of {compared}:\n{shown}", different.len());
    assert!(with_value > 500, "only {with_value} have a value");
}
