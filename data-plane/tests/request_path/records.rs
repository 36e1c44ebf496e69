//! One record a call, and numbers that add up.

use std::net::IpAddr;

use http::Request;
use tollgate_testkit::upstream::Upstream;

use crate::support::{API_KEY, Http2, TestNode, eventually, full, plainly, published, request};

#[tokio::test]
async fn a_record_says_what_there_is_to_say() {
    let backend = Upstream::start("a").unwrap();
    let api =
        "policies: [{api_key: {}}]\n  routes: [{name: items, match: {path: {prefix: /items}}}]";
    let more = format!(
        "---\nkind: Application\nname: web-shop\nspec: {{}}\n---\nkind: Credential\nname: first\n\
         spec: {{application: web-shop, api_key: {{value: {API_KEY}}}}}\n"
    );
    let node = TestNode::with(&(published(backend.address(), "", api) + &more));
    let key = format!("x-api-key: {API_KEY}");
    let fields = [key.as_str(), "x-request-id: r-1", "user-agent: test \u{e4}"];
    let answer = node.call("POST /items/7?secret=1&size=1234&delay_ms=20", &fields, "hello").await;
    assert_eq!(answer.status, 200);
    let record = &node.records(1).await[0];
    let text = |field: &str| record[field].as_str().unwrap_or("-").to_owned();
    for (field, value) in [
        ("request_id", "r-1"),
        ("client", "127.0.0.1"),
        ("protocol", "HTTP/1.1"),
        ("method", "POST"),
        ("host", "api.test"),
        ("path", "/items/7"),
        ("tenant", "default"),
        ("api", "shop"),
        ("route", "items"),
        ("application", "web-shop"),
        ("credential", "first"),
        ("upstream", &backend.address().to_string()),
        ("code", "-"),
        ("fault", "-"),
        ("user_agent", "test \u{e4}"),
    ] {
        assert_eq!(text(field), value, "{field}");
    }
    for (field, number) in
        [("status", 200), ("request_bytes", 5), ("response_bytes", 1234), ("revision", 1)]
    {
        assert_eq!(record[field].as_u64(), Some(number), "{field}");
    }
    let (whole, until_head) =
        (record["duration_us"].as_u64().unwrap(), record["upstream_us"].as_u64().unwrap());
    assert!(until_head >= 20_000 && whole >= until_head, "{record}");
    let time: jiff::Timestamp = text("time").parse().unwrap();
    assert!(time.as_second() > 1_600_000_000 && text("time").len() == 27);
    assert!(text("client").parse::<IpAddr>().is_ok());
    assert!(record.get("attempts").is_none() && record.get("complete").is_none());
    assert!(!record.to_string().contains(API_KEY) && !record.to_string().contains("secret"));
}

#[tokio::test]
async fn every_refusal_has_a_record_with_its_reason() {
    let backend = Upstream::start("a").unwrap();
    let api = "policies: [{api_key: {}}]\n  routes: [{name: items, match: {methods: [GET, HEAD], path: /items}}]";
    let node = TestNode::with(&published(backend.address(), "", api));
    let mut client = Http2::to(node.address).await;
    client.call(Request::get("http://api.test/items"), full("")).await;
    for line in ["GET /none", "POST /items", "GET /%00", "HEAD /items"] {
        node.call(line, &[], "").await;
    }
    let records = node.records(5).await;
    let expected = [
        (401, "unauthenticated", "policy", "HTTP/2.0"),
        (404, "no_route", "client", "HTTP/1.1"),
        (405, "method_not_allowed", "client", "HTTP/1.1"),
        (400, "ambiguous_path", "client", "HTTP/1.1"),
        (401, "unauthenticated", "policy", "HTTP/1.1"),
    ];
    for (record, (status, code, fault, protocol)) in records.iter().zip(expected) {
        assert_eq!(record["status"], status, "{record}");
        assert_eq!((record["code"].as_str(), record["fault"].as_str()), (Some(code), Some(fault)));
        assert_eq!(record["protocol"], protocol);
        assert!(record.get("complete").is_none(), "{record}");
        assert_eq!(record.get("api").is_some(), code == "unauthenticated");
    }
}

#[tokio::test]
async fn clients_that_go_away_are_in_the_records() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&plainly(backend.address()));
    let mut wire = node.wire().await;
    wire.send(request("GET /before?hang", &[], "")).await;
    let mut client = Http2::to(node.address).await;
    let hanging = client
        .sender
        .send_request(Request::get("http://api.test/before?hang").body(full("")).unwrap());
    eventually(|| (backend.under_way() == 2).then_some(())).await;
    drop((wire, hanging, client));
    for record in node.records(2).await {
        assert_eq!(
            (record["status"].as_u64(), record["complete"].as_bool()),
            (Some(499), Some(false)),
            "{record}"
        );
        assert_eq!(
            (record["response_bytes"].as_u64(), record["path"].as_str()),
            (Some(0), Some("/before"))
        );
    }
    eventually(|| (backend.under_way() == 0).then_some(())).await;
    let mut wire = node.wire().await;
    wire.send(request("GET /within?size=1000000000", &[], "")).await;
    wire.head().await;
    drop(wire);
    let record = &node.records(3).await[2];
    assert_eq!(
        (record["status"].as_u64(), record["complete"].as_bool()),
        (Some(200), Some(false)),
        "{record}"
    );
    assert!(record["response_bytes"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn metrics_add_up_to_the_calls() {
    let backend = Upstream::start("a").unwrap();
    let node =
        TestNode::with(&plainly(backend.address()).replace("base_path: /", "base_path: /shop"));
    let mut wires = Vec::new();
    for i in 0..8 {
        let mut wire = node.wire().await;
        for target in ["/shop?size=100", "/shop?size=100", "/shop?status=503&size=0", "/none"] {
            let answer = wire.call(&format!("POST {target}"), &[], "1234567").await;
            assert!(answer.is_whole, "{i}");
        }
        wires.push(wire);
    }
    let labels = "tenant=\"default\",api=\"shop\"";
    for (metric, number) in [
        (format!("tollgate_requests_total{{{labels},status=\"2xx\"}}"), 16),
        (format!("tollgate_requests_total{{{labels},status=\"5xx\"}}"), 8),
        ("tollgate_requests_total{tenant=\"_none\",api=\"_none\",status=\"4xx\"}".to_owned(), 8),
        (format!("tollgate_request_duration_seconds_count{{{labels}}}"), 24),
        (format!("tollgate_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}}"), 24),
        (format!("tollgate_request_bytes_total{{{labels}}}"), 24 * 7),
        (format!("tollgate_response_bytes_total{{{labels}}}"), 1600),
        ("tollgate_connections_accepted_total".to_owned(), 8),
        ("tollgate_connections_open".to_owned(), 8),
    ] {
        assert_eq!(node.metric(&metric), number, "{metric}");
    }
    drop(wires);
    eventually(|| (node.metric("tollgate_connections_open") == 0).then_some(())).await;
    assert_eq!(node.metric("tollgate_connections_closed_total"), 8);
    assert_eq!(node.records(32).await.len(), 32);
}

#[tokio::test]
async fn an_apis_series_end_with_it_and_its_successor_begins_anew() {
    let backend = Upstream::start("a").unwrap();
    let yaml = plainly(backend.address()).replace("base_path: /", "base_path: /shop");
    let mut node = TestNode::with(&yaml);
    let calls = "tollgate_requests_total{tenant=\"default\",api=\"shop\",status=\"2xx\"}";
    assert_eq!(node.get("/shop").await.status, 200);
    eventually(|| node.metrics_text().contains(calls).then_some(())).await;
    assert_eq!(node.remove(&[("Api", "shop")]), []);
    assert!(!node.metrics_text().contains(calls));
    assert_eq!(node.apply(&yaml), []);
    assert_eq!(node.get("/shop").await.status, 200);
    eventually(|| node.metrics_text().contains(calls).then_some(())).await;
    assert_eq!(node.metric(calls), 1);
}
