use http::HeaderValue;
use serde_json::{Value, json};
use tollgate_model::Issues;

use super::super::bounds::Output;
use super::super::fault::{Fault, Kind};
use super::Template;
use super::check::{FILTERS, TESTS};

fn rendered(text: &str, content_type: &str, body: &Value) -> Result<String, Fault> {
    let (mut issues, mut output) = (Issues::default(), Output::new(1 << 20));
    let content_type = HeaderValue::from_str(content_type).unwrap();
    let template = Template::compile(text, Some(&content_type), "", &mut issues);
    let template = template.unwrap_or_else(|| panic!("{text}: {issues}"));
    template.render(body.clone(), None, &mut output)?;
    Ok(String::from_utf8(output.into_bytes()).unwrap())
}

#[test]
fn values_are_written_for_what_is_around_them() {
    let body = json!({"t": "<\"a\">&", "n": 1.5, "b": true, "z": null, "l": [1, "<"], "k": {"y": 1, "x": 2}});
    for (content_type, text, expected) in [
        (
            "application/json",
            "{\"a\": {{ body.t }}, \"b\": {{ body }}}",
            r#"{"a": "<\"a\">&", "b": {"t":"<\"a\">&","n":1.5,"b":true,"z":null,"l":[1,"<"],"k":{"y":1,"x":2}}}"#,
        ),
        (
            "text/html",
            "{{ body.t }} {{ body.n }} {{ body.b }} {{ body.z }} {{ body.l }}",
            "&lt;&quot;a&quot;&gt;&amp; 1.5 true  [1,&quot;&lt;&quot;]",
        ),
        ("image/svg+xml", "<a b='{{ body.t }}'/>", "<a b='&lt;&quot;a&quot;&gt;&amp;'/>"),
        (
            "text/plain",
            "{{ body.t }} {{ body.l }} {{ body.t|tojson }}",
            "<\"a\">& [1,\"<\"] \"\\u003c\\\"a\\\"\\u003e\\u0026\"",
        ),
    ] {
        assert_eq!(rendered(text, content_type, &body).unwrap(), expected, "{text}");
    }
}

#[test]
fn loops_choices_and_filters_are_there() {
    let body = json!({"items": [{"n": 1}, {"n": 2}], "m": {"a": 1, "b": 2}, "s": " Ab c "});
    for (text, expected) in [
        (
            "{% for i in body.items %}{{ loop.index }}{{ i.n * 2 }}{% if not loop.last %}, {% endif %}{% endfor %}",
            "12, 24",
        ),
        ("{% for k, v in body.m|items %}{{ k }}={{ v }};{% endfor %}", "a=1;b=2;"),
        ("{% set n = body.items|length %}{% with m = n + 1 %}{{ n }}{{ m }}{% endwith %}", "23"),
        (
            "{{ body.s|trim|upper|replace('B', 'x') }}{{ body.x|default('-') }}{{ body['s']|split|first }}",
            "Ax C-Ab",
        ),
        (
            "{% if body.x %}a{% elif body.m.a == 1 and body.m.b in [2, 3] %}b{% endif %}{{ 'c' if body.s is string }}",
            "bc",
        ),
        (
            "{{ ['a', 'b']|join('-') }}{{ body.items|last|tojson }}{{ 'a' ~ body.m.a }}",
            "a-b{\"n\": 2}a1",
        ),
    ] {
        assert_eq!(rendered(text, "text/plain", &body).unwrap(), expected, "{text}");
    }
}

#[test]
fn every_filter_and_test_that_may_be_named_is_there() {
    let environment = super::environment(crate::escape::Escape::Nothing);
    let known = |text: &str| match environment.render_str(text, ()) {
        Ok(_) => true,
        Err(error) => !matches!(
            error.kind(),
            minijinja::ErrorKind::UnknownFilter | minijinja::ErrorKind::UnknownTest
        ),
    };
    assert!(FILTERS.iter().all(|name| known(&format!("{{{{ 1|{name} }}}}"))));
    assert!(TESTS.iter().all(|name| known(&format!("{{{{ 1 is {name} }}}}"))));
    let manual = include_str!("../MANUAL.md");
    let words: Vec<&str> = manual.split(|character: char| !character.is_alphanumeric()).collect();
    assert!(FILTERS.iter().chain(&TESTS).all(|name| words.contains(name)));
    assert!(!known("{{ 1|sort }}") && !known("{{ 1 is sameas(1) }}"));
}

#[test]
fn what_is_missing_is_a_fault_without_its_name() {
    for text in [
        "{{ body.secret }}",
        "{{ body.a.b.c }}",
        "{% for x in body.secret %}{% endfor %}",
        "{{ other }}",
    ] {
        let fault = rendered(text, "text/plain", &json!({"a": 1})).unwrap_err();
        assert_eq!(
            (fault.kind, &*fault.why),
            (Kind::Untransformable, "lacks a value that its transformation asks for")
        );
    }
    let fault = rendered("{{ body|items }}", "text/plain", &json!([1])).unwrap_err();
    assert_eq!(&*fault.why, "is not what its transformation is for");
}

#[test]
fn what_goes_on_for_too_long_or_makes_too_much_is_ended() {
    let list: Vec<u32> = (0..2_000).collect();
    let text = "a".repeat(100_000);
    let body = json!({"l": list, "t": text});
    for (text, why) in [
        (
            "{% for a in body.l %}{% for b in body.l %}{% endfor %}{% endfor %}",
            "takes too many steps to transform",
        ),
        ("{% for a in body.l %}{{ body.t }}{% endfor %}", "becomes larger than is passed on here"),
        (
            "{% for a in body.l %}{% set x = body.t|upper %}{% endfor %}",
            "takes too many steps to transform",
        ),
        (
            "{% set x = body.t ~ body.t %}{% set x = x ~ x ~ x ~ x %}{% set x = x ~ x ~ x ~ x %}{% set x = x ~ x ~ x ~ x %}{% set x = x ~ x ~ x ~ x %}",
            "takes too many steps to transform",
        ),
        ("{% set x = body.t * 1000000000 %}", "takes too many steps to transform"),
        ("{% set x = body.l * 1000000000 %}", "is not what its transformation is for"),
        ("{% set x = body.t|replace('a', body.t) %}", "takes too many steps to transform"),
        ("{% set x = body.l|join(body.t) %}", "takes too many steps to transform"),
    ] {
        let begun = std::time::Instant::now();
        let fault = rendered(text, "text/plain", &body).unwrap_err();
        assert_eq!(fault.why, why, "{text}");
        assert!(begun.elapsed().as_secs() < 5, "{text}");
    }
}

#[test]
fn a_long_chain_is_refused_before_it_is_parsed() {
    for text in [
        format!("{{{{ {}1 }}}}", "1+".repeat(20_000)),
        format!("{{{{ a{} }}}}", ".b".repeat(20_000)),
        format!("{{{{ a{} }}}}", "|upper".repeat(10_000)),
        format!("{{{{ {}a{} }}}}", "(".repeat(20_000), ")".repeat(20_000)),
        format!("{{{{ {}a }}}}", "not ".repeat(15_000)),
        format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(5_000)),
        "{% if a %}".repeat(6_000),
        "{% set x %}".repeat(5_000),
        "{% for a in b %}".repeat(25),
        format!("{{{{ {} }}}}", "[".repeat(17)),
    ] {
        let mut issues = Issues::default();
        assert!(Template::compile(&text, None, "", &mut issues).is_none());
        assert_eq!(issues.0[0].code, "too_deep");
    }
}

/// The deepest that is taken of all that grows, on an eighth of the stack that threads have.
#[test]
fn the_deepest_templates_need_little_stack() {
    let work = || {
        let deep = (0..64).fold(json!(1), |inner, _| json!({"a": inner}));
        for (open, inner, close) in [
            ("(", "body.a", ")"),
            ("[", "1", "]"),
            ("{'a':", "1", "}"),
            ("1+", "1", ""),
            ("1 if body else ", "1", ""),
            ("not ", "body", ""),
            ("-", "1", ""),
            ("", "body", ".a"),
            ("", "body", "['a']"),
            ("", "'a'", "|upper"),
            ("body[", "'a'", "]"),
            ("1~(", "1", ")"),
            ("1 and ", "1", ""),
            ("1==1 or ", "1", ""),
            ("body.a|default(", "1", ")"),
        ] {
            let grown =
                |times| format!("{{{{ {}{inner}{} }}}}", open.repeat(times), close.repeat(times));
            deepest(grown, &deep);
        }
        for (open, close) in [
            ("{% if body %}", "{% endif %}"),
            ("{% for x in body %}", "{% endfor %}"),
            ("{% with x = 1 %}", "{% endwith %}"),
            ("{% if not body %}a{% elif body %}", "{% endif %}"),
        ] {
            deepest(
                |times| format!("{}{{{{ body }}}}{}", open.repeat(times), close.repeat(times)),
                &deep,
            );
        }
        let choices = format!("{{% if not body %}}{}{{% endif %}}", "{% elif body %}".repeat(23));
        rendered(&choices, "text/plain", &deep).unwrap();
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap();
}

fn deepest(grown: impl Fn(usize) -> String, body: &Value) {
    let is_taken = |times: &usize| super::check::check(&grown(*times)).is_ok();
    let most = (1..200).take_while(is_taken).last().unwrap_or_else(|| panic!("{}", grown(1)));
    // Lists and mappings hold constants alone, and not each other.
    assert!(most > 7 || grown(1).contains(['[', '{', ':']), "{}", grown(most));
    let _ = rendered(&grown(most), "text/plain", body);
    let _refused = super::check::check(&grown(4_000));
}
