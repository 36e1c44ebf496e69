use super::*;

const STORED: &str = "max-age=60";

fn named(application: &str, credential: &str) -> Option<Arc<crate::policy::Caller>> {
    Some(Arc::new(caller(application, credential)))
}

fn subject(subject: Option<&str>) -> Option<Arc<Claims>> {
    Some(Arc::new(Claims { subject: subject.map(Into::into), ..Claims::default() }))
}

/// RFC 9111 §3.5: "A shared cache MUST NOT use a cached response to a request with an Authorization
/// header field to satisfy any subsequent request unless the response contains a Cache-Control field
/// with a response directive that allows it".
#[tokio::test]
async fn what_one_caller_got_another_gets_only_where_the_origin_says_so() {
    for (said, is_for_all) in [
        ("max-age=60", false),
        ("max-age=60, public", true),
        ("s-maxage=60", true),
        ("max-age=60, must-revalidate", true),
        ("max-age=60, public, private", false),
    ] {
        // By the field itself.
        let mut site = Site::new("cache: {}");
        site.get(0, &[("authorization", "Bearer a")], control(said)).await;
        for fields in [&[][..], &[("authorization", "Bearer b")], &[("authorization", "Bearer a")]]
        {
            let second = site.get(1, fields, answer(200, &[], "second")).await;
            assert_eq!(second.outcome == Some(Outcome::Hit), is_for_all, "{said} {fields:?}");
        }
        // By the application that a policy before found, whose credential it took off the request.
        let mut site = Site::new("cache: {}");
        site.world.identity = named("one", "first");
        site.get(0, &[], control(said)).await;
        site.world.identity = named("two", "first");
        let second = site.get(1, &[], answer(200, &[], "second")).await;
        assert_eq!(second.outcome == Some(Outcome::Hit), is_for_all, "{said}");
        // By claims.
        let mut site = Site::new("cache: {}");
        site.world.claims = subject(Some("u1"));
        site.get(0, &[], control(said)).await;
        let second = site.get(1, &[], answer(200, &[], "second")).await;
        assert_eq!(second.outcome == Some(Outcome::Hit), is_for_all, "{said}");
    }
}

#[tokio::test]
async fn what_nobody_in_particular_got_is_not_for_a_caller_who_is_known() {
    let mut site = Site::new("cache: {}");
    site.get(0, &[], control(STORED)).await;
    assert_eq!(site.get(1, &[], answer(200, &[], "")).await.outcome, Some(Outcome::Hit));
    site.world.identity = named("one", "first");
    assert_eq!(site.get(2, &[], answer(200, &[], "")).await.outcome, Some(Outcome::Miss));
}

#[tokio::test]
async fn each_application_credential_and_subject_has_its_own_where_the_policy_says_so() {
    let callers = [
        (named("one", "first"), None),
        (named("one", "second"), None),
        (named("two", "first"), None),
        (named("one", "first"), subject(Some("u1"))),
        (named("one", "first"), subject(Some("u2"))),
        (None, subject(Some("u1"))),
    ];
    for (per, shared) in [("application", vec![1]), ("credential", vec![])] {
        let mut site = Site::new(&format!("cache: {{per: {per}}}"));
        for (index, (identity, claims)) in callers.iter().enumerate() {
            (site.world.identity, site.world.claims) = (identity.clone(), claims.clone());
            let first = site.get(0, &[], control(STORED)).await;
            assert_eq!(
                first.outcome == Some(Outcome::Hit),
                shared.contains(&index),
                "{per} {index}"
            );
            assert_eq!(site.get(1, &[], answer(200, &[], "")).await.outcome, Some(Outcome::Hit));
        }
        // Claims without a subject say less than who it is.
        site.world.claims = subject(None);
        site.get(0, &[], control(STORED)).await;
        assert_eq!(site.get(1, &[], answer(200, &[], "")).await.outcome, Some(Outcome::Miss));
    }
}

#[tokio::test]
async fn an_application_whose_own_policies_change_answers_has_its_own() {
    let mut site = Site::new("cache: {}");
    site.get(0, &[], control("public, max-age=60")).await;
    let mut with_policies = caller("one", "first");
    with_policies.chain = Some(Arc::new(chain(&["headers: {response: {set: {x-for: one}}}"])));
    site.world.identity = Some(Arc::new(with_policies));
    let own = site.get(1, &[], control("public, max-age=60")).await;
    assert_eq!((own.outcome, own.field("x-for")), (Some(Outcome::Miss), "one"));
    let hit = site.get(2, &[], answer(200, &[], "")).await;
    assert_eq!((hit.outcome, hit.field("x-for")), (Some(Outcome::Hit), "one"));
    site.world.identity = named("two", "first");
    let other = site.get(3, &[], answer(200, &[], "")).await;
    assert_eq!((other.outcome, other.field("x-for")), (Some(Outcome::Hit), ""));
}

#[tokio::test]
async fn tenant_api_host_target_and_the_policys_own_texts_are_in_the_key() {
    let mut site = Site::new("cache: {key: ['{header.x-region}']}");
    let first = request("GET", "/a?b=1", &[("x-region", "eu")]);
    site.call(0, first, control(STORED)).await;
    let mut hits = Vec::new();
    for (target, fields) in [
        ("/a?b=1", [("x-region", "eu")]),
        ("/a?b=2", [("x-region", "eu")]),
        ("/A?b=1", [("x-region", "eu")]),
        ("/a?b=1", [("x-region", "us")]),
    ] {
        let call = site.call(1, request("GET", target, &fields), answer(200, &[], "")).await;
        hits.push(call.outcome == Some(Outcome::Hit));
    }
    assert_eq!(hits, [true, false, false, false]);
    let other_host = Request::get("/a?b=1").header("host", "other.test").header("x-region", "eu");
    let call = site.call(1, other_host.body(Body::Empty).unwrap(), answer(200, &[], "")).await;
    assert_eq!(call.outcome, Some(Outcome::Miss));
    site.world.route.tenant = crate::support::name("other");
    let call =
        site.call(1, request("GET", "/a?b=1", &[("x-region", "eu")]), answer(200, &[], "")).await;
    assert_eq!(call.outcome, Some(Outcome::Miss));
}

/// RFC 9111 §4.1.
#[tokio::test]
async fn fields_that_vary_select_and_several_variants_are_kept() {
    let varies = |vary, body| answer(200, &[("cache-control", STORED), ("vary", vary)], body);
    let mut site = Site::new("cache: {}");
    site.get(0, &[("accept", "a"), ("x-b", "1")], varies("Accept, X-B", "one")).await;
    site.get(0, &[("accept", "b"), ("x-b", "1")], varies("Accept, X-B", "two")).await;
    site.get(0, &[("x-b", "1")], varies("Accept, X-B", "three")).await;
    for (fields, body) in [
        (&[("accept", "a"), ("x-b", "1")][..], Some("one")),
        (&[("accept", "b"), ("x-b", "1")], Some("two")),
        (&[("x-b", "1"), ("x-other", "1")], Some("three")),
        (&[("accept", "a")], None),
        (&[("accept", "c"), ("x-b", "1")], None),
        (&[("accept", ""), ("x-b", "1")], None),
    ] {
        let call = site.get(1, fields, answer(200, &[], "")).await;
        let expected = body.map_or(Outcome::Miss, |_| Outcome::Hit);
        assert_eq!(call.outcome, Some(expected), "{fields:?}");
        assert_eq!(call.body, body.unwrap_or_default().as_bytes());
    }
    // Lines and white space make no difference.
    let mut site = Site::new("cache: {}");
    site.get(0, &[("accept", "a"), ("accept", "b")], varies("accept", "one")).await;
    let call = site.get(1, &[("accept", " a ,b")], answer(200, &[], "")).await;
    assert_eq!(call.outcome, Some(Outcome::Hit));
    assert_eq!(site.get(1, &[("accept", "b, a")], control("")).await.outcome, Some(Outcome::Miss));
}

#[tokio::test]
async fn the_operator_can_add_fields_that_vary() {
    let mut site = Site::new("cache: {vary: [accept-language]}");
    site.get(0, &[("accept-language", "de")], control(STORED)).await;
    let again = site.get(1, &[("accept-language", "de")], answer(200, &[], "")).await;
    let other = site.get(1, &[("accept-language", "fr")], answer(200, &[], "")).await;
    assert_eq!((again.outcome, other.outcome), (Some(Outcome::Hit), Some(Outcome::Miss)));
}

#[tokio::test]
async fn what_varies_by_a_field_that_a_later_policy_changed_is_not_stored() {
    let varies = || answer(200, &[("cache-control", "public, max-age=60"), ("vary", "x-app")], "");
    let set = "headers: {request: {set: {x-app: '{application}'}}}";
    let mut site = Site::of(&["cache: {}", set]);
    site.world.identity = named("one", "first");
    site.get(0, &[], varies()).await;
    site.world.identity = named("two", "first");
    assert_eq!(site.get(1, &[], varies()).await.outcome, Some(Outcome::Miss));
}

/// RFC 9111 §4.4: a non-error answer to an unsafe request invalidates its target, and those that
/// `location` and `content-location` name of the same origin.
#[tokio::test]
async fn unsafe_requests_invalidate() {
    for (method, status, fields, is_gone) in [
        ("POST", 200, &[][..], true),
        ("PUT", 204, &[], true),
        ("DELETE", 303, &[], true),
        ("PATCH", 201, &[], true),
        ("M-SEARCH", 200, &[], true),
        ("POST", 400, &[], false),
        ("POST", 500, &[], false),
        ("OPTIONS", 200, &[], false),
        ("GET", 200, &[], false),
    ] {
        let mut site = Site::new("cache: {}");
        site.get(0, &[], control(STORED)).await;
        let change = request(method, "/a", &[("x-upgrade", "1")]);
        site.call(1, change, answer(status, fields, "")).await;
        let after = site.get(2, &[], answer(200, &[], "")).await;
        assert_eq!(after.outcome == Some(Outcome::Miss), is_gone, "{method} {status}");
    }
    for (location, is_gone) in [
        ("/a", true),
        ("a", true),
        ("a#part", true),
        ("http://api.shop.test/a", true),
        ("//API.shop.test/a", true),
        ("http://other.test/a", false),
        ("http://api.shop.test:81/a", false),
        ("/b", false),
    ] {
        for name in ["location", "content-location"] {
            let mut site = Site::new("cache: {}");
            site.get(0, &[], control(STORED)).await;
            let change = request("POST", "/other", &[]);
            site.call(1, change, answer(201, &[(name, location)], "")).await;
            let after = site.get(2, &[], answer(200, &[], "")).await;
            assert_eq!(after.outcome == Some(Outcome::Miss), is_gone, "{name}: {location}");
        }
    }
}

#[tokio::test]
async fn without_a_cache_on_the_node_and_for_what_no_cache_answers_it_does_nothing() {
    let mut site = Site::new("cache: {}");
    for fields in [
        &[("if-match", "\"a\"")][..],
        &[("if-unmodified-since", DATE)],
        &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")],
    ] {
        let call = site.get(0, fields, control(STORED)).await;
        assert_eq!(call.outcome, Some(Outcome::Bypass), "{fields:?}");
        assert_eq!(call.field("cache-status"), "");
    }
    let with_body = Request::get("/a").body(Body::from(Bytes::from_static(b"x"))).unwrap();
    assert_eq!(site.call(0, with_body, control(STORED)).await.outcome, Some(Outcome::Bypass));
    assert!(site.double.entries.lock().unwrap().is_empty());
    site.world.cache = None;
    let call = site.get(0, &[], control(STORED)).await;
    assert_eq!((call.outcome, call.field("cache-status")), (None, ""));
}

#[tokio::test]
async fn what_came_over_tls_is_no_answer_in_the_clear() {
    let mut site = Site::new("cache: {}");
    site.world.scheme = "https";
    site.get(0, &[], control(STORED)).await;
    assert_eq!(site.get(1, &[], answer(200, &[], "")).await.outcome, Some(Outcome::Hit));
    site.world.scheme = "http";
    assert_eq!(site.get(2, &[], answer(200, &[], "")).await.outcome, Some(Outcome::Miss));
}

#[tokio::test]
async fn what_one_upstream_answers_is_not_told_in_the_place_of_another() {
    let split = "split: {to: [{upstream: lab, match: {headers: {x-lab: '1'}}}]}";
    let mut site = Site::of(&[split, "cache: {}"]);
    let lab = [("x-lab", "1")];
    site.get(0, &[], control(STORED)).await;
    assert_eq!(site.get(1, &lab, control(STORED)).await.outcome, Some(Outcome::Miss));
    assert_eq!(site.get(2, &lab, answer(200, &[], "")).await.outcome, Some(Outcome::Hit));
    assert_eq!(site.get(3, &[], answer(200, &[], "")).await.outcome, Some(Outcome::Hit));
}
