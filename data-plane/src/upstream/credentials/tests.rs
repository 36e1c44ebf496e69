use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::*;

fn made(spec: Value, secrets: &[(&str, &str)], maker: &Maker<'_>) -> Option<Arc<Credentials>> {
    let spec = tollgate_model::parse::value(&spec).unwrap();
    let secrets: Vec<(&str, SecretText)> =
        secrets.iter().map(|(name, value)| (*name, SecretText::new((*value).to_owned()))).collect();
    let secret = |name: &Name| {
        let found = secrets.iter().find(|(known, _)| *known == name.as_str());
        found.map(|(_, value)| value)
    };
    Credentials::make(&spec, secret, maker)
}

const ALONE: Maker<'_> = Maker { tokens: None, previous: None, upstream: "default/orders" };

fn field(spec: Value, secrets: &[(&str, &str)]) -> Option<(String, String)> {
    let credentials = made(spec, secrets, &ALONE)?;
    let Sort::Fixed(field) = &credentials.0 else { panic!("it is a token") };
    assert!(field.value.is_sensitive());
    Some((field.name.to_string(), String::from_utf8(field.value.as_bytes().to_vec()).unwrap()))
}

#[test]
fn a_field_has_its_secrets_in_it() {
    let header = |value: &str| json!({"header": {"name": "X-Key", "value": value}});
    let secrets = [("a", "one"), ("b", "t\u{e9}st"), ("line", "one\ntwo")];
    let told = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
    assert_eq!(field(header("Key {secret.a}"), &secrets), told("x-key", "Key one"));
    assert_eq!(field(header("{secret.a}{secret.b}"), &secrets), told("x-key", "onet\u{e9}st"));
    assert_eq!(field(header("{secret.a}{secret.c}"), &secrets), None);
    assert_eq!(field(header("{secret.line}"), &secrets), None);
    // RFC 7617 §2, its example, and §2.1 of the same in UTF-8.
    let basic = |user: &str| json!({"basic": {"username": user, "password": "{secret.p}"}});
    assert_eq!(
        field(basic("Aladdin"), &[("p", "open sesame")]),
        told("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    );
    assert_eq!(
        field(basic("test"), &[("p", "123\u{a3}")]),
        told("authorization", "Basic dGVzdDoxMjPCow==")
    );
    assert_eq!(field(basic("test"), &[("p", "a\nb")]), None);
    assert_eq!(field(basic("test"), &[]), None);
}

#[tokio::test]
async fn a_token_is_kept_for_as_long_as_it_would_be_asked_for_in_the_same_way() {
    let oauth2 = |scope: &str| {
        json!({"oauth2": {
            "token_url": "https://id.shop.test/token", "client_id": "gateway",
            "client_secret": "{secret.a}", "scopes": [scope],
        }})
    };
    let tokens = Tokens::new(Handle::current());
    let maker = Maker { tokens: Some(&tokens), ..ALONE };
    let first = made(oauth2("read"), &[("a", "one")], &maker).unwrap();
    let next = Maker { previous: Some(&first), ..maker };
    let same = made(oauth2("read"), &[("a", "one"), ("b", "two")], &next).unwrap();
    assert!(Arc::ptr_eq(&first, &same));
    for other in [
        made(oauth2("write"), &[("a", "one")], &next),
        made(oauth2("read"), &[("a", "two")], &next),
    ] {
        assert!(!Arc::ptr_eq(&first, &other.unwrap()));
    }
    assert!(made(oauth2("read"), &[], &next).is_none());
    assert!(made(oauth2("read"), &[("a", "one")], &ALONE).is_none());
    assert_eq!(format!("{first:?}"), "Token(…)");
}

#[test]
fn a_copy_says_the_same() {
    for name in ["authorization", "x-key"] {
        let field = Field::new(HeaderName::try_from(name).unwrap(), b"s3cret").unwrap();
        let copy = field.copy();
        assert_eq!(
            (field.number, &field.name, &field.value),
            (copy.number, &copy.name, &copy.value)
        );
        let mut headers = HeaderMap::new();
        headers.append(field.name.clone(), HeaderValue::from_static("another"));
        headers.append(field.name.clone(), HeaderValue::from_static("and another"));
        copy.write(&mut headers);
        assert_eq!(headers.get_all(name).iter().collect::<Vec<_>>(), ["s3cret"]);
        assert!(!format!("{headers:?} {field:?} {copy:?}").contains("s3cret"));
    }
}
