use serde_json::{Value, json};

use super::*;

fn grant(spec: Value) -> Grant {
    let mut whole = json!({
        "token_url": "https://id.shop.test/token",
        "client_id": "gate way:1",
        "client_secret": "{secret.x}",
    });
    for (name, value) in spec.as_object().unwrap() {
        whole[name] = value.clone();
    }
    let written: OAuth2Credential = tollgate_model::parse::value(&whole).unwrap();
    Grant::of(&written, SecretText::new("s3cret &=+:\u{e9}".to_owned()))
}

#[test]
fn a_client_proves_itself_in_a_field_with_both_parts_encoded() {
    let grant = grant(json!({}));
    let field = grant.authorization().unwrap();
    assert!(field.is_sensitive());
    let encoded = field.to_str().unwrap().strip_prefix("Basic ").unwrap();
    let pair = STANDARD.decode(encoded).unwrap();
    assert_eq!(String::from_utf8(pair).unwrap(), "gate+way%3A1:s3cret+%26%3D%2B%3A%C3%A9");
    assert_eq!(grant.form(), "grant_type=client_credentials");
}

#[test]
fn a_client_proves_itself_in_the_body_where_that_is_asked_for() {
    let grant = grant(json!({
        "auth": "body",
        "scopes": ["orders.read", "orders&write"],
        "audience": "https://orders.internal",
    }));
    assert_eq!(
        grant.form(),
        "grant_type=client_credentials&scope=orders.read+orders%26write&audience=https%3A%2F%2Forders.internal\
         &client_id=gate+way%3A1&client_secret=s3cret+%26%3D%2B%3A%C3%A9"
    );
}

fn good_for(expires_in: Value) -> Result<u128, String> {
    let answer = json!({"access_token": "abc", "token_type": "Bearer", "expires_in": expires_in});
    let fetched = read(answer.to_string().as_bytes()).map_err(|error| error.to_string())?;
    Ok(fetched.good_for.as_millis())
}

#[test]
fn a_token_is_good_for_as_long_as_the_server_says() {
    for (written, millis) in [
        (json!(3600), 3_600_000),
        (json!("3600"), 3_600_000),
        (json!(1.5), 1_500),
        (json!(null), 300_000),
        (json!(1), 1_000),
        (json!(86_401), 86_400_000),
        (json!(1e300), 86_400_000),
    ] {
        assert_eq!(good_for(written.clone()), Ok(millis), "{written}");
    }
    assert_eq!(
        read(br#"{"access_token": "a", "token_type": "BEARER"}"#).unwrap().good_for,
        GOOD_FOR
    );
    for written in
        [json!(-1), json!("soon"), json!("-1"), json!([]), json!({}), json!(true), json!("")]
    {
        assert_eq!(good_for(written.clone()), Err(TokenError::Malformed.to_string()), "{written}");
    }
    for written in [json!(0), json!("0"), json!(0.5)] {
        assert_eq!(good_for(written.clone()), Err(TokenError::Expired.to_string()), "{written}");
    }
}

fn refused(answer: &str) -> String {
    read(answer.as_bytes()).unwrap_err().to_string()
}

#[test]
fn what_is_no_token_is_refused_without_being_told() {
    for answer in [
        "",
        "no JSON",
        "[]",
        "null",
        "{}",
        r#"{"access_token": "s3cret"}"#,
        r#"{"token_type": "Bearer"}"#,
        r#"{"access_token": ["s3cret"], "token_type": "Bearer"}"#,
        r#"{"access_token": "s3cret", "access_token": "s3cret", "token_type": "Bearer"}"#,
        r#"{"access_token": "s3cret", "token_type": 1}"#,
    ] {
        assert_eq!(refused(answer), TokenError::Malformed.to_string(), "{answer}");
    }
    for kind in ["mac", "DPoP", "", "Bearer "] {
        let answer = json!({"access_token": "s3cret", "token_type": kind}).to_string();
        assert_eq!(refused(&answer), TokenError::NotBearer.to_string(), "{kind}");
    }
    let long = "a".repeat(MOST_TOKEN_BYTES + 1);
    for token in ["", "s3 cret", "s3cret\r\nx-a: 1", "s3cr\u{e9}t", "s3cret\0", long.as_str()] {
        let answer = json!({"access_token": token, "token_type": "Bearer"}).to_string();
        assert_eq!(refused(&answer), TokenError::NotVisible.to_string(), "{token}");
    }
}

#[test]
fn a_token_goes_into_a_field_that_is_not_shown() {
    let token = format!("a-._~+/{}==", "b".repeat(MOST_TOKEN_BYTES - 9));
    let answer = json!({"access_token": token, "token_type": "bearer", "expires_in": 60});
    let fetched = read(answer.to_string().as_bytes()).unwrap();
    assert_eq!(fetched.field.value, format!("Bearer {token}"));
    assert!(fetched.field.value.is_sensitive() && fetched.field.copy().value.is_sensitive());
    assert!(!format!("{fetched:?}").contains("bbbb"));
}

#[test]
fn only_codes_of_the_rfc_are_told() {
    assert_eq!(refusal_of(br#"{"error": "invalid_client", "x": 1}"#), Some("invalid_client"));
    for body in [&b"{\"error\": \"s3cret\"}"[..], b"{\"error\": 1}", b"{}", b"", b"invalid_client"]
    {
        assert_eq!(refusal_of(body), None);
    }
}
