//! What is sent to do harm.

use super::super::fault::{Kind, Place};
use super::super::{Format, form, json, xml};
use super::changed;

fn malformed(format: Format, body: &[u8]) -> (String, Place) {
    let read = match format {
        Format::Json => json::read(body),
        Format::Form => form::read(body),
        Format::Xml => xml::read(body, &[]),
    };
    let fault = read.expect_err(&String::from_utf8_lossy(body.get(..80).unwrap_or(body)));
    assert_eq!(fault.kind, Kind::Malformed);
    (fault.why.into_owned(), fault.place)
}

#[test]
fn json_that_is_none_or_beyond_its_bounds_is_told_with_line_and_column() {
    let deep = "[".repeat(100_000);
    let deep_objects = "{\"a\":".repeat(100_000);
    let many = format!("[{}0]", "0,".repeat(50_000));
    for (body, why, line, column) in [
        ("{\"a\": 1,\n \"a\": 2}", "has a name twice in one object", 2, 4),
        ("{\"\\u0061\": 1, \"a\": 2}", "has a name twice in one object", 1, 17),
        ("[1e999]", "is not JSON", 1, 6),
        ("[1,]", "is not JSON", 1, 4),
        ("", "is not JSON", 1, 0),
        ("1 2", "is not JSON", 1, 3),
        ("\"\\ud800\"", "is not JSON", 1, 8),
        ("NaN", "is not JSON", 1, 1),
        (&deep, "is nested too deeply", 1, 65),
        (&deep_objects, "is nested too deeply", 1, 321),
        (&many, "has too many values", 1, 100_000),
    ] {
        let (told, place) = malformed(Format::Json, body.as_bytes());
        assert_eq!(told, why, "{}", &body[..body.len().min(60)]);
        let Place::Line { line: at_line, column: at_column } = place else { panic!("{place:?}") };
        assert_eq!(at_line, line, "{why}");
        assert!(at_column.abs_diff(column) <= 2, "{why}: {at_column} and not {column}");
    }
    assert_eq!(malformed(Format::Json, b"\"\xff\"").0, "is not JSON");
}

/// The deepest bodies, and such as go on far beyond that, on an eighth of the stack that threads have.
#[test]
fn the_deepest_bodies_need_little_stack() {
    let work = || {
        let program = "'walk(.) | [..] | (.. | scalars) |= . | .[0]'";
        for (open, inner, close) in [("[", "1", "]"), ("{\"a\":", "1", "}")] {
            for (times, is_taken) in [(62, true), (64, true), (65, false), (100_000, false)] {
                let body = format!("{}{inner}{}", open.repeat(times), close.repeat(times));
                for side in [
                    "{to: json, content_type: a/b}",
                    &format!("{{jq: {program}}}"),
                    "{to: xml, root: r}",
                ] {
                    let made = changed(side, Format::Json, body.as_bytes());
                    assert!(is_taken || made.is_err());
                    assert!(times > 63 || made.is_ok() || side.contains("xml"), "{side} {made:?}");
                }
            }
        }
        for (times, is_taken) in [(64, true), (65, false), (100_000, false)] {
            let body = format!("{}1{}", "<a>".repeat(times), "</a>".repeat(times));
            assert_eq!(changed("{to: json}", Format::Xml, body.as_bytes()).is_ok(), is_taken);
        }
        // Each element is in a list, so there are twice as many levels.
        let body = format!("{}1{}", "<a>".repeat(33), "</a>".repeat(33));
        assert!(changed("{lists: [a], to: json}", Format::Xml, body.as_bytes()).is_err());
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap();
}

#[test]
fn numbers_keep_their_value_as_far_as_they_can() {
    let body = b"[18446744073709551615,-9223372036854775808,1.5,1e3,0.1]";
    assert_eq!(
        changed("{jq: '.'}", Format::Json, body).unwrap(),
        "[18446744073709551615,-9223372036854775808,1.5,1000.0,0.1]"
    );
}

#[test]
fn xml_that_is_none_or_beyond_its_bounds_is_told_with_line_and_column() {
    let laughs = "<!DOCTYPE l [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]><l>&b;</l>";
    let deep = "<a>".repeat(100_000);
    let many = format!("<a>{}</a>", "<b/>".repeat(50_000));
    let attributes: String = (0..60_000).map(|i| format!(" a{i}='1'")).collect();
    let attributes = format!("<a{attributes}/>");
    for (body, why) in [
        (laughs, "is XML with a document type"),
        ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "is XML with a document type"),
        ("<a>&b;</a>", "has an entity that is not XML's own"),
        ("<a b='&c;'/>", "has an entity that is not XML's own"),
        ("<a b='1' b='2'/>", "has an attribute twice in one element"),
        ("<?xml version='1.0' encoding='utf-16'?><a/>", "is XML in another encoding than UTF-8"),
        (&deep, "is nested too deeply"),
        (&many, "has too many values"),
        (&attributes, "has too many values"),
    ] {
        assert_eq!(malformed(Format::Xml, body.as_bytes()).0, why);
    }
    for body in [
        "",
        " ",
        "a",
        "<a>",
        "</a>",
        "<a></b>",
        "<a/><b/>",
        "<a/>x",
        "x<a/>",
        "<a",
        "<a b/>",
        "<a b=c/>",
        "<a b='<'/>",
        "<a>&#0;</a>",
        "<a>&#xD800;</a>",
        "<a>&#+65;</a>",
        "<a>&#x;</a>",
        "<a>& b</a>",
        "<a>]]></a>",
        "<a>\u{1}</a>",
        "<1/>",
        "<a:/>",
        "<a/><?xml version='1.0'?>",
        "<a><!-- -- --></a>",
        "<a/><![CDATA[x]]>",
        "<a/>&lt;",
        "<a b='1\u{0}'/>",
    ] {
        assert_eq!(malformed(Format::Xml, body.as_bytes()).0, "is not XML", "{body}");
    }
    assert_eq!(malformed(Format::Xml, b"<a>\xff</a>").0, "is not UTF-8");
    let (_, place) = malformed(Format::Xml, b"<a>\n  <b>&c;</b></a>");
    assert_eq!(place, Place::Line { line: 2, column: 6 });
}

#[test]
fn forms_that_are_none_or_beyond_their_bounds_are_told_with_their_field() {
    assert_eq!(
        malformed(Format::Form, b"a=1&&b=%ff&c=2"),
        ("is not UTF-8".to_owned(), Place::Field(3))
    );
    assert_eq!(malformed(Format::Form, b"a=\xff").0, "is not UTF-8");
    assert_eq!(malformed(Format::Form, "a&".repeat(50_001).as_bytes()).0, "has too many values");
}

#[test]
fn nothing_of_a_body_is_told() {
    let body = br#"{"secret-name": {"password-name": ["s3cr3t", ["s3cr3t"]]}}"#;
    let fault = changed("{to: xml}", Format::Json, body).unwrap_err();
    let told = fault.clone().of_request().detail.into_owned();
    assert_eq!(
        told,
        "the request's body cannot be written as XML: a list is within a list, at /secret-name/password-name/1"
    );
    let told = fault.of_response().detail;
    assert_eq!(
        told,
        "the body of the upstream's answer cannot be written as XML: a list is within a list"
    );
}
