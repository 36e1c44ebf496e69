//! Policies at work on real calls: where they may stand, and what a refusal looks like.

use http::Request;
use tollgate_testkit::upstream::Upstream;

use crate::support::{API_KEY, Http2, TestNode, full, plainly, published};

fn application(policies: &str) -> String {
    format!(
        "---\nkind: Application\nname: web-shop\nspec:\n  description: x\n  {policies}\n---\n\
         kind: Credential\nname: first\nspec: {{application: web-shop, api_key: {{value: {API_KEY}}}}}\n"
    )
}

fn start(api: &str, more: &str) -> (Upstream, TestNode) {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&(published(backend.address(), "", api) + more));
    (backend, node)
}

#[tokio::test]
async fn a_key_is_taken_from_its_fields_and_never_goes_upstream() {
    let (backend, node) = start("policies: [{api_key: {}}]", &application(""));
    for field in ["authorization: Bearer ", "x-api-key: ", "api-key: ", "x-goog-api-key: "] {
        let answer = node.call("GET /", &[&format!("{field}{API_KEY}"), "x-kept: 1"], "").await;
        assert_eq!(answer.status, 200, "{field}: {answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains(API_KEY), "{field}");
        assert_eq!(answer.seen("x-kept"), "1");
    }
    let mut client = Http2::to(node.address).await;
    let answer =
        client.call(Request::get("http://api.test/").header("x-api-key", API_KEY), full("")).await;
    assert_eq!((answer.status, answer.seen("x-api-key").as_str()), (200, ""));
    assert_eq!(backend.requests(), 5);
}

#[tokio::test]
async fn a_call_without_a_good_key_is_refused_and_goes_nowhere() {
    let credentials = "---\nkind: Credential\nname: off\nspec: {application: web-shop, disabled: true, api_key: {value: sk-off-00001}}\n\
                       ---\nkind: Credential\nname: old\nspec: {application: web-shop, expires_at: 2001-01-01T00:00:00Z, api_key: {value: sk-old-00001}}\n";
    let (backend, mut node) = start("policies: [{api_key: {}}]", &(application("") + credentials));
    for fields in [
        &[][..],
        &["x-api-key: sk-unknown-1"],
        &["x-api-key: sk-off-00001"],
        &["x-api-key: sk-old-00001"],
    ] {
        let answer = node.call("GET /", fields, "").await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"), "{fields:?}");
        assert_eq!(
            (answer.field("www-authenticate"), answer.field("cache-control")),
            ("Bearer", "no-store")
        );
    }
    let key = format!("x-api-key: {API_KEY}");
    assert_eq!(node.call("GET /", &[&key], "").await.status, 200);
    node.apply("kind: Application\nname: web-shop\nspec: {disabled: true}");
    assert_eq!(node.call("GET /", &[&key], "").await.status, 401);
    node.apply("kind: Application\nname: web-shop\nspec: {}");
    assert_eq!(node.call("GET /", &[&key], "").await.status, 200);
    node.remove(&[("Credential", "first")]);
    assert_eq!(node.call("GET /", &[&key], "").await.status, 401);
    assert_eq!(backend.requests(), 2);
}

#[tokio::test]
async fn a_limit_admits_its_number_over_all_connections_and_says_what_is_left() {
    let (backend, node) =
        start("policies: [{rate_limit: {limit: 3, window: 1h, by: ip, mode: exact}}]", "");
    for left in [2, 1, 0] {
        let answer = node.get("/").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("ratelimit-policy"), "\"default\";q=3;w=3600");
        assert!(
            answer.field("ratelimit").starts_with(&format!("\"default\";r={left};t=")),
            "{answer:?}"
        );
    }
    for _ in 0..3 {
        let answer = node.get("/").await;
        assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"));
        let wait: u64 = answer.field("retry-after").parse().unwrap();
        // Rolling windows move on in steps.
        assert!((1..=3720).contains(&wait), "{wait}");
        assert!(answer.field("ratelimit").starts_with("\"default\";r=0;t="));
        assert_eq!(answer.headers.get_all("ratelimit").iter().count(), 1);
    }
    assert_eq!(backend.requests(), 3);
}

#[tokio::test]
async fn an_applications_own_policies_run_for_its_calls_alone() {
    let more = application(
        "policies: [{rate_limit: {limit: 1, window: 1h, mode: local}}, {headers: {response: {set: {x-app: '{application}'}}}}]",
    ) + "---\nkind: Application\nname: other\nspec: {}\n---\n\
           kind: Credential\nname: others\nspec: {application: other, api_key: {value: sk-other-001}}\n";
    let (_backend, node) = start("policies: [{api_key: {}}]", &more);
    let key = format!("x-api-key: {API_KEY}");
    let answer = node.call("GET /", &[&key], "").await;
    assert_eq!((answer.status, answer.field("x-app")), (200, "web-shop"));
    assert_eq!(node.call("GET /", &[&key], "").await.status, 429);
    for _ in 0..3 {
        let answer = node.call("GET /", &["x-api-key: sk-other-001"], "").await;
        assert_eq!((answer.status, answer.field("x-app")), (200, ""));
    }
}

#[tokio::test]
async fn every_level_adds_its_policies_and_a_set_is_written_out() {
    let set =
        |name: &str| format!("policies: [{{headers: {{request: {{set: {{x-{name}: '1'}}}}}}}}]");
    let more = format!(
        "---\nkind: Gateway\nname: default\nspec:\n  {}\n---\nkind: Tenant\nname: default\nspec:\n  {}\n---\n\
         kind: PolicySet\nname: common\nspec:\n  {}\n",
        set("gateway"),
        set("tenant"),
        set("set"),
    );
    let (_backend, mut node) =
        start("policies: [{policy_set: common}, {headers: {request: {set: {x-api: '1'}}}}]", &more);
    let answer = node.get("/").await;
    for level in ["x-gateway", "x-tenant", "x-set", "x-api"] {
        assert_eq!(answer.seen(level), "1", "{level}");
    }
    node.apply("kind: PolicySet\nname: common\nspec: {policies: [{headers: {request: {set: {x-set: '2'}}}}]}");
    assert_eq!(node.get("/").await.seen("x-set"), "2");
    node.apply("kind: Gateway\nname: default\nspec: {}");
    assert_eq!(node.get("/").await.seen("x-gateway"), "");
}

#[tokio::test]
async fn a_gateways_policy_takes_secrets_and_upstreams_of_its_operators_and_never_a_tenants() {
    let (backend, service) = (Upstream::start("a").unwrap(), Upstream::start("auth").unwrap());
    let theirs = Upstream::start("theirs").unwrap();
    let of = |tenant: &str, auth: std::net::SocketAddr, secret: &str| {
        let address = backend.address();
        format!(
            "kind: Tenant\nname: {tenant}\nspec: {{hosts: [{tenant}.test]}}\n---\n\
             kind: Upstream\ntenant: {tenant}\nname: backend\nspec: {{endpoints: [{{url: 'http://{address}'}}]}}\n---\n\
             kind: Upstream\ntenant: {tenant}\nname: auth\nspec: {{endpoints: [{{url: 'http://{auth}'}}]}}\n---\n\
             kind: Secret\ntenant: {tenant}\nname: token\nspec: {{value: {secret}}}\n---\n\
             kind: Api\ntenant: {tenant}\nname: shop\nspec: {{base_path: /, upstream: backend, \
             policies: [{{headers: {{request: {{set: {{x-own: '{{secret.token}}'}}}}}}}}]}}\n---\n"
        )
    };
    let gateway = "kind: Gateway\nname: default\nspec:\n  policies:\n    \
         - headers: {request: {set: {x-token: '{secret.token}'}}}\n    \
         - external_auth: {upstream: auth, http: {headers: {x-token: '{secret.token}'}}}\n";
    let own = of("default", service.address(), "the-operators");
    let node = TestNode::with(&(own + &of("acme", theirs.address(), "acmes") + gateway));
    let mut wire = node.wire().await;
    wire.send("GET / HTTP/1.1\r\nhost: acme.test\r\n\r\n".to_owned()).await;
    let answer = wire.answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.seen("x-token"), "the-operators");
    assert_eq!(answer.seen("x-own"), "acmes");
    assert_eq!((service.requests(), theirs.requests()), (1, 0));
}

#[tokio::test]
async fn a_secret_stands_in_a_field_that_no_caller_can_take_off() {
    let secret = "---\nkind: Secret\nname: token\nspec: {value: s3cret-value}\n";
    let api = "policies: [{headers: {request: {set: {x-token: 'Bearer {secret.token}'}}}}]";
    let (_backend, mut node) = start(api, secret);
    let answer = node.call("GET /", &["connection: x-token", "x-token: mine"], "").await;
    assert_eq!(answer.seen("x-token"), "Bearer s3cret-value");
    node.apply("kind: Secret\nname: token\nspec: {value: new-value}");
    assert_eq!(node.get("/").await.seen("x-token"), "Bearer new-value");
    // Closed, not open: what a policy needs is gone.
    node.remove(&[("Secret", "token")]);
    let answer = node.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "route_unavailable"));
}

#[tokio::test]
async fn grpc_is_refused_in_its_own_words() {
    let (_backend, node) = start("policies: [{api_key: {}}]", "");
    let mut client = Http2::to(node.address).await;
    let request = Request::post("http://api.test/shop.Orders/List")
        .header("content-type", "application/grpc+proto");
    let answer = client.call(request, full("")).await;
    assert_eq!((answer.status, answer.field("grpc-status")), (200, "16"));
    assert_eq!(answer.field("content-type"), "application/grpc");
    assert!(answer.field("grpc-message").starts_with("unauthenticated"));
    assert_eq!(node.records(1).await[0]["code"], "unauthenticated");
}

#[tokio::test]
async fn a_refused_api_answers_503_or_by_its_last_good_version_while_others_run() {
    let backend = Upstream::start("a").unwrap();
    let mut node = TestNode::with(&plainly(backend.address()));
    let newcomer = |policies: &str| {
        format!(
            "kind: Api\nname: new\nspec: {{base_path: /new, upstream: backend, policies: [{policies}]}}"
        )
    };
    let rejections = node.apply(&newcomer("{policy_of_tomorrow: {}}"));
    assert_eq!(rejections.len(), 1);
    assert_eq!(
        (rejections[0].issues[0].code.as_str(), rejections[0].version),
        ("unknown_policy", 2)
    );
    assert!(rejections[0].issues[0].pointer.starts_with("/spec/policies/0"), "{rejections:?}");
    for target in ["/new", "/new/x"] {
        let answer = node.get(target).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "route_unavailable"));
    }
    assert_eq!(node.get("/newer").await.status, 200);

    assert_eq!(node.apply(&newcomer("{headers: {response: {set: {x-v: '1'}}}}")), []);
    assert_eq!(node.get("/new").await.field("x-v"), "1");
    assert_eq!(node.apply(&newcomer("{policy_of_tomorrow: {}}")).len(), 1);
    assert_eq!(node.get("/new").await.field("x-v"), "1");
    assert_eq!(node.remove(&[("Api", "new")]), []);
    assert_eq!(node.get("/new").await.field("x-v"), "");
}

#[tokio::test]
async fn an_api_without_its_upstream_answers_503_until_it_is_there() {
    let backend = Upstream::start("a").unwrap();
    let mut node = TestNode::with(&plainly(backend.address()));
    node.remove(&[("Upstream", "backend")]);
    assert_eq!(node.get("/").await.code(), "route_unavailable");
    let yaml = plainly(backend.address());
    node.apply(yaml.split("---").next().unwrap());
    assert_eq!(node.get("/").await.status, 200);
}

#[tokio::test]
async fn a_call_fails_on_purpose_and_the_next_does_not() {
    let backend = Upstream::start("a").unwrap();
    let policies =
        "policies: [{fault: {delay: {time: 20ms}, abort: {status: 503}, header: x-break}}]";
    let node = TestNode::with(&published(backend.address(), "", policies));
    let began = std::time::Instant::now();
    let broken = node.call("GET /", &["x-break: yes"], "").await;
    assert_eq!((broken.status, broken.code().as_str()), (503, "fault_injected"));
    assert!(began.elapsed() >= std::time::Duration::from_millis(20));
    assert_eq!(node.get("/").await.status, 200);
    assert_eq!(backend.requests(), 1);
    let records = node.records(2).await;
    assert_eq!(
        (&records[0]["code"], &records[0]["fault"]),
        (&"fault_injected".into(), &"policy".into())
    );
}
