//! What is read, and what is written of it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::bounds::Output;
use super::super::fault::{Fault, Kind, Place};
use super::super::{Format, form, json as json_body, xml};
use super::changed;

fn written(write: impl FnOnce(&mut Output) -> Result<(), Fault>) -> Result<String, Fault> {
    let mut output = Output::new(1 << 20);
    write(&mut output)?;
    Ok(String::from_utf8(output.into_bytes()).unwrap())
}

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

#[test]
fn each_format_becomes_each_other() {
    use Format::{Form, Json, Xml};
    let xml = |body: &str| format!("{DECLARATION}{body}");
    for (from, body, to, expected) in [
        (
            Form,
            "a=1&b=x+y%21&a=%C3%A4&c&=&&d=",
            "json",
            r#"{"a":["1","ä"],"b":"x y!","c":"","":"","d":""}"#.into(),
        ),
        (
            Json,
            r#"{"a":[1,true,null,"ä b"],"c":-1.5,"d":[]}"#,
            "form",
            "a=1&a=true&a=&a=%C3%A4%20b&c=-1.5".into(),
        ),
        (
            Json,
            r##"{"o":{"@id":7,"#text":"<x>","b":[1,2],"c":null,"d":{"e":true},"f":{}}}"##,
            "xml",
            xml("<o id=\"7\">&lt;x&gt;<b>1</b><b>2</b><c/><d><e>true</e></d><f></f></o>"),
        ),
        (
            Xml,
            "<?xml version='1.0'?>\n<!-- c --><o id='7' x:y='&quot;&#65;'> <b>1</b>\r\n<b/>t&amp;<![CDATA[<u>]]><?p i?></o>\n",
            "json",
            r##"{"o":{"@id":"7","@x:y":"\"A","b":["1",""],"#text":"t&<u>"}}"##.into(),
        ),
        (Form, "order=1", "xml", xml("<order>1</order>")),
        (Xml, "\u{FEFF}<a> &#x41;\u{1F600} </a>", "form", "a=%20A%F0%9F%98%80%20".into()),
        (Json, "[1]", "json", "[1]".into()),
    ] {
        let side = format!("{{to: {to}, content_type: 'a/b'}}");
        assert_eq!(changed(&side, from, body.as_bytes()).unwrap(), expected, "{body}");
    }
    let side = "{from: xml, lists: [b], to: json}";
    let body = b"<a><b>1</b><c><b/></c></a>";
    assert_eq!(changed(side, Xml, body).unwrap(), r#"{"a":{"b":["1"],"c":{"b":[""]}}}"#);
    let side = "{to: xml, root: r}";
    assert_eq!(changed(side, Json, b"{\"a\":1,\"b\":2}").unwrap(), xml("<r><a>1</a><b>2</b></r>"));
}

#[test]
fn what_cannot_be_written_is_told_with_its_place() {
    for (value, pointer) in [
        (json!(1), ""),
        (json!({"a": 1, "b": 2}), ""),
        (json!({"a": [1]}), "/a"),
        (json!({"a": {"b/c": 1}}), "/a/b~1c"),
        (json!({"a": {"b": [[1]]}}), "/a/b/0"),
        (json!({"a": {"@b": [1]}}), "/a/@b"),
        (json!({"a": {"@": 1}}), "/a/@"),
        (json!({"a": {"#text": {}}}), "/a/#text"),
        (json!({"a": {"b": "\u{1}"}}), "/a/b"),
        (json!({"a:": 1}), "/a:"),
        (json!({"1": 1}), "/1"),
    ] {
        let fault = written(|output| xml::write(&value, None, output)).unwrap_err();
        assert_eq!(
            (fault.kind, fault.place),
            (Kind::Untransformable, Place::Member(pointer.into()))
        );
    }
    for (value, pointer) in
        [(json!([1]), ""), (json!({"a": {}}), "/a"), (json!({"a": [1, [2]]}), "/a/1")]
    {
        let fault = written(|output| form::write(&value, output)).unwrap_err();
        assert_eq!(
            (fault.kind, fault.place),
            (Kind::Untransformable, Place::Member(pointer.into()))
        );
    }
}

#[test]
fn what_becomes_too_large_is_not_made() {
    let value = json!({"a": ["<".repeat(400), "<".repeat(400)]});
    for write in [
        |value: &Value, output: &mut Output| json_body::write(value, output),
        |value: &Value, output: &mut Output| form::write(value, output),
        |value: &Value, output: &mut Output| xml::write(value, Some("r"), output),
    ] {
        let fault = write(&value, &mut Output::new(700)).unwrap_err();
        assert_eq!(fault.kind, Kind::TooLarge);
        assert!(written(|output| write(&value, output)).is_ok());
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-zäé_][a-z0-9:._-]{0,6}[a-z]"
}

fn character_data() -> impl Strategy<Value = String> {
    "[ -~\\t\\n\\räß€\u{1F600}]{0,12}"
}

/// What XML can say so that it reads back: texts, and objects that are not empty.
fn element() -> impl Strategy<Value = Value> {
    let leaf = character_data().prop_map(Value::String);
    leaf.prop_recursive(4, 24, 4, |inner| {
        let one_or_more = prop_oneof![
            3 => inner.clone(),
            1 => proptest::collection::vec(inner, 2..4).prop_map(Value::Array),
        ];
        let attributes = proptest::collection::btree_map(name(), character_data(), 0..3);
        let elements = proptest::collection::btree_map(name(), one_or_more, 1..4);
        (attributes, elements, "[!-~]?").prop_map(|(attributes, elements, text)| {
            let attributes =
                attributes.into_iter().map(|(name, text)| (format!("@{name}"), Value::from(text)));
            let mut members: serde_json::Map<String, Value> = attributes.chain(elements).collect();
            if !text.is_empty() {
                members.insert("#text".to_owned(), Value::from(text));
            }
            Value::Object(members)
        })
    })
}

proptest! {
    #[test]
    fn what_xml_can_say_reads_back(root in name(), value in element()) {
        let value = json!({root: value});
        let body = written(|output| xml::write(&value, None, output)).unwrap();
        prop_assert_eq!(xml::read(body.as_bytes(), &[]).unwrap(), value, "{}", body);
    }

    #[test]
    fn a_form_reads_back(fields in proptest::collection::btree_map(any::<String>(), proptest::collection::vec(any::<String>(), 1..4), 0..6)) {
        let fields = fields.into_iter().map(|(name, mut values)| {
            let value = if values.len() == 1 { Value::from(values.remove(0)) } else { Value::from(values) };
            (name, value)
        });
        let value = Value::Object(fields.collect());
        let body = written(|output| form::write(&value, output)).unwrap();
        prop_assert_eq!(form::read(body.as_bytes()).unwrap(), value);
    }

    #[test]
    fn any_bytes_are_a_body_or_a_fault(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = (json_body::read(&bytes), form::read(&bytes), xml::read(&bytes, &[]));
    }

    #[test]
    fn what_looks_like_xml_is_a_body_or_a_fault(text in "(<[/!?]?[a-z]{0,2}( [a-z]=['\"]?[a-z&;]*['\"]?)*[/?]?>|[a-z&#;<>\\]]{0,4}|<!\\[CDATA\\[|--){0,12}") {
        if let Ok(value) = xml::read(text.as_bytes(), &[]) {
            let body = written(|output| xml::write(&value, None, output)).unwrap();
            prop_assert_eq!(xml::read(body.as_bytes(), &[]).unwrap(), value, "{}", text);
        }
    }
}
