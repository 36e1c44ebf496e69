//! What goes wrong: how providers' errors are read, and how every dialect tells it.

mod support;

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use support::value;
use tollgate_llm::error::Refused;
use tollgate_llm::{Dialect, ErrorKind, Event, Failure, Provider};

fn refused<'a>(status: u16, body: &'a str) -> Refused<'a> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    Refused { status, retry_after: None, retry_after_ms: None, now, body: body.as_bytes() }
}

fn openai(status: u16, of_type: &str, code: Value, message: &str) -> Failure {
    let body = json!({ "error": {
        "message": message, "type": of_type, "param": "messages", "code": code
    } });
    Provider::OpenAi.failure(&refused(status, &body.to_string()))
}

fn anthropic(status: u16, of_type: &str, message: &str) -> Failure {
    let body = json!({ "type": "error", "error": { "type": of_type, "message": message } });
    Provider::Anthropic.failure(&refused(status, &body.to_string()))
}

#[test]
fn errors_of_openai_are_of_the_kind_that_they_say() {
    let invalid = "invalid_request_error";
    for (status, of_type, code, message, kind) in [
        (400, invalid, json!("unsupported_value"), "x", ErrorKind::BadRequest),
        (400, invalid, json!("context_length_exceeded"), "x", ErrorKind::ContextTooLong),
        (
            400,
            invalid,
            Value::Null,
            "This model's maximum context length is 8",
            ErrorKind::ContextTooLong,
        ),
        (400, invalid, json!("content_policy_violation"), "x", ErrorKind::ContentBlocked),
        (400, "", json!("content_filter"), "x", ErrorKind::ContentBlocked),
        (401, invalid, json!("invalid_api_key"), "x", ErrorKind::BadKey),
        (401, "", json!("401"), "x", ErrorKind::BadKey),
        (403, "", Value::Null, "x", ErrorKind::Forbidden),
        (404, invalid, json!("model_not_found"), "x", ErrorKind::NotFound),
        (404, "", json!("DeploymentNotFound"), "x", ErrorKind::NotFound),
        (408, "", Value::Null, "x", ErrorKind::Timeout),
        (413, "", Value::Null, "x", ErrorKind::TooLarge),
        (422, "", Value::Null, "x", ErrorKind::BadRequest),
        (429, "requests", json!("rate_limit_exceeded"), "x", ErrorKind::RateLimited),
        (429, "insufficient_quota", json!("insufficient_quota"), "x", ErrorKind::QuotaExhausted),
        (429, "", json!("credit_balance_exhausted"), "x", ErrorKind::QuotaExhausted),
        (500, "server_error", Value::Null, "x", ErrorKind::Broken),
        (503, "server_error", json!("slow_down"), "x", ErrorKind::RateLimited),
        (503, "", Value::Null, "x", ErrorKind::Overloaded),
        (504, "", Value::Null, "x", ErrorKind::Timeout),
    ] {
        assert_eq!(openai(status, of_type, code.clone(), message).kind, kind, "{status} {code}");
    }
}

#[test]
fn errors_of_anthropic_are_of_the_kind_that_they_say() {
    for (status, of_type, message, kind) in [
        (400, "invalid_request_error", "temperature: too hot", ErrorKind::BadRequest),
        (400, "invalid_request_error", "prompt is too long: 9 > 8", ErrorKind::ContextTooLong),
        (400, "invalid_request_error", "Your credit balance is too low", ErrorKind::QuotaExhausted),
        (401, "authentication_error", "x", ErrorKind::BadKey),
        (402, "billing_error", "x", ErrorKind::QuotaExhausted),
        (403, "permission_error", "x", ErrorKind::Forbidden),
        (404, "not_found_error", "x", ErrorKind::NotFound),
        (409, "conflict_error", "x", ErrorKind::Broken),
        (413, "request_too_large", "x", ErrorKind::TooLarge),
        (429, "rate_limit_error", "x", ErrorKind::RateLimited),
        (500, "api_error", "x", ErrorKind::Broken),
        (504, "timeout_error", "x", ErrorKind::Timeout),
        (529, "overloaded_error", "x", ErrorKind::Overloaded),
    ] {
        assert_eq!(anthropic(status, of_type, message).kind, kind, "{status} {of_type}");
    }
}

#[test]
fn a_body_that_is_no_error_leaves_the_status() {
    for body in ["", "<html>Bad gateway</html>", "[]", "{}", "{\"error\":5}", "\u{0}"] {
        for provider in Provider::ALL {
            assert_eq!(provider.failure(&refused(502, body)).kind, ErrorKind::Broken, "{body}");
            assert_eq!(provider.failure(&refused(429, body)).kind, ErrorKind::RateLimited);
        }
    }
    let plain = Provider::OpenAi.failure(&refused(400, "{\"error\":\"too big\"}"));
    assert_eq!(plain.message, "too big");
}

#[test]
fn a_providers_words_reach_the_caller_only_about_the_callers_own_faults() {
    let told = openai(400, "invalid_request_error", Value::Null, "bad \"temperature\"");
    assert_eq!(
        (told.message.as_str(), told.param.as_deref()),
        ("bad \"temperature\"", Some("messages"))
    );
    for hidden in [
        openai(401, "", json!("invalid_api_key"), "Incorrect API key provided: sk-secret"),
        openai(429, "", json!("rate_limit_exceeded"), "Limit reached in organization org-secret"),
        openai(500, "server_error", Value::Null, "node-secret failed"),
        anthropic(403, "permission_error", "workspace secret"),
    ] {
        assert!(!format!("{hidden:?}").contains("secret"), "{hidden:?}");
        assert_eq!(hidden.param, None);
    }
    let long = openai(400, "invalid_request_error", Value::Null, &"é".repeat(100_000));
    assert_eq!(long.message.chars().count(), 2000);
}

#[test]
fn how_long_to_wait_is_read_in_all_its_forms() {
    let wait = |after: Option<&'static str>, after_ms: Option<&'static str>| {
        let refused = Refused { retry_after: after, retry_after_ms: after_ms, ..refused(429, "") };
        Provider::OpenAi.failure(&refused).retry_after
    };
    assert_eq!(wait(Some("2"), None), Some(Duration::from_secs(2)));
    assert_eq!(wait(Some("1.5"), None), Some(Duration::from_millis(1500)));
    assert_eq!(wait(Some("2"), Some("120")), Some(Duration::from_millis(120)));
    assert_eq!(wait(Some("Sun, 06 Nov 1994 08:49:47 GMT"), None), Some(Duration::from_secs(10)));
    assert_eq!(wait(Some("Sun, 06 Nov 1994 08:49:00 GMT"), None), Some(Duration::ZERO));
    assert_eq!(wait(Some("99999999999"), None), Some(Duration::from_secs(86_400)));
    for nonsense in ["-1", "NaN", "inf", "soon", ""] {
        assert_eq!(wait(Some(nonsense), None), None, "{nonsense}");
    }
    // Waiting does not help who has not paid.
    let unpaid = Refused { retry_after: Some("2"), ..refused(402, "") };
    assert_eq!(Provider::OpenAi.failure(&unpaid).retry_after, None);
}

#[test]
fn every_dialect_tells_every_kind() {
    let mut shown = String::new();
    for kind in ErrorKind::ALL {
        let mut failure = Failure::of_kind(kind);
        failure.retry_after = Some(Duration::from_millis(1500));
        for dialect in Dialect::ALL {
            let answer = dialect.error(&failure);
            assert_eq!(answer.retry_after_secs, Some(2));
            let body = value(&answer.body);
            shown.push_str(&format!("{kind:?} {} {} {body}\n", dialect.name(), answer.status));
        }
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn a_failure_within_a_stream_ends_it_without_the_word_that_it_is_whole() {
    for (dialect, expected) in [
        (Dialect::OpenAiChat, "data: {\"error\":{"),
        (Dialect::AnthropicMessages, "event: error\ndata: {\"type\":\"error\","),
    ] {
        let (mut writer, mut out) = (dialect.stream(support::asked()), Vec::new());
        writer.push(&Event::Start(tollgate_llm::reply::Start::default()), &mut out).unwrap();
        let before = out.len();
        writer.fail(&Failure::of_kind(ErrorKind::Overloaded), &mut out);
        let failed = out.len();
        writer.push(&Event::End, &mut out).unwrap();
        writer.finish(&mut out).unwrap();
        writer.fail(&Failure::of_kind(ErrorKind::Broken), &mut out);
        assert_eq!(out.len(), failed, "nothing follows");
        let text = String::from_utf8(out[before..].to_vec()).unwrap();
        assert!(text.starts_with(expected) && text.ends_with("\n\n"), "{text}");
        assert!(!text.contains("DONE") && !text.contains("message_stop"));
    }
}

#[test]
fn a_fault_of_the_caller_is_told_with_its_place_and_one_of_the_provider_without() {
    for (body, param) in [
        (json!({ "messages": [] }), "/model"),
        (json!({ "model": "m", "messages": [] }), "/messages"),
        (
            json!({ "model": "m", "messages": [{ "role": "user", "content": 5 }] }),
            "/messages/0/content",
        ),
        (
            json!({ "model": "m", "messages": [{ "role": "user", "content": [{ "type": "text" }] }] }),
            "/messages/0/content/0/text",
        ),
    ] {
        let fault = Dialect::OpenAiChat.parse(body.to_string().as_bytes()).unwrap_err();
        assert_eq!(fault.failure().param.as_deref(), Some(param));
        assert_eq!(fault.failure().kind, ErrorKind::BadRequest);
    }
    let body = br#"{"model":"m","messages":[{"role":"user","content":"a","content":"b"}]}"#;
    let fault = Dialect::OpenAiChat.parse(body).unwrap_err();
    assert!(fault.failure().message.starts_with("the body cannot be read as JSON"), "{fault}");
    for provider in Provider::ALL {
        for answer in ["", "<html>", "{}", "{\"choices\":5,\"content\":5}"] {
            let fault = provider.parse(answer.as_bytes(), &Default::default()).unwrap_err();
            assert_eq!(fault.failure(), Failure::of_kind(ErrorKind::Broken), "{answer}");
        }
    }
}
