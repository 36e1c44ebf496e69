//! Whatever is written and whatever is sent: no panic, no deep stack, no more steps than there are.

use std::thread;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::expression::STEPS;

fn code_of(expression: &str) -> String {
    Condition::compile(expression, SCOPE).unwrap_err().0[0].code.clone()
}

/// Expressions that grow with a number in every way that could cost stack or time.
fn growing(depth: usize) -> Vec<String> {
    let times = |text: &str| text.repeat(depth);
    vec![
        format!("{}true{}", times("("), times(")")),
        format!("{}1{} == []", times("["), times("]")),
        format!("{}true", times("!")),
        format!("{}1 == 1", times("-")),
        format!("{}1{} == 1", times("-("), times(")")),
        format!("claims{} == 1", times(".a")),
        format!("claims{} == 1", times("[0]")),
        format!("claims{}0{} == 1", times("[claims["), times("]]")),
        format!("{}true", times("true ? false : ")),
        format!("{}true{}", times("true ? ("), times(") : false")),
        format!("1{} == 1", times(" + 1")),
        format!("1 == 1{}", times(" == true")),
        format!("'a'{} == ''", times(" + 'a'")),
        format!("claims.a{} == ''", times(".lowerAscii()")),
        format!("{}1{} == 1", times("size("), times(")")),
        format!("{}true{}", times("claims.a.all(x, "), times(")")),
        format!("claims.a{} == []", times(".filter(x, true)")),
        format!("claims.a{} == []", times(".map(x, [x, x])")),
        format!("{}true", times("(true && (true || ")) + &times("))"),
    ]
}

#[test]
fn what_is_deep_is_refused_as_too_complex_and_nothing_else() {
    for depth in [40, 90, 300] {
        for expression in growing(depth) {
            let code = code_of(&expression);
            assert_eq!(code, "expression_too_complex", "{expression}");
        }
    }
    // What is only open is refused before it is found out that nothing closes it.
    for open in ["(", "[", "!", "-", "a[", "a(", "a.b(", "true ? (", "[[(-!"] {
        assert_eq!(code_of(&open.repeat(200)), "expression_too_complex", "{open}");
    }
}

#[test]
fn what_is_long_is_refused_and_what_is_wide_is_not() {
    let wide = vec!["true"; 500].join("||");
    assert_eq!(truth(&wide, &World::default(), &request(&[])), Some(true));
    let wide = vec!["false"; 500].join(" || ");
    assert_eq!(wide.len(), 4_496);
    assert_eq!(code_of(&wide), "expression_too_complex");
    let items = vec!["1"; 1_500].join(",");
    assert_eq!(truth(&format!("2 in [{items}]"), &World::default(), &request(&[])), Some(false));
}

/// The deepest that is taken of everything that grows, on a stack of half the size that threads have.
#[test]
fn the_deepest_expressions_need_little_stack() {
    let deepest: Vec<String> = (1..40)
        .flat_map(growing)
        .filter(|expression| Condition::compile(expression, SCOPE).is_ok())
        .collect();
    assert!(deepest.len() > 350, "{}", deepest.len());
    let work = move || {
        let world = world(json!({"a": ["x"], "b": {"a": {"a": {"a": 1}}}}));
        for expression in &deepest {
            truth(expression, &world, &request(&[]));
        }
        for open in
            ["(", "[", "!", "-", "a[", "true ? ", "a.all(x, ", "size(", "1+(1*(1==(1&&(1||("]
        {
            let _refused = Condition::compile(&open.repeat(200), SCOPE);
        }
    };
    thread::Builder::new().stack_size(1 << 20).spawn(work).unwrap().join().unwrap();
}

/// The steps that an expression takes, or none where they do not suffice.
fn steps(expression: &str, world: &World, request: &Request<Body>) -> u32 {
    let (condition, cx) = (compiled(expression), world.cx());
    let mut evaluation = begin(&cx, request);
    let _ = condition.holds(&mut evaluation);
    STEPS - evaluation.steps_left()
}

#[test]
fn long_claims_use_the_steps_up_and_then_nothing_has_a_value() {
    let many: Vec<String> = (0..20_000).map(|i| format!("role-{i}")).collect();
    let long = "x".repeat(100_000);
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let world = world(json!({"many": many, "long": long, "deep": deep}));
    let request = request(&[]);
    for expression in [
        "claims.many.exists(a, claims.many.exists(b, a + b == ''))",
        "!claims.many.all(a, claims.many.all(b, true))",
        "claims.many.map(a, claims.many.map(b, a + b)).size() > 0",
        "claims.many.exists(a, a in claims.many.filter(b, b == '')) || true",
        "claims.many.exists(a, claims.none.x) || claims.many.exists(a, claims.none.x) || claims.many.all(a, true)",
        "claims.many.exists(a, claims.long.contains(a + a))",
        "claims.many.map(a, claims.many) == claims.many.map(a, claims.many)",
    ] {
        assert_eq!(truth(expression, &world, &request), None, "{expression}");
        assert_eq!(steps(expression, &world, &request), STEPS, "{expression}");
    }
    // What is used up stays used up for the expressions that follow.
    let (first, second) =
        (compiled("claims.many.all(a, claims.many.all(b, true))"), compiled("true"));
    let cx = world.cx();
    let mut evaluation = begin(&cx, &request);
    assert_eq!((first.holds(&mut evaluation), second.holds(&mut evaluation)), (None, None));
    for (expression, expected) in [
        ("claims.long + claims.long == ''", None),
        ("claims.long.matches('x')", None),
        ("claims.deep == claims.deep", Some(true)),
        ("'role-19999' in claims.many", Some(true)),
        ("claims.long.size() == 100000", Some(true)),
    ] {
        assert_eq!(truth(expression, &world, &request), expected, "{expression}");
    }
}

#[test]
fn a_long_query_and_many_headers_are_paid_for() {
    let query: Vec<String> = (0..3_000).map(|i| format!("p{i}=1")).collect();
    let mut builder = Request::get(format!("http://a.test/?{}", query.join("&")));
    for i in 0..100 {
        builder = builder.header(format!("x-{i}"), "v".repeat(500));
    }
    let request = builder.body(Body::Empty).unwrap();
    let world = World::default();
    assert_eq!(truth("size(request.query) == 3000", &world, &request), Some(true));
    assert!(steps("'p2999' in request.query", &world, &request) > 1_000);
    for expression in [
        "request.query.all(n, n in request.query)",
        "request.headers.all(n, request.query.all(q, q != n))",
        "request.headers.all(n, request.headers.all(m, request.headers[n] + request.headers[m] != ''))",
    ] {
        assert_eq!(truth(expression, &world, &request), None, "{expression}");
    }
    assert_eq!(
        truth("request.headers.all(n, size(request.headers[n]) == 500)", &world, &request),
        Some(true)
    );
}

#[test]
fn a_pattern_costs_the_more_a_byte_the_larger_it_is() {
    let (world, request) = (world(json!({"t": "b".repeat(4_096)})), request(&[]));
    let of = |pattern: &str| steps(&format!("claims.t.matches('{pattern}')"), &world, &request);
    let (small, large) = ("a+", "([ab]*a(a|b|aa|ab|ba){50}){3}[^ab]");
    assert!((2 * 4_096..3 * 4_096).contains(&of(small)), "{}", of(small));
    assert!((12 * 4_096..13 * 4_096).contains(&of(large)), "{}", of(large));
    assert!(of("([ab]*a(a|b|aa|ab|ba){50}){2}") < of(large));
    // So that one of those is all that a request pays for.
    let twice = format!("claims.t.matches('{large}') || claims.t.matches('{large}') || true");
    assert_eq!(truth(&twice, &world, &request), None);
}

/// Any parts in any order: mostly no expression, and often one of the wrong types.
#[expect(clippy::too_many_lines, reason = "a table of parts")]
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "claims",
        "request",
        "identity",
        "path",
        "certificate",
        "time",
        "client",
        ".",
        ".a",
        ".n",
        ".l",
        ".query",
        ".headers",
        ".groups",
        ".ip",
        ".id",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "&&",
        "||",
        "!",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "?",
        ":",
        ",",
        "in",
        "true",
        "false",
        "null",
        "0",
        "1",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "1.5",
        "1e308",
        "0x7f",
        "'a'",
        "\"é\"",
        "r'\\'",
        "'\\u00e9'",
        "x",
        "y",
        ".all(x,",
        ".exists(x,",
        ".exists_one(y,",
        ".filter(x,",
        ".map(x,",
        ".size()",
        "size(",
        "has(",
        "string(",
        "int(",
        "double(",
        "timestamp(",
        "duration('1h')",
        "cidr('10.0.0.0/8').containsIP(",
        ".contains(",
        ".startsWith(",
        ".matches('a+')",
        ".getHours()",
        ".getDayOfYear('Asia/Tokyo')",
        ".lowerAscii()",
        " ",
        "\n",
        "// x\n",
        "\\",
        "'",
        "\"",
        "é",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// What the generated expressions are of.
#[derive(Clone, Copy, PartialEq)]
enum Sort {
    Truth,
    Number,
    Text,
    List,
    /// A claim, whatever its type.
    Any,
}

/// Expressions that are well formed and seldom of wrong types that can be seen, over claims of every type.
pub(super) fn expressions() -> impl Strategy<Value = String> {
    of_sort(Sort::Truth, 3, 0)
}

fn leaf(sort: Sort, loops: usize) -> BoxedStrategy<String> {
    let mut leaves = match sort {
        Sort::Truth => {
            vec![
                "true",
                "false",
                "claims.b",
                "has(claims.a)",
                "has(claims.m.a)",
                "has(claims.none.a)",
            ]
        }
        Sort::Number => {
            vec![
                "0",
                "1",
                "-3",
                "claims.n",
                "claims.zero",
                "claims.max",
                "claims.min",
                "9223372036854775807",
            ]
        }
        Sort::Text => vec!["'a'", "'text'", "''", "claims.t", "claims.m.b"],
        Sort::List => {
            vec!["[]", "[1, 'a', 2.5]", "[1, 2]", "claims.l", "claims.long", "['a', 'b']"]
        }
        Sort::Any => vec![
            "claims.n",
            "claims.d",
            "claims.t",
            "claims.l",
            "claims.m",
            "claims.b",
            "claims.z",
            "claims.none",
            "claims.l[0]",
            "claims.l[5]",
            "claims['m']",
            "claims.m.c",
            "null",
            "2.5",
        ],
    };
    leaves.extend(["x", "y"].iter().take(loops));
    prop::sample::select(leaves).prop_map(str::to_owned).boxed()
}

#[expect(clippy::too_many_lines, reason = "one arm a sort of expression")]
fn of_sort(sort: Sort, depth: u32, loops: usize) -> BoxedStrategy<String> {
    if depth == 0 {
        return leaf(sort, loops);
    }
    let of = |sort| of_sort(sort, depth - 1, loops);
    let two = |one: Sort, operators: &'static [&str], other: Sort| {
        let operator = prop::sample::select(operators);
        (of(one), operator, of(other))
            .prop_map(|(one, operator, other)| format!("({one} {operator} {other})"))
    };
    let mut ways = vec![leaf(sort, loops), of(Sort::Any)];
    let choice = (of(Sort::Truth), of(sort), of(sort));
    ways.push(choice.prop_map(|(is, one, other)| format!("({is} ? {one} : {other})")).boxed());
    // Loops in one another are bounded, and the reference's parser is slow with many.
    let each = |name: &'static str, body: Sort| {
        let item = if loops == 0 { "x" } else { "y" };
        let range = prop_oneof![of(Sort::List), Just("claims.m".to_owned())];
        let body = of_sort(body, depth - 1, loops + 1);
        (range, body)
            .prop_map(move |(range, body)| format!("({range}).{name}({item}, {body})"))
            .boxed()
    };
    match sort {
        Sort::Truth => {
            let ordered = &["<", "<=", ">", ">=", "==", "!="];
            ways.push(two(Sort::Truth, &["&&", "||"], Sort::Truth).boxed());
            ways.push(two(Sort::Truth, &["&&", "||", "==", "<"], Sort::Truth).boxed());
            ways.push(two(Sort::Number, ordered, Sort::Number).boxed());
            ways.push(two(Sort::Number, ordered, Sort::Any).boxed());
            ways.push(two(Sort::Text, ordered, Sort::Text).boxed());
            ways.push(two(Sort::List, &["==", "!="], Sort::List).boxed());
            ways.push(two(Sort::Any, &["==", "!=", "<", "in"], Sort::Any).boxed());
            ways.push(two(Sort::Any, &["in"], Sort::List).boxed());
            ways.push(of(Sort::Truth).prop_map(|of| format!("!{of}")).boxed());
            let name = prop::sample::select(vec!["contains", "startsWith", "endsWith"]);
            let search = (of(Sort::Text), name, of(Sort::Text));
            ways.push(
                search.prop_map(|(text, name, part)| format!("({text}).{name}({part})")).boxed(),
            );
            ways.push(
                of(Sort::Text).prop_map(|text| format!("({text}).matches('^t?e|a')")).boxed(),
            );
            if loops < 2 {
                ways.extend(["all", "exists", "exists_one"].map(|name| each(name, Sort::Truth)));
            }
        }
        Sort::Number => {
            ways.push(two(Sort::Number, &["+", "-", "*", "/", "%"], Sort::Number).boxed());
            ways.push(two(Sort::Any, &["+", "-", "*", "/", "%"], Sort::Number).boxed());
            ways.push(of(Sort::Text).prop_map(|of| format!("size({of})")).boxed());
            ways.push(of(Sort::List).prop_map(|of| format!("({of}).size()")).boxed());
            ways.push(of(Sort::Number).prop_map(|of| format!("-({of})")).boxed());
            ways.push(of(Sort::Text).prop_map(|of| format!("int({of})")).boxed());
        }
        Sort::Text => {
            ways.push(two(Sort::Text, &["+"], Sort::Text).boxed());
            ways.push(of(Sort::Text).prop_map(|of| format!("string(size({of}))")).boxed());
        }
        Sort::List => {
            let items = (of(Sort::Any), of(Sort::Number));
            ways.push(items.prop_map(|(one, other)| format!("[{one}, {other}]")).boxed());
            if loops < 2 {
                ways.push(each("filter", Sort::Truth));
                ways.push(each("map", Sort::Any));
            }
        }
        Sort::Any => {
            let index = (of(Sort::List), of(Sort::Number));
            ways.push(index.prop_map(|(of, index)| format!("({of})[{index}]")).boxed());
            ways.push(of(Sort::Any).prop_map(|of| format!("({of}).a")).boxed());
            ways.push(of(Sort::Truth));
        }
    }
    prop::strategy::Union::new(ways).boxed()
}

pub(super) fn all_sorts() -> Value {
    json!({
        "n": 1, "d": 2.5, "t": "text", "l": [1, "a", 2.5, true, null, [1]], "m": {"a": 1, "b": "a"}, "b": true, "z": null,
        "max": i64::MAX, "min": i64::MIN, "zero": 0, "long": (0..200).collect::<Vec<i64>>(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn any_pieces_end_with_issues_or_within_the_steps(source in pieces()) {
        if let Ok(condition) = Condition::compile(&source, SCOPE) {
            let (world, request) = (world(all_sorts()), request(&[("x-a", "1")]));
            let cx = world.cx();
            let mut evaluation = begin(&cx, &request);
            let _ = condition.holds(&mut evaluation);
            prop_assert!(evaluation.steps_left() <= STEPS);
        }
    }

    #[test]
    fn any_text_ends_with_issues(source in "\\PC{0,200}") {
        let _ = Condition::compile(&source, SCOPE);
    }

    #[test]
    fn any_expression_ends_within_the_steps(source in expressions()) {
        if let Ok(condition) = Condition::compile(&source, SCOPE) {
            let (world, request) = (world(all_sorts()), request(&[]));
            let cx = world.cx();
            let mut evaluation = begin(&cx, &request);
            let _ = condition.holds(&mut evaluation);
        }
    }
}
