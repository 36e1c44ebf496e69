//! Who may call, at work on real calls.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tollgate_testkit::upstream::Upstream;

use crate::support::{TestNode, published};

fn start(api: &str, more: &str) -> (Upstream, TestNode) {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&(published(backend.address(), "", api) + more));
    (backend, node)
}

#[tokio::test]
async fn an_address_decides_and_trusted_proxies_tell_it() {
    let gateway = "---\nkind: Gateway\nname: default\nspec: {trusted_proxies: [127.0.0.0/8]}\n";
    let api = "policies: [{ip_access: {allow: [192.0.2.0/24, 127.0.0.1], deny: [192.0.2.66]}}]";
    let (backend, node) = start(api, gateway);
    assert_eq!(node.get("/").await.status, 200);
    for (address, expected) in [
        ("192.0.2.7", 200),
        ("::ffff:192.0.2.7", 200),
        ("192.0.2.66", 403),
        ("::ffff:192.0.2.66", 403),
        ("198.51.100.1", 403),
        // What stands before the last address that is not trusted is the client's own saying.
        ("192.0.2.7, 198.51.100.1", 403),
    ] {
        let field = format!("x-forwarded-for: {address}");
        let answer = node.call("GET /", &[&field], "").await;
        assert_eq!(answer.status, expected, "{address}");
        if expected == 403 {
            assert_eq!(answer.code(), "forbidden");
        }
    }
    assert_eq!(backend.requests(), 3);
}

const USERS: &str = "---\nkind: Application\nname: web-shop\nspec: {}\n---\n\
    kind: Credential\nname: web\n\
    spec: {application: web-shop, basic: {username: web, password: {value: 'correct: horse'}}}\n---\n\
    kind: Credential\nname: off\n\
    spec: {application: web-shop, disabled: true, basic: {username: 'off', password: {value: 'correct: horse'}}}\n";

fn basic(pair: &str) -> String {
    format!("authorization: Basic {}", STANDARD.encode(pair))
}

#[tokio::test]
async fn a_username_and_a_password_tell_who_calls_and_go_nowhere() {
    let (backend, mut node) = start("policies: [{basic_auth: {realm: shop}}]", USERS);
    for _ in 0..3 {
        let answer = node.call("GET /", &[&basic("web:correct: horse"), "x-kept: 1"], "").await;
        assert_eq!((answer.status, answer.seen("x-kept").as_str()), (200, "1"), "{answer:?}");
        assert_eq!(answer.seen("authorization"), "");
    }
    for pair in ["web:wrong horse", "nobody:correct: horse", "off:correct: horse", "web"] {
        for _ in 0..2 {
            let answer = node.call("GET /", &[&basic(pair)], "").await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"), "{pair}");
            assert_eq!(answer.field("www-authenticate"), "Basic realm=\"shop\", charset=\"UTF-8\"");
        }
    }
    assert_eq!(node.get("/").await.status, 401);
    assert_eq!(node.records(3).await[0]["application"], "web-shop");

    // What was remembered of the old password is worth nothing for the new one.
    node.apply(
        "kind: Credential\nname: web\nspec: {application: web-shop, basic: {username: web, password: {value: new horse}}}",
    );
    assert_eq!(node.call("GET /", &[&basic("web:correct: horse")], "").await.status, 401);
    assert_eq!(node.call("GET /", &[&basic("web:new horse")], "").await.status, 200);
    node.remove(&[("Credential", "web")]);
    assert_eq!(node.call("GET /", &[&basic("web:new horse")], "").await.status, 401);
    assert_eq!(backend.requests(), 4);
}

#[tokio::test]
async fn calls_that_come_at_once_with_a_new_password_are_all_answered() {
    let (_backend, node) = start("policies: [{basic_auth: {}}]", USERS);
    let field = basic("web:correct: horse");
    let fields = [field.as_str()];
    let calls = (0..40).map(|_| node.call("GET /", &fields, ""));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
}

#[tokio::test]
async fn groups_and_names_of_applications_decide_who_may() {
    let more = "---\nkind: Application\nname: partner\nspec: {groups: [partners]}\n---\n\
        kind: Credential\nname: partner\nspec: {application: partner, api_key: {value: sk-partner-1}}\n---\n\
        kind: Application\nname: web-shop\nspec: {policies: [{acl: {deny: {groups: [suspended], applications: [partner]}}}]}\n---\n\
        kind: Credential\nname: web-shop\nspec: {application: web-shop, api_key: {value: sk-shop-001}}\n";
    let api = "policies: [{api_key: {optional: true}}, {acl: {allow: {groups: [partners], applications: [web-shop]}}}]";
    let (_backend, mut node) = start(api, more);
    let (partner, shop) = ("x-api-key: sk-partner-1", "x-api-key: sk-shop-001");
    assert_eq!(node.call("GET /", &[partner], "").await.status, 200);
    assert_eq!(node.call("GET /", &[shop], "").await.status, 200);
    let answer = node.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"));
    node.apply("kind: Application\nname: partner\nspec: {groups: [others]}");
    let answer = node.call("GET /", &[partner], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"));
    // Applications that name each other, and themselves, are no circle to run in.
    let rejections = node.apply(
        "kind: Application\nname: partner\nspec: {groups: [partners, suspended], policies: [{acl: {allow: {applications: [partner]}, deny: {applications: [web-shop]}}}]}\n---\n\
         kind: PolicySet\nname: set\nspec: {policies: [{acl: {deny: {applications: [web-shop, partner], groups: [suspended]}}}]}\n---\n\
         kind: Application\nname: web-shop\nspec: {policies: [{policy_set: set}]}",
    );
    assert_eq!(rejections, []);
    assert_eq!(node.call("GET /", &[partner], "").await.status, 200);
    assert_eq!(node.call("GET /", &[shop], "").await.status, 403);
}

#[tokio::test]
async fn a_preflight_belongs_to_the_route_whose_method_it_asks_for() {
    let routes = "routes:\n    \
        - {name: read, match: {methods: [GET], path: /items}, policies: [{cors: {allow_origins: ['https://shop.test']}}]}\n    \
        - {name: write, match: {methods: [PUT], path: /items}, policies: [{cors: {allow_origins: ['https://admin.test'], credentials: true}}]}\n    \
        - {name: remove, match: {methods: [DELETE], path: /items}}\n    \
        - {name: options, match: {methods: [OPTIONS, POST], path: /own}}\n  \
        policies: [{api_key: {}}]";
    let (backend, node) = start(routes, &plain_application());
    let preflight = |target: &'static str, origin: &'static str, method: &'static str| {
        let fields = [
            format!("origin: {origin}"),
            format!("access-control-request-method: {method}"),
            "access-control-request-headers: x-api-key".to_owned(),
        ];
        let node = &node;
        async move {
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            node.call(&format!("OPTIONS {target}"), &fields, "").await
        }
    };
    let answer = preflight("/items", "https://shop.test", "GET").await;
    assert_eq!((answer.status, answer.body.len()), (204, 0), "{answer:?}");
    assert_eq!(answer.field("access-control-allow-origin"), "https://shop.test");
    assert_eq!(answer.field("access-control-allow-methods"), "GET");
    assert_eq!(answer.field("access-control-allow-headers"), "x-api-key");
    assert_eq!(answer.field("access-control-allow-credentials"), "");
    let answer = preflight("/items", "https://admin.test", "PUT").await;
    assert_eq!((answer.status, answer.field("access-control-allow-credentials")), (204, "true"));
    let answer = preflight("/items", "https://shop.test", "PUT").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"));
    for method in ["DELETE", "POST", "b%d", "get"] {
        let answer = preflight("/items", "https://shop.test", method).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (405, "method_not_allowed"),
            "{method}"
        );
    }
    let answer = preflight("/none", "https://shop.test", "GET").await;
    assert_eq!(answer.status, 404);
    // A route of its own for OPTIONS, without the policy, is asked for a key like any other.
    let answer = preflight("/own", "https://shop.test", "POST").await;
    assert_eq!(answer.status, 401);
    let records = node.records(9).await;
    assert_eq!((&records[0]["route"], &records[1]["route"]), (&"read".into(), &"write".into()));
    assert_eq!(backend.requests(), 0);
}

#[tokio::test]
async fn a_page_may_read_answers_and_refusals_and_no_other_page_may() {
    let cors = "policies: [{cors: {allow_origins: ['https://*.shop.test'], expose_headers: [x-seen]}}, {api_key: {}}]";
    let (_backend, node) = start(cors, &plain_application());
    for (fields, status, allowed) in [
        (
            vec!["origin: https://www.shop.test", "x-api-key: sk-shop-001"],
            200,
            "https://www.shop.test",
        ),
        (vec!["origin: https://www.shop.test"], 401, "https://www.shop.test"),
        (vec!["origin: https://evil.test", "x-api-key: sk-shop-001"], 200, ""),
        (vec!["x-api-key: sk-shop-001"], 200, ""),
    ] {
        let answer = node.call("GET /", &fields, "").await;
        assert_eq!((answer.status, answer.field("access-control-allow-origin")), (status, allowed));
        assert_eq!(answer.field("vary"), "origin");
    }
}

fn plain_application() -> String {
    "---\nkind: Application\nname: web-shop\nspec: {}\n---\n\
     kind: Credential\nname: web-shop\nspec: {application: web-shop, api_key: {value: sk-shop-001}}\n"
        .to_owned()
}

#[tokio::test]
async fn one_of_several_ways_to_say_who_calls_is_enough() {
    let ways =
        "policies: [{any_of: [{api_key: {headers: [x-api-key]}}, {basic_auth: {realm: shop}}]}]";
    let key = "---\nkind: Credential\nname: key\nspec: {application: web-shop, api_key: {value: sk-shop-001}}\n";
    let (backend, node) = start(ways, &format!("{USERS}{key}"));
    let login = basic("web:correct: horse");
    for fields in [&["x-api-key: sk-shop-001"][..], &[&login]] {
        let answer = node.call("GET /", fields, "").await;
        assert_eq!(answer.status, 200, "{fields:?}");
        assert_eq!((answer.seen("x-api-key"), answer.seen("authorization")), Default::default());
    }
    let answer = node.call("GET /", &["x-api-key: sk-shop-002", &login], "").await;
    assert_eq!((answer.status, answer.field("www-authenticate")), (401, "Bearer"));
    let answer = node.get("/").await;
    let challenges: Vec<&str> = answer
        .headers
        .get_all("www-authenticate")
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    assert_eq!(answer.status, 401);
    assert_eq!(challenges, ["Bearer", "Basic realm=\"shop\", charset=\"UTF-8\""]);
    assert_eq!(backend.requests(), 2);
    let records = node.records(4).await;
    assert_eq!(
        (&records[0]["credential"], &records[1]["credential"]),
        (&"key".into(), &"web".into())
    );
}

#[tokio::test]
async fn expressions_over_the_request_and_its_caller_decide_who_may() {
    let more = "---\nkind: Application\nname: shop\nspec: {groups: [admin]}\n---\n\
        kind: Credential\nname: shop\nspec: {application: shop, api_key: {value: sk-shop-0001}}\n---\n\
        kind: Gateway\nname: default\nspec: {trusted_proxies: [127.0.0.0/8]}\n";
    let api = "routes: [{name: own, match: {path: '/users/{user}'}}, {name: any}]\n  \
        policies: [{api_key: {optional: true}}, {authorize: {detail: ask the shop, \
        allow_when: ['request.method == \"GET\" || \"admin\" in identity.groups'], \
        deny_when: ['request.path.startsWith(\"/internal\") && !cidr(\"10.0.0.0/8\").containsIP(client.ip)', \
        '\"debug\" in request.query && request.query.debug[0].matches(\"^[a-z]+$\")', \
        '\"x-level\" in request.headers && int(request.headers[\"x-level\"]) > 3']}}]";
    let (backend, node) = start(api, more);
    let key = "x-api-key: sk-shop-0001";
    for (target, fields, expected) in [
        ("GET /", &[][..], None),
        ("POST /", &[], Some("forbidden")),
        ("POST /", &[key], None),
        // No other spelling passes a rule about the path, and none about the query.
        ("GET /internal/x", &[], Some("forbidden")),
        ("GET /%69nternal/x", &[key], Some("forbidden")),
        ("GET /internal/x", &["x-forwarded-for: 10.1.2.3"], None),
        ("GET /?%64ebug=%6fn", &[], Some("forbidden")),
        ("GET /?debug=1", &[], None),
        ("GET /", &["x-level: 3"], None),
        ("GET /", &["x-level: 4"], Some("forbidden")),
        ("GET /", &["x-level: 1", "x-level: 2"], Some("authorization_failed")),
    ] {
        let answer = node.call(target, fields, "").await;
        let status = if expected.is_some() { 403 } else { 200 };
        assert_eq!(answer.status, status, "{target} {fields:?}: {answer:?}");
        if let Some(code) = expected {
            assert_eq!(answer.code(), code, "{target} {fields:?}");
        }
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(body.contains("ask the shop"), expected == Some("forbidden"), "{body}");
    }
    assert_eq!(backend.requests(), 5);
}

#[tokio::test]
async fn expressions_of_a_route_and_of_an_application_are_added() {
    let more = "---\nkind: Application\nname: shop\nspec: {policies: [{authorize: {deny_when: ['request.method == \"DELETE\"']}}]}\n---\n\
        kind: Credential\nname: shop\nspec: {application: shop, api_key: {value: sk-shop-0001}}\n";
    let api = "routes: [{name: own, match: {path: '/users/{user}'}, \
        policies: [{authorize: {allow_when: ['path.user == identity.application && route.route == \"own\"']}}]}]\n  \
        policies: [{api_key: {}}]";
    let (_backend, node) = start(api, more);
    for (target, expected) in [
        ("GET /users/shop", 200),
        ("GET /users/sh%6fp", 200),
        ("GET /users/other", 403),
        ("DELETE /users/shop", 403),
    ] {
        let answer = node.call(target, &["x-api-key: sk-shop-0001"], "").await;
        assert_eq!(answer.status, expected, "{target}");
    }
}
