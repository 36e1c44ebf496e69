//! A service that decides about calls: over HTTP and over gRPC, well and ill.

use std::time::{Duration, Instant};

use http::Request;
use tollgate_testkit::upstream::Upstream;

use crate::support::{Http2, TestNode, eventually, full, published};

mod grpc;

/// An upstream `auth` at this address.
fn service(address: std::net::SocketAddr, more: &str) -> String {
    format!(
        "---\nkind: Upstream\nname: auth\nspec:\n  endpoints: [{{url: 'http://{address}'}}]\n  {more}\n"
    )
}

/// The API `shop`, which asks `auth` with this policy.
fn start(policy: &str) -> (Upstream, Upstream, TestNode) {
    let (backend, auth) = (Upstream::start("backend").unwrap(), Upstream::start("auth").unwrap());
    let api = format!("policies: [{{external_auth: {{upstream: auth, {policy}}}}}]");
    let yaml = published(backend.address(), "", &api) + &service(auth.address(), "");
    (backend, auth, TestNode::with(&yaml))
}

#[tokio::test]
async fn a_call_that_is_let_through_goes_on_with_what_the_service_said() {
    let policy = "http: {path: '/verify?set=x-user:ada&set=x-other:1&set=set-cookie:a=1'}, take_headers: [x-user], take_response_headers: [set-cookie]";
    let (backend, auth, node) = start(policy);
    let mut wire = node.wire().await;
    for _ in 0..3 {
        let answer = wire.call("GET /x", &["x-user: made-up", "x-kept: 1"], "").await;
        assert_eq!((answer.status, answer.field("x-server")), (200, "backend"));
        assert_eq!((answer.seen("x-user").as_str(), answer.seen("x-kept").as_str()), ("ada", "1"));
        assert_eq!((answer.seen("x-other").as_str(), answer.field("set-cookie")), ("", "a=1"));
    }
    let mut client = Http2::to(node.address).await;
    let request = Request::get("http://api.test/x").header("x-user", "made-up");
    assert_eq!(client.call(request, full("")).await.seen("x-user"), "ada");
    assert_eq!((backend.requests(), auth.requests()), (4, 4));
    // One connection a thread, which is kept like any other.
    assert!(auth.connections() <= 2, "{}", auth.connections());
    assert_eq!(node.metric("tollgate_policy_call_failures_total"), 0);
}

#[tokio::test]
async fn a_refusal_of_the_services_goes_to_the_client_and_nothing_upstream() {
    let policy = "http: {prefix: '/check'}, send_headers: [cookie, x-token], deny_headers: [www-authenticate, location]";
    let (backend, _auth, node) = start(policy);
    let target = "/%61?status=401&set=www-authenticate:Bearer&set=x-inside:1&set=content-type:application/json";
    let fields = ["cookie: a=1", "x-token: t", "x-not: 1", "x-forwarded-uri: /public"];
    let answer = node.call(&format!("DELETE {target}"), &fields, "").await;
    assert_eq!((answer.status, answer.field("www-authenticate")), (401, "Bearer"));
    assert_eq!((answer.field("x-inside"), answer.field("cache-control")), ("", "no-store"));
    let seen = answer.json();
    assert_eq!((seen["server"].as_str(), seen["method"].as_str()), (Some("auth"), Some("GET")));
    let asked = seen["target"].as_str().unwrap();
    assert!(asked.starts_with("/check/a?status=401"), "{asked}");
    for (field, value) in [
        ("cookie", "a=1"),
        ("x-token", "t"),
        ("x-not", ""),
        ("x-forwarded-method", "DELETE"),
        ("x-forwarded-host", "api.test"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-request-id", answer.field("x-request-id")),
    ] {
        assert_eq!(answer.seen(field), value, "{field}");
    }
    assert_eq!(answer.seen("x-forwarded-uri"), target.replace("%61", "a"));
    let target = "GET /?status=302&set=location:https://id.test/login&size=0";
    let answer = node.call(target, &[], "").await;
    assert_eq!((answer.status, answer.field("location")), (302, "https://id.test/login"));
    let answer = node.get("/?status=403&size=0").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"));
    let mut client = Http2::to(node.address).await;
    let request = Request::head("http://api.test/?status=403");
    let answer = client.call(request, full("")).await;
    assert_eq!((answer.status, answer.body.len()), (403, 0));
    assert_eq!(backend.requests(), 0);
}

#[tokio::test]
async fn a_body_is_seen_by_both_and_bounded() {
    let policy = "http: {method: POST, prefix: '/check'}, send_body: {max: 32B}";
    let (backend, auth, node) = start(policy);
    let answer = node.call("POST /x", &["content-type: text/plain"], "some text").await;
    assert_eq!((answer.status, answer.json()["body"].as_str()), (200, Some("some text")));
    assert_eq!(answer.field("x-server"), "backend");
    let answer = node.call("PUT /x?status=403", &["content-type: text/plain"], "some text").await;
    let seen = answer.json();
    assert_eq!((seen["server"].as_str(), seen["body"].as_str()), (Some("auth"), Some("some text")));
    assert_eq!(
        (answer.seen("content-type").as_str(), answer.seen("content-length").as_str()),
        ("text/plain", "9")
    );
    let mut wire = node.wire().await;
    let head = "POST /x HTTP/1.1\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n";
    wire.send(format!("{head}4\r\nsome\r\n5\r\n text\r\n0\r\n\r\n")).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.json()["body"].as_str()), (200, Some("some text")));
    let (asked, called) = (auth.requests(), backend.requests());
    let answer = wire.call("POST /x", &[], &"a".repeat(33)).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    assert_eq!((auth.requests(), backend.requests()), (asked, called));
}

#[tokio::test]
async fn a_body_that_is_left_out_goes_upstream_all_the_same() {
    let policy = "http: {method: same}, send_body: {max: 32B, on_larger: omit}";
    let (_backend, auth, node) = start(policy);
    let mut client = Http2::to(node.address).await;
    for length in [32, 33, 300_000] {
        let body = "a".repeat(length);
        let answer = node.call("POST /x", &[], &body).await;
        assert_eq!(
            (answer.status, answer.json()["body_bytes"].as_u64()),
            (200, u64::try_from(length).ok())
        );
        let answer = client.call(Request::post("http://api.test/x"), full(&body)).await;
        assert_eq!(
            (answer.status, answer.json()["body_bytes"].as_u64()),
            (200, u64::try_from(length).ok())
        );
    }
    assert_eq!(auth.requests(), 6);
}

#[tokio::test]
async fn a_service_that_is_ill_leaves_the_call_to_what_the_operator_says() {
    for (script, on_failure, expected) in [
        ("hang", "refuse", 503),
        ("hang", "allow", 200),
        ("delay_ms=20000", "refuse", 503),
        ("abort", "refuse", 503),
        ("abort", "allow", 200),
        ("status=500", "refuse", 503),
        ("status=500", "allow", 200),
        ("status=503", "refuse", 503),
        ("status=304", "refuse", 503),
    ] {
        let policy = format!(
            "http: {{path: '/?{script}&set=x-user:ada'}}, timeout: 300ms, take_headers: [x-user], on_failure: {on_failure}"
        );
        let (backend, _auth, node) = start(&policy);
        let began = Instant::now();
        let answer = node.call("GET /", &["x-user: made-up"], "").await;
        assert!(began.elapsed() < Duration::from_secs(15), "{script}");
        assert_eq!(answer.status, expected, "{script} {on_failure}");
        if expected == 200 {
            assert_eq!((answer.field("x-server"), answer.seen("x-user").as_str()), ("backend", ""));
        } else {
            assert_eq!(answer.code(), "authorization_unavailable");
            assert_eq!((answer.field("retry-after"), backend.requests()), ("1", 0));
        }
        assert_eq!(node.metric("tollgate_policy_call_failures_total"), 1, "{script}");
    }
}

#[tokio::test]
async fn a_verdict_counts_whatever_becomes_of_the_body_behind_it() {
    let huge = "size=100000000&piece=1000";
    for (script, expected) in [
        (format!("status=200&{huge}"), 200),
        (format!("status=403&{huge}"), 403),
        ("status=200&size=10&stall".to_owned(), 200),
        ("status=403&size=10&stall".to_owned(), 403),
        ("status=401&size=10&cut&pause_ms=50".to_owned(), 401),
        ("status=200&size=10&cut&pause_ms=50".to_owned(), 200),
        ("status=403&size=64&chunked&pause_ms=1&piece=8".to_owned(), 403),
    ] {
        let policy = format!("http: {{path: '/?{script}'}}, timeout: 500ms, on_failure: allow");
        let (backend, auth, node) = start(&policy);
        let answer = node.get("/").await;
        assert_eq!(answer.status, expected, "{script}");
        assert_eq!(backend.requests(), u64::from(expected == 200), "{script}");
        if expected != 200 && !script.contains("chunked") {
            assert!(["forbidden", "unauthenticated"].contains(&answer.code().as_str()));
        }
        // What is too large is not read to its end.
        assert!(auth.sent_bytes() < 50_000_000, "{script}: {}", auth.sent_bytes());
        assert_eq!(node.metric("tollgate_policy_call_failures_total"), 0);
    }
}

#[tokio::test]
async fn what_is_no_http_is_no_verdict() {
    let backend = Upstream::start("backend").unwrap();
    for garbage in [
        "\0\x01\x02 what is this\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-user: a\0b\r\n\r\n",
        "HTTP/1.1 200",
        "",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ] {
        let auth = Upstream::raw(garbage).unwrap();
        let api = "policies: [{external_auth: {upstream: auth, http: {}, take_headers: [x-user]}}]";
        let node = TestNode::with(
            &(published(backend.address(), "", api)
                + &service(auth.address(), "retry: {attempts: 0}")),
        );
        let answer = node.get("/").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (503, "authorization_unavailable"),
            "{garbage:?}"
        );
    }
    assert_eq!(backend.requests(), 0);
}

#[tokio::test]
async fn a_service_that_is_away_refuses_or_allows_and_comes_back() {
    let backend = Upstream::start("backend").unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (on_failure, expected) in [("refuse", 503), ("allow", 200)] {
        let api = format!(
            "policies: [{{external_auth: {{upstream: auth, http: {{path: '/?status=403'}}, on_failure: {on_failure}}}}}]"
        );
        let mut node =
            TestNode::with(&(published(backend.address(), "", &api) + &service(nobody, "")));
        assert_eq!(node.get("/").await.status, expected);
        // The upstream alone is edited; the policy follows.
        let (first, second) =
            (Upstream::start("first").unwrap(), Upstream::start("second").unwrap());
        for auth in [&first, &second] {
            assert_eq!(node.apply(&service(auth.address(), "").replace("---\n", "")), []);
            let answer = node.get("/").await;
            assert_eq!((answer.status, auth.requests()), (403, 1));
        }
        assert_eq!(first.requests(), 1);
    }
}

#[tokio::test]
async fn a_service_with_a_dead_server_is_asked_at_another() {
    let (backend, auth) = (Upstream::start("backend").unwrap(), Upstream::start("auth").unwrap());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let api = "policies: [{external_auth: {upstream: auth, http: {}, timeout: 5s}}]";
    let yaml = published(backend.address(), "", api)
        + &format!(
            "---\nkind: Upstream\nname: auth\nspec: {{endpoints: [{{url: 'http://{nobody}'}}, {{url: 'http://{}'}}], retry: {{attempts: 1}}}}\n",
            auth.address()
        );
    let node = TestNode::with(&yaml);
    for _ in 0..6 {
        assert_eq!(node.get("/").await.status, 200);
    }
    assert_eq!(auth.requests(), 6);
    assert!(node.metric("tollgate_upstream_retries_total") >= 1);
}

#[tokio::test]
async fn a_server_that_is_too_slow_for_the_policy_is_left_out_like_any_other() {
    let (backend, slow) = (Upstream::start("backend").unwrap(), Upstream::start("slow").unwrap());
    let fast = Upstream::raw("HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    let api =
        "policies: [{external_auth: {upstream: auth, http: {path: '/?hang'}, timeout: 200ms}}]";
    let yaml = published(backend.address(), "", api)
        + &format!(
            "---\nkind: Upstream\nname: auth\nspec: {{endpoints: [{{url: 'http://{}'}}, {{url: 'http://{}'}}], health: {{passive: {{failures: 1, eject_for: 1m}}}}}}\n",
            slow.address(),
            fast.address(),
        );
    let node = TestNode::with(&yaml);
    let mut refused = 0;
    for _ in 0..8 {
        refused += u64::from(node.get("/").await.status == 503);
    }
    assert_eq!((refused, slow.requests(), fast.requests()), (1, 1, 7));
    assert_eq!(node.metric("tollgate_upstream_ejections_total"), 1);
}

#[tokio::test]
async fn without_its_upstream_what_asks_is_closed_wherever_it_is_attached() {
    let (backend, auth) = (Upstream::start("backend").unwrap(), Upstream::start("auth").unwrap());
    let policy = "{external_auth: {upstream: auth, http: {}, on_failure: allow}}";
    let set = format!("---\nkind: PolicySet\nname: guarded\nspec: {{policies: [{policy}]}}\n");
    let tenant = format!("---\nkind: Tenant\nname: default\nspec: {{policies: [{policy}]}}\n");
    for (api, more) in [
        (format!("policies: [{policy}]"), String::new()),
        (format!("routes: [{{name: a, match: {{path: /}}, policies: [{policy}]}}]"), String::new()),
        ("policies: [{policy_set: guarded}]".to_owned(), set),
        (String::new(), tenant),
    ] {
        let yaml = published(backend.address(), "", &api) + &service(auth.address(), "") + &more;
        let mut node = TestNode::with(&yaml);
        let asked = auth.requests();
        assert_eq!((node.get("/").await.status, auth.requests()), (200, asked + 1), "{api}{more}");
        node.remove(&[("Upstream", "auth")]);
        let answer = node.get("/").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (503, "route_unavailable"),
            "{api}{more}"
        );
        node.apply(&service(auth.address(), "").replace("---\n", ""));
        assert_eq!((node.get("/").await.status, auth.requests()), (200, asked + 2));
    }
}

#[tokio::test]
async fn an_applications_own_service_is_asked_for_its_calls_alone() {
    let (backend, auth) = (Upstream::start("backend").unwrap(), Upstream::start("auth").unwrap());
    let more = "---\nkind: Application\nname: partner\nspec: {policies: [{external_auth: {upstream: auth, http: {path: '/?status=403', headers: {x-app: '{application}'}}}}]}\n---\n\
        kind: Credential\nname: partner\nspec: {application: partner, api_key: {value: sk-partner-1}}\n---\n\
        kind: Application\nname: shop\nspec: {}\n---\n\
        kind: Credential\nname: shop\nspec: {application: shop, api_key: {value: sk-shop-001}}\n";
    let yaml = published(backend.address(), "", "policies: [{api_key: {}}]")
        + &service(auth.address(), "")
        + more;
    let mut node = TestNode::with(&yaml);
    assert_eq!(node.call("GET /", &["x-api-key: sk-shop-001"], "").await.status, 200);
    let answer = node.call("GET /", &["x-api-key: sk-partner-1"], "").await;
    assert_eq!((answer.status, answer.seen("x-app").as_str()), (403, "partner"));
    assert_eq!(answer.seen("x-api-key"), "");
    assert_eq!(auth.requests(), 1);
    node.remove(&[("Upstream", "auth")]);
    assert_eq!(node.call("GET /", &["x-api-key: sk-partner-1"], "").await.status, 401);
    assert_eq!(node.call("GET /", &["x-api-key: sk-shop-001"], "").await.status, 200);
}

#[tokio::test]
async fn an_upstream_that_keeps_hosts_is_told_the_clients() {
    let (backend, auth) = (Upstream::start("backend").unwrap(), Upstream::start("auth").unwrap());
    let api = "policies: [{external_auth: {upstream: auth, http: {path: '/?status=403'}}}]";
    for (more, host) in
        [("", auth.address().to_string()), ("preserve_host: true", "api.test".to_owned())]
    {
        let node = TestNode::with(
            &(published(backend.address(), "", api) + &service(auth.address(), more)),
        );
        assert_eq!(node.get("/").await.seen("host"), host);
        let mut client = Http2::to(node.address).await;
        let answer = client.call(Request::get("http://api.test/"), full("")).await;
        assert_eq!(answer.seen("host"), host);
    }
}

#[tokio::test]
async fn one_callers_answer_is_not_kept_for_another() {
    let policy = "http: {}, take_headers: [x-user]";
    let (backend, auth) = (Upstream::start("backend").unwrap(), Upstream::start("auth").unwrap());
    let api =
        format!("policies: [{{external_auth: {{upstream: auth, {policy}}}}}, {{cache: {{}}}}]");
    let node =
        TestNode::with(&(published(backend.address(), "", &api) + &service(auth.address(), "")));
    for (said, requests) in [("max-age=60", 2), ("public,max-age=60", 3)] {
        for cookie in ["cookie: user=ada", "cookie: user=bob"] {
            let line = format!("GET /?set=cache-control:{said}");
            assert_eq!(node.call(&line, &[cookie], "").await.status, 200);
        }
        assert_eq!(backend.requests(), requests, "{said}");
    }
    // Who may not call gets nothing from memory either.
    assert_eq!(auth.requests(), 4);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_question_with_it() {
    let (backend, auth, node) = start("http: {path: '/?hang'}, timeout: 10s");
    let mut wire = node.wire().await;
    wire.send("GET / HTTP/1.1\r\nhost: api.test\r\n\r\n").await;
    eventually(|| (auth.under_way() == 1).then_some(())).await;
    drop(wire);
    eventually(|| (auth.open_connections() == 0).then_some(())).await;
    assert_eq!((backend.requests(), node.records(1).await[0]["status"].as_u64()), (0, Some(499)));
}
