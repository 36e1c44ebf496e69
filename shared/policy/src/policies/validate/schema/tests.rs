use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_model::Issues;

use super::*;
use crate::policies::validate::json::Json;

/// The schemas of one document, with the first of them.
fn built(
    schema: &Value,
    dialect: Dialect,
    direction: Option<Direction>,
) -> Result<(Schemas, NodeId), Issues> {
    let mut faults = Faults::below("/schema");
    let mut builder = Builder::new(schema, dialect, direction, &mut faults);
    let root = builder.schema("");
    let schemas = builder.finish();
    faults.issues.into_result((schemas, root))
}

fn outcome((schemas, root): &(Schemas, NodeId), value: &Value) -> Outcome {
    let mut checker = Checker::new(schemas);
    checker.check(*root, &Json::of(value), At::Part("/body"));
    checker.outcome()
}

/// `pointer code` of every fault.
fn faults(schema: &Value, dialect: Dialect, value: &Value) -> Vec<String> {
    let built = built(schema, dialect, None).unwrap_or_else(|issues| panic!("{schema}: {issues}"));
    match outcome(&built, value) {
        Outcome::Valid => Vec::new(),
        Outcome::Faults(issues) => {
            issues.into_iter().map(|issue| format!("{} {}", issue.at, issue.code)).collect()
        }
        Outcome::TooComplex => panic!("{schema} {value}"),
    }
}

fn codes(schema: &Value, dialect: Dialect, direction: Option<Direction>) -> Vec<String> {
    let issues = built(schema, dialect, direction).err().unwrap_or_default();
    issues.0.into_iter().map(|issue| format!("{} {}", issue.at, issue.code)).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn each_keyword_takes_what_it_should_and_names_what_it_should_not() {
    let cases = [
        (json!({"type": "integer"}), json!(1.0), json!(1.5), "/body type"),
        (json!({"type": ["string", "null"]}), json!(null), json!(1), "/body type"),
        (json!({"enum": [1, "a", {"b": [1]}]}), json!({"b": [1.0]}), json!("b"), "/body enum"),
        (json!({"const": {"a": 1}}), json!({"a": 1}), json!({"a": 2}), "/body enum"),
        (json!({"minimum": 1, "maximum": 2}), json!(2), json!(3), "/body maximum"),
        (json!({"minimum": 1}), json!("0"), json!(0.9), "/body minimum"),
        (json!({"exclusiveMinimum": 1}), json!(1.1), json!(1), "/body exclusive_minimum"),
        (json!({"exclusiveMaximum": 1}), json!(0), json!(1), "/body exclusive_maximum"),
        (json!({"multipleOf": 0.01}), json!(19.99), json!(0.001), "/body multiple_of"),
        (json!({"minLength": 2}), json!("äö"), json!("ä"), "/body min_length"),
        (json!({"maxLength": 2}), json!("äö"), json!("abc"), "/body max_length"),
        (json!({"pattern": "^[a-z]+$"}), json!("abc"), json!("a1"), "/body pattern"),
        (json!({"format": "uuid"}), json!(1), json!("x"), "/body format"),
        (json!({"format": "colour"}), json!("x"), json!(null), ""),
        (json!({"items": {"type": "string"}}), json!(["a"]), json!(["a", 1]), "/body/1 type"),
        (
            json!({"prefixItems": [{"type": "string"}], "items": false}),
            json!(["a"]),
            json!(["a", 1]),
            "/body/1 not_allowed",
        ),
        (json!({"minItems": 1, "maxItems": 2}), json!([1]), json!([]), "/body min_items"),
        (json!({"maxItems": 2}), json!([1, 2]), json!([1, 2, 3]), "/body max_items"),
        (
            json!({"uniqueItems": true}),
            json!([1, "1", [1], {}]),
            json!([{"a": 1, "b": 2}, {"b": 2, "a": 1.0}]),
            "/body unique_items",
        ),
        (json!({"contains": {"type": "null"}}), json!([1, null]), json!([1]), "/body contains"),
        (
            json!({"contains": {"type": "null"}, "minContains": 0, "maxContains": 1}),
            json!([]),
            json!([null, null]),
            "/body contains",
        ),
        (json!({"required": ["a"]}), json!({"a": null}), json!({}), "/body required"),
        (
            json!({"properties": {"a/b": {"type": "null"}}}),
            json!({"c": 1}),
            json!({"a/b": 1}),
            "/body/a~1b type",
        ),
        (
            json!({"patternProperties": {"^x-": {"type": "null"}}}),
            json!({"y": 1}),
            json!({"x-1": 1}),
            "/body/x-1 type",
        ),
        (
            json!({"properties": {"a": {}}, "patternProperties": {"^x": {}}, "additionalProperties": false}),
            json!({"a": 1, "x": 1}),
            json!({"b": 1}),
            "/body/b not_allowed",
        ),
        (
            json!({"propertyNames": {"maxLength": 2}}),
            json!({"ab": 1}),
            json!({"abc": 1}),
            "/body/abc max_length",
        ),
        (json!({"minProperties": 1}), json!({"a": 1}), json!({}), "/body min_properties"),
        (
            json!({"maxProperties": 1}),
            json!({"a": 1}),
            json!({"a": 1, "b": 2}),
            "/body max_properties",
        ),
        (
            json!({"dependentRequired": {"a": ["b"]}}),
            json!({"b": 1}),
            json!({"a": 1}),
            "/body dependent_required",
        ),
        (
            json!({"dependentSchemas": {"a": {"maxProperties": 1}}}),
            json!({"a": 1}),
            json!({"a": 1, "b": 1}),
            "/body max_properties",
        ),
        (json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}), json!(1), json!(3), "/body maximum"),
        (json!({"anyOf": [{"minimum": 5}, {"maximum": 2}]}), json!(1), json!(3), "/body any_of"),
        (
            json!({"anyOf": [{"type": "null"}, {"type": "object", "required": ["a"]}]}),
            json!(null),
            json!({}),
            "/body required",
        ),
        (json!({"oneOf": [{"minimum": 5}, {"maximum": 7}]}), json!(1), json!(6), "/body one_of"),
        (json!({"not": {"type": "string"}}), json!(1), json!("a"), "/body not"),
        (
            json!({"if": {"minimum": 5}, "then": {"multipleOf": 5}, "else": {"multipleOf": 2}}),
            json!(10),
            json!(3),
            "/body multiple_of",
        ),
        (
            json!({"$ref": "#/$defs/a", "maximum": 5, "$defs": {"a": {"minimum": 1}}}),
            json!(3),
            json!(6),
            "/body maximum",
        ),
        (
            json!({"$ref": "#a", "$defs": {"x": {"$anchor": "a", "minimum": 1}}}),
            json!(3),
            json!(0),
            "/body minimum",
        ),
        (
            json!({"$id": "https://shop.test/s", "$ref": "https://shop.test/s#/$defs/a%25b", "$defs": {"a%b": {"minimum": 1}}}),
            json!(3),
            json!(0),
            "/body minimum",
        ),
        (
            json!({"properties": {"next": {"$ref": "#"}, "value": {"type": "integer"}}}),
            json!({"next": {"next": {"value": 1}}}),
            json!({"next": {"next": {"value": ""}}}),
            "/body/next/next/value type",
        ),
        (
            json!({"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": false}),
            json!({"a": 1}),
            json!({"b": 1}),
            "/body/b not_allowed",
        ),
        (
            json!({"anyOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {}}}], "unevaluatedProperties": false}),
            json!({"a": 1, "b": 1}),
            json!({"a": 2}),
            "/body/a not_allowed",
        ),
        (
            json!({"prefixItems": [{}], "contains": {"const": 7}, "unevaluatedItems": {"type": "string"}}),
            json!([1, 7, "a"]),
            json!([1, 7, 2]),
            "/body/2 type",
        ),
    ];
    for (schema, valid, invalid, fault) in cases {
        assert_eq!(faults(&schema, Dialect::Draft2020, &valid), [""; 0], "{schema} {valid}");
        let found = faults(&schema, Dialect::Draft2020, &invalid);
        let wanted: Vec<&str> = Some(fault).filter(|fault| !fault.is_empty()).into_iter().collect();
        assert_eq!(found, wanted, "{schema} {invalid}");
    }
}

#[test]
fn dialects_differ_where_they_should() {
    use Dialect::{Draft7, Draft2019, Draft2020, OpenApi30, OpenApi31};
    let cases = [
        (OpenApi30, json!({"type": "string", "nullable": true}), json!(null), true),
        (OpenApi31, json!({"type": "string", "nullable": true}), json!(null), false),
        (OpenApi30, json!({"minimum": 1, "exclusiveMinimum": true}), json!(1), false),
        (OpenApi30, json!({"minimum": 1, "exclusiveMinimum": false}), json!(1), true),
        (OpenApi30, json!({"additionalProperties": false}), json!({"a": 1}), false),
        (
            Draft7,
            json!({"$ref": "#/definitions/a", "maximum": 1, "definitions": {"a": {}}}),
            json!(2),
            true,
        ),
        (
            Draft2019,
            json!({"$ref": "#/definitions/a", "maximum": 1, "definitions": {"a": {}}}),
            json!(2),
            false,
        ),
        (
            Draft7,
            json!({"items": [{"type": "null"}], "additionalItems": false}),
            json!([null, 1]),
            false,
        ),
        (
            Draft7,
            json!({"dependencies": {"a": ["b"], "b": {"maxProperties": 1}}}),
            json!({"a": 1}),
            false,
        ),
        (
            Draft7,
            json!({"dependencies": {"a": ["b"], "b": {"maxProperties": 1}}}),
            json!({"a": 1, "b": 1}),
            false,
        ),
        (
            Draft7,
            json!({"$ref": "#x", "definitions": {"a": {"$id": "#x", "type": "null"}}}),
            json!(1),
            false,
        ),
        (
            Draft2019,
            json!({"contains": {"const": 1}, "unevaluatedItems": false}),
            json!([1]),
            false,
        ),
        (Draft2020, json!({"contains": {"const": 1}, "unevaluatedItems": false}), json!([1]), true),
    ];
    for (dialect, schema, value, is_valid) in cases {
        let found = faults(&schema, dialect, &value);
        assert_eq!(found.is_empty(), is_valid, "{dialect:?} {schema} {value} {found:?}");
    }
}

#[test]
fn what_is_not_for_a_direction_is_neither_asked_for_nor_taken() {
    let schema = json!({"required": ["id", "password"], "properties": {
        "id": {"$ref": "#/id"}, "password": {"writeOnly": true}}, "id": {"readOnly": true}});
    for (direction, taken, refused, fault) in [
        (
            Direction::Request,
            json!({"password": 1}),
            json!({"id": 1, "password": 1}),
            "/body/id read_only",
        ),
        (
            Direction::Response,
            json!({"id": 1}),
            json!({"id": 1, "password": 1}),
            "/body/password write_only",
        ),
    ] {
        let built = built(&schema, Dialect::OpenApi30, Some(direction)).unwrap();
        assert_eq!(outcome(&built, &taken), Outcome::Valid, "{direction:?}");
        let Outcome::Faults(found) = outcome(&built, &refused) else { panic!("{direction:?}") };
        assert_eq!(format!("{} {}", found[0].at, found[0].code), fault);
    }
    assert!(faults(&schema, Dialect::Draft2020, &json!({"id": 1, "password": 1})).is_empty());
}

#[test]
fn every_fault_is_named_up_to_twenty_and_no_value_is_told() {
    let schema = json!({"items": {"type": "integer", "minimum": 5}, "maxItems": 3});
    let found = faults(&schema, Dialect::Draft2020, &json!([1, "a", 7, 2]));
    assert_eq!(found, ["/body max_items", "/body/0 minimum", "/body/1 type", "/body/3 minimum"]);
    let built = built(&schema, Dialect::Draft2020, None).unwrap();
    let secret = vec!["sk-secret-0001"; 5_000];
    let Outcome::Faults(found) = outcome(&built, &json!(secret)) else { panic!() };
    assert_eq!(found.len(), 20);
    assert!(found.iter().all(|issue| !issue.to_string().contains("secret")));
    let long = json!({"properties": {}, "additionalProperties": false});
    let found = faults(&long, Dialect::Draft2020, &json!({"x".repeat(10_000): 1}));
    assert_eq!(found[0].len(), "/body/".len() + 64 + " not_allowed".len());
}

#[test]
fn schemas_that_are_wrong_or_endless_are_refused_with_all_their_faults() {
    use Dialect::{Draft2020, OpenApi30};
    let chain = |links: usize, list: &str| {
        let mut defs = serde_json::Map::new();
        for i in 0..links {
            let next = json!({"$ref": format!("#/$defs/a{}", i + 1)});
            defs.insert(format!("a{i}"), json!({list: [next, next]}));
        }
        defs.insert(format!("a{links}"), json!({"type": "string"}));
        json!({"$ref": "#/$defs/a0", "$defs": defs})
    };
    assert_eq!(codes(&chain(12, "anyOf"), Draft2020, None), [""; 0]);
    for list in ["anyOf", "oneOf", "allOf"] {
        let found = codes(&chain(40, list), Draft2020, None);
        assert!(!found.is_empty(), "{list}");
        assert!(found.iter().all(|code| code.ends_with(" schema_too_large")), "{found:?}");
    }
    let deep = (0..70).fold(json!({}), |inner, _| json!({"allOf": [inner]}));
    assert!(codes(&deep, Draft2020, None)[0].ends_with(" schema_too_large"));
    for (schema, found) in [
        (json!({"allOf": [{"$ref": "#"}]}), &["/schema endless_schema"][..]),
        (json!({"$ref": "#"}), &["/schema endless_reference"]),
        (
            json!({"$ref": "#/a", "a": {"not": {"$ref": "#/b"}}, "b": {"if": {"$ref": "#/a"}}}),
            &["/schema/b endless_schema"],
        ),
        (json!({"dependentSchemas": {"a": {"$ref": "#"}}}), &["/schema endless_schema"]),
        (
            json!({"items": {"$ref": "https://shop.test/item.json"}}),
            &["/schema/items/$ref remote_reference"],
        ),
        (
            json!({"items": {"$ref": "file:///etc/passwd"}}),
            &["/schema/items/$ref remote_reference"],
        ),
        (json!({"items": {"$ref": "item.json#/a"}}), &["/schema/items/$ref remote_reference"]),
        (
            json!({"items": {"$ref": "#/$defs/none"}, "not": {"$ref": "#none"}}),
            &["/schema/items/$ref unknown_reference", "/schema/not/$ref unknown_reference"],
        ),
        (json!({"$dynamicRef": "#x"}), &["/schema/$dynamicRef unsupported_keyword"]),
        (
            json!({"items": {"$id": "https://shop.test/item"}}),
            &["/schema/items/$id unsupported_keyword"],
        ),
        (
            json!({"pattern": "(?=a)", "items": {"pattern": "a{1000}{1000}"}}),
            &["/schema/pattern invalid_pattern", "/schema/items/pattern invalid_pattern"],
        ),
        (json!({"pattern": "a".repeat(2_000)}), &["/schema/pattern invalid_pattern"]),
        (
            json!({"type": "text", "minLength": -1, "required": "a", "enum": [], "allOf": {}, "multipleOf": 0}),
            &[
                "/schema/type invalid_schema",
                "/schema/enum invalid_schema",
                "/schema/multipleOf invalid_schema",
                "/schema/minLength invalid_schema",
                "/schema/required invalid_schema",
                "/schema/allOf invalid_schema",
            ],
        ),
        (
            json!({"properties": {"a": 7}, "items": [{}]}),
            &["/schema/items invalid_schema", "/schema/properties/a invalid_schema"],
        ),
    ] {
        assert_eq!(codes(&schema, Draft2020, None), found, "{schema}");
    }
    let newer = json!({"const": 1, "patternProperties": {}});
    assert_eq!(codes(&newer, OpenApi30, None).len(), 2);
}

/// Two ways from a schema to itself at every level: each level doubles the work.
fn twofold() -> Value {
    json!({"anyOf": [
        {"type": "object", "properties": {"c": {"$ref": "#"}}, "required": ["x"]},
        {"type": "object", "properties": {"c": {"$ref": "#"}}, "required": ["y"]},
        {"type": "null"},
    ]})
}

#[test]
fn values_that_would_take_too_long_are_given_up_within_the_budget() {
    let nested = |depth: usize| {
        (0..depth).fold(json!({"x": 1, "c": 1}), |inner, _| json!({"c": inner, "x": 1, "y": 1}))
    };
    // `required` stands first, so what fits only one of the two costs little; what fits both doubles.
    for (schema, value) in [
        (twofold(), nested(60)),
        (
            json!({"oneOf": [{"properties": {"c": {"$ref": "#"}}}, {"properties": {"c": {"$ref": "#"}}, "not": {}}]}),
            nested(60),
        ),
        (
            json!({"properties": {"c": {"$ref": "#"}}, "unevaluatedProperties": {"$ref": "#"},
            "anyOf": [{"properties": {"c": {"$ref": "#"}}}, {"additionalProperties": {"$ref": "#"}}]}),
            nested(60),
        ),
    ] {
        let (schemas, root) = built(&schema, Dialect::Draft2020, None).unwrap();
        let mut checker = Checker::with_steps(&schemas, 100_000);
        checker.check(root, &Json::of(&value), At::Part("/body"));
        assert!(checker.steps(100_000) <= 100_000);
        assert_eq!(checker.outcome(), Outcome::TooComplex, "{schema}");
    }
}

#[test]
fn what_recurses_once_a_level_costs_once_a_level() {
    let schema = json!({"oneOf": [{"type": "integer"}, {"type": "object", "properties": {"c": {"$ref": "#"}}}]});
    let built = built(&schema, Dialect::Draft2020, None).unwrap();
    let value = |depth: usize| Json::of(&(0..depth).fold(json!(1), |inner, _| json!({"c": inner})));
    let steps = |depth| {
        let mut checker = Checker::with_steps(&built.0, 10_000);
        checker.check(built.1, &value(depth), At::Part("/body"));
        let steps = checker.steps(10_000);
        assert_eq!(checker.outcome(), Outcome::Valid);
        steps
    };
    assert_eq!(steps(60) - steps(50), steps(20) - steps(10));
    assert!(steps(60) <= 60 * 8, "{}", steps(60));
}

#[test]
fn schemas_in_each_other_for_one_value_do_not_exhaust_the_stack() {
    let deep = (0..60).fold(json!({"items": {"$ref": "#"}}), |inner, _| json!({"allOf": [inner]}));
    let built = built(&deep, Dialect::Draft2020, None).unwrap();
    let value = (0..60).fold(json!([]), |inner, _| json!([inner]));
    assert_eq!(outcome(&built, &value), Outcome::TooComplex);
}

#[test]
fn many_unique_items_are_found_to_be_so_in_order() {
    let schema = json!({"uniqueItems": true});
    let (schemas, root) = built(&schema, Dialect::Draft2020, None).unwrap();
    let steps = |count: usize, more: Option<usize>| {
        let items: Vec<Value> = (0..count).chain(more).map(|i| json!({"a": i})).collect();
        let mut checker = Checker::new(&schemas);
        checker.check(root, &Json::of(&json!(items)), At::Part("/body"));
        (checker.steps(check::MAX_STEPS), checker.outcome())
    };
    let (few, _) = steps(1_000, None);
    let (many, outcome) = steps(30_000, None);
    assert_eq!(outcome, Outcome::Valid);
    // 30 times as many take hardly more than 30 times as long, and not 900 times.
    assert!(many < few * 60, "{few} {many}");
    assert!(matches!(steps(30_000, Some(7)).1, Outcome::Faults(_)));
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!(true)),
        Just(json!(false)),
        proptest::sample::select(vec![
            json!("null"),
            json!("integer"),
            json!("number"),
            json!("string"),
            json!("array"),
            json!("object"),
            json!(["string", "null"]),
            json!(["array", "object", "integer"]),
        ])
        .prop_map(|types| json!({"type": types})),
        (-2i64..3).prop_map(|n| json!({"minimum": n})),
        (-2i64..3).prop_map(|n| json!({"exclusiveMaximum": n})),
        (1u32..4).prop_map(|n| json!({"multipleOf": f64::from(n) / 2.0})),
        (0u32..3).prop_map(|n| json!({"minLength": n})),
        (0u32..3).prop_map(|n| json!({"maxItems": n})),
        (0u32..3).prop_map(|n| json!({"maxProperties": n, "minProperties": 1})),
        Just(json!({"uniqueItems": true})),
        Just(json!({"pattern": "^[ab]\\w*$"})),
        Just(json!({"required": ["a"]})),
        Just(json!({"dependentRequired": {"a": ["b"]}})),
        instance().prop_map(|value| json!({"const": value})),
        proptest::collection::vec(instance(), 1..4).prop_map(|values| json!({"enum": values})),
        Just(json!({"$ref": "#/$defs/a"})),
        Just(json!({"$ref": "#/$defs/b"})),
    ]
}

fn merged(one: &Value, other: &Value) -> Value {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let mut all = one.clone();
            all.extend(other.clone());
            Value::Object(all)
        }
        (one, _) => one.clone(),
    }
}

fn schema() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 24, 3, |inner| {
        let list = |key: &'static str| {
            proptest::collection::vec(inner.clone(), 1..4).prop_map(move |list| json!({key: list}))
        };
        let one = |key: &'static str| inner.clone().prop_map(move |schema| json!({key: schema}));
        let keyed = |key: &'static str, name: &'static str| {
            inner.clone().prop_map(move |schema| json!({key: {name: schema}}))
        };
        let kinds = prop_oneof![
            list("allOf"),
            list("anyOf"),
            list("oneOf"),
            list("prefixItems"),
            one("not"),
            one("items"),
            one("contains"),
            one("additionalProperties"),
            one("propertyNames"),
            one("unevaluatedProperties"),
            one("unevaluatedItems"),
            keyed("properties", "a"),
            keyed("properties", "b"),
            keyed("patternProperties", "^[bc]"),
            keyed("dependentSchemas", "a"),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| json!({"if": a, "then": b, "else": c})),
        ];
        (proptest::collection::vec(kinds, 1..4), leaf()).prop_map(|(kinds, leaf)| {
            kinds.iter().fold(
                leaf,
                |all, kind| if all.is_object() { merged(&all, kind) } else { kind.clone() },
            )
        })
    })
}

fn instance() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-3i64..4).prop_map(Value::from),
        (-3i32..4).prop_map(|n| json!(f64::from(n) / 2.0)),
        proptest::sample::select(vec!["", "a", "ab", "ba", "ü"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((proptest::sample::select(vec!["a", "b", "c"]), inner), 0..4)
                .prop_map(|members| Value::Object(
                    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
                )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    /// Another implementation of JSON Schema says the same of any schema and any value.
    #[test]
    fn it_agrees_with_another_implementation(root in schema(), a in schema(), b in schema(), values in proptest::collection::vec(instance(), 1..6)) {
        let root = match root {
            Value::Object(mut members) => {
                members.insert("$defs".to_owned(), json!({"a": a, "b": b}));
                Value::Object(members)
            }
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => other,
        };
        for (dialect, draft) in [
            (Dialect::Draft2020, jsonschema::Draft::Draft202012),
            (Dialect::Draft2019, jsonschema::Draft::Draft201909),
            (Dialect::Draft7, jsonschema::Draft::Draft7),
        ] {
            // In 2019-09, §9.3.1.3 and §9.3.1.4, what `contains` finds does not count as evaluated; there it does.
            let text = root.to_string();
            if draft == jsonschema::Draft::Draft201909 && text.contains("unevaluatedItems") && text.contains("contains") {
                continue;
            }
            // What leads back to itself for one value is refused here.
            let Ok(built) = built(&root, dialect, None) else { continue };
            let validator = jsonschema::options().with_draft(draft).build(&root);
            let Ok(validator) = validator else { continue };
            for value in &values {
                let ours = outcome(&built, value);
                if ours == Outcome::TooComplex {
                    continue;
                }
                let (ours, theirs) = (ours == Outcome::Valid, validator.is_valid(value));
                prop_assert_eq!(ours, theirs, "{:?} {} {}", dialect, &root, value);
            }
        }
    }
}
