use super::*;

const MODIFIED: &str = "Tue, 14 Nov 2023 20:00:00 GMT";

fn validated(said: &str) -> Response<Body> {
    let fields =
        [("cache-control", said), ("etag", "\"one\""), ("last-modified", MODIFIED), ("x-old", "1")];
    answer(200, &fields, "0123456789")
}

/// A 304 of a minute later.
fn unchanged(fields: Fields<'_>) -> Response<Body> {
    let mut response = answer(304, fields, "");
    if !fields.iter().any(|(name, _)| *name == "date") {
        response.headers_mut().remove("date");
    }
    response
}

/// RFC 9111 §4.3.1, §4.3.3, §3.2.
#[tokio::test]
async fn what_is_stale_is_asked_about_and_made_fresh_by_304() {
    let mut site = Site::new("cache: {}");
    site.get(0, &[], validated("max-age=60")).await;
    let fields = [
        ("cache-control", "max-age=90"),
        ("etag", "\"one\""),
        ("x-old", "2"),
        ("x-new", "1"),
        ("content-length", "0"),
    ];
    let call = site.get(70, &[], unchanged(&fields)).await;
    assert_eq!((call.sent("if-none-match"), call.sent("if-modified-since")), ("\"one\"", MODIFIED));
    assert_eq!((call.status, call.outcome), (200, Some(Outcome::Revalidated)));
    assert_eq!(call.body, b"0123456789");
    assert_eq!((call.field("x-old"), call.field("x-new"), call.field("age")), ("2", "1", "0"));
    assert_eq!(call.field("content-length"), "10");
    assert_eq!(call.field("cache-status"), "tollgate; fwd=stale; fwd-status=304");
    let hit = site.get(159, &[], answer(500, &[], "")).await;
    assert_eq!(
        (hit.outcome, hit.field("x-new"), hit.field("age")),
        (Some(Outcome::Hit), "1", "89")
    );
}

/// RFC 9111 §4.3.4: "the cache MUST NOT use the new response to update any stored response".
#[tokio::test]
async fn a_304_about_another_representation_updates_nothing_and_what_is_stored_goes() {
    let mut site = Site::new("cache: {}");
    site.get(0, &[], validated("max-age=60")).await;
    let call = site.get(70, &[], unchanged(&[("etag", "\"two\""), ("x-new", "1")])).await;
    assert_eq!((call.status, call.body.as_slice()), (200, &b"0123456789"[..]));
    assert_eq!((call.field("etag"), call.field("x-new")), ("\"one\"", ""));
    assert_eq!(site.get(71, &[], answer(200, &[], "")).await.outcome, Some(Outcome::Miss));
}

#[tokio::test]
async fn the_clients_own_conditions_are_answered_from_what_was_validated() {
    for (fields, status, body) in [
        (&[("if-none-match", "\"one\"")][..], 304, ""),
        (&[("if-none-match", "\"zero\"")], 200, "0123456789"),
        (&[("range", "bytes=0-1")], 206, "01"),
        (&[("range", "bytes=0-1"), ("if-range", "\"zero\"")], 200, "0123456789"),
    ] {
        let mut site = Site::new("cache: {}");
        site.get(0, &[], validated("max-age=60")).await;
        let call = site.get(70, fields, unchanged(&[])).await;
        assert_eq!((call.sent("if-none-match"), call.sent("range")), ("\"one\"", ""), "{fields:?}");
        assert_eq!((call.status, call.body.as_slice()), (status, body.as_bytes()), "{fields:?}");
    }
}

#[tokio::test]
async fn what_changed_takes_the_place_of_what_is_stored() {
    let mut site = Site::new("cache: {}");
    site.get(0, &[], validated("max-age=60")).await;
    let mut new = answer(200, &[("cache-control", "max-age=60"), ("etag", "\"two\"")], "new");
    new.headers_mut().remove("date");
    let call = site.get(70, &[], new).await;
    assert_eq!((call.outcome, call.body.as_slice()), (Some(Outcome::Miss), &b"new"[..]));
    assert_eq!(call.field("cache-status"), "tollgate; fwd=stale; fwd-status=200; stored");
    assert_eq!(site.get(80, &[], answer(500, &[], "")).await.body, b"new");
}

#[tokio::test]
async fn no_cache_is_stored_and_asked_about_each_time() {
    let mut site = Site::new("cache: {}");
    site.get(0, &[], validated("no-cache")).await;
    for second in [1, 2] {
        let call = site.get(second, &[], unchanged(&[])).await;
        assert_eq!((call.status, call.outcome), (200, Some(Outcome::Revalidated)));
    }
    // A 304 that forbids storing: the answer is right, and nothing is kept.
    site.get(3, &[], unchanged(&[("cache-control", "no-store")])).await;
    let call = site.get(4, &[], answer(200, &[], "x")).await;
    assert_eq!(call.sent("if-none-match"), "");
}

#[tokio::test]
async fn no_cache_of_a_client_asks_the_origin_if_it_still_holds() {
    let mut site = Site::new("cache: {}");
    site.get(0, &[], validated("max-age=60")).await;
    let call = site.get(10, &[("cache-control", "no-cache")], unchanged(&[])).await;
    assert_eq!((call.sent("if-none-match"), call.outcome), ("\"one\"", Some(Outcome::Revalidated)));
    assert_eq!(call.field("cache-status"), "tollgate; fwd=request; fwd-status=304");
    let call =
        site.get(20, &[("cache-control", "no-store, no-cache")], answer(200, &[], "x")).await;
    assert_eq!(call.sent("if-none-match"), "");
}

/// RFC 5861 §3.
#[tokio::test]
async fn what_is_stale_is_used_while_it_is_fetched_by_one_request() {
    for (policy, said) in [
        ("cache: {}", "max-age=60, stale-while-revalidate=30"),
        ("cache: {}", "s-maxage=60, stale-while-revalidate=30"),
        ("cache: {stale_while_revalidate: 30s}", "max-age=60"),
    ] {
        let mut site = Site::new(policy);
        site.double.gives_leads.store(true, Ordering::Relaxed);
        site.get(0, &[], validated(said)).await;
        let call = site.get(80, &[], answer(500, &[], "")).await;
        assert_eq!((call.outcome, call.has_refresh), (Some(Outcome::Stale), true), "{said}");
        assert_eq!(call.field("cache-status"), "tollgate; hit; ttl=-20");
        site.double.gives_leads.store(false, Ordering::Relaxed);
        let call = site.get(80, &[], answer(500, &[], "")).await;
        assert_eq!((call.outcome, call.has_refresh), (Some(Outcome::Stale), false), "{said}");
        assert_eq!(site.get(90, &[], unchanged(&[])).await.outcome, Some(Outcome::Revalidated));
    }
    for said in
        ["max-age=60, must-revalidate", "s-maxage=60", "max-age=60, stale-while-revalidate=0"]
    {
        let mut site = Site::new("cache: {stale_while_revalidate: 30s}");
        site.get(0, &[], validated(said)).await;
        assert_eq!(
            site.get(61, &[], unchanged(&[])).await.outcome,
            Some(Outcome::Revalidated),
            "{said}"
        );
    }
}

/// The second request of a stale answer, which has no client.
#[tokio::test]
async fn a_refresh_asks_the_origin_though_the_stale_answer_might_be_used() {
    let mut site = Site::new("cache: {stale_while_revalidate: 30s}");
    site.get(0, &[], validated("max-age=60")).await;
    site.world.now_unix_micros = NOW + 70 * SECOND;
    site.double.now.store(NOW + 70 * SECOND, Ordering::Relaxed);
    let (mut cx, mut carries) = (site.world.cx(), Carries::default());
    cx.cache.refresh = Some(Lead::new(Box::new(())));
    let mut asked = request("GET", "/a", &[]);
    let flow = site.chain.on_refresh(&mut cx, &mut asked, &mut carries).await;
    assert!(matches!(flow, Flow::Next(())));
    assert_eq!(asked.headers()["if-none-match"], "\"one\"");
    let mut response = unchanged(&[]);
    site.chain.on_response(&mut carries, &mut cx, &mut response).await;
    drop(cx);
    assert_eq!(site.get(71, &[], answer(500, &[], "")).await.outcome, Some(Outcome::Hit));
}

/// RFC 5861 §4; RFC 9111 §4.2.4: "A cache MUST NOT generate a stale response if it is prohibited by an
/// explicit in-protocol directive".
#[tokio::test]
async fn what_is_stale_stands_in_for_an_error_as_far_as_that_is_allowed() {
    let own = "cache: {stale_if_error: 30s}";
    for (policy, said, later, fields, is_excused) in [
        ("cache: {}", "max-age=60, stale-if-error=30", 80, &[][..], true),
        ("cache: {}", "max-age=60, stale-if-error=30", 90, &[], false),
        ("cache: {}", "s-maxage=60, stale-if-error=30", 80, &[], true),
        ("cache: {}", "max-age=60", 61, &[], false),
        (own, "max-age=60", 80, &[], true),
        (own, "max-age=60", 90, &[], false),
        (own, "max-age=60, stale-if-error=0", 61, &[], false),
        (own, "max-age=60, must-revalidate", 61, &[], false),
        (own, "max-age=60, proxy-revalidate", 61, &[], false),
        (own, "s-maxage=60", 61, &[], false),
        (own, "no-cache", 1, &[], false),
        (own, "max-age=60", 80, &[("cache-control", "max-age=70")], false),
        (own, "max-age=60", 80, &[("cache-control", "no-cache")], false),
    ] {
        for status in [500, 502, 503, 504] {
            let mut site = Site::new(policy);
            site.get(0, &[], validated(said)).await;
            let error = answer(status, &[("cache-control", "no-store")], "error");
            let call = site.get(later, fields, error).await;
            let expected = if is_excused { 200 } else { status };
            assert_eq!(call.status, expected, "{policy} {said} {later} {fields:?}");
            assert_eq!(call.outcome == Some(Outcome::Stale), is_excused);
        }
    }
    let mut site = Site::new(own);
    site.get(0, &[], validated("max-age=60")).await;
    let call = site.get(61, &[], answer(404, &[], "gone")).await;
    assert_eq!(call.status, 404);
    // Without a validator too.
    let mut site = Site::new(own);
    site.get(0, &[], control("max-age=60")).await;
    assert_eq!(site.get(61, &[], answer(503, &[], "")).await.body, b"first");
}

#[tokio::test]
async fn what_cannot_be_stored_lets_the_others_go_on() {
    let mut site = Site::new("cache: {}");
    site.double.gives_leads.store(true, Ordering::Relaxed);
    site.get(0, &[], control("no-store")).await;
    assert_eq!(site.double.passed.lock().unwrap().len(), 1);
    // An error may be over by the next request.
    let mut site = Site::new("cache: {}");
    site.double.gives_leads.store(true, Ordering::Relaxed);
    site.get(0, &[], answer(503, &[], "")).await;
    assert!(site.double.passed.lock().unwrap().is_empty());
}
