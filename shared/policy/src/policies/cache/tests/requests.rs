use super::*;

const MODIFIED: &str = "Tue, 14 Nov 2023 20:00:00 GMT";

/// A response that is fresh for a minute, with validators.
fn validated() -> Response<Body> {
    let fields = [
        ("cache-control", "max-age=60"),
        ("etag", "\"one\""),
        ("last-modified", MODIFIED),
        ("content-type", "text/plain"),
    ];
    answer(200, &fields, "0123456789")
}

/// RFC 9111 §5.2.1 and §5.4.
#[tokio::test]
async fn what_a_request_asks_of_caches_counts() {
    for (first, later, fields, expected) in [
        ("max-age=60", 10, &[("cache-control", "max-age=20")][..], Outcome::Hit),
        ("max-age=60", 10, &[("cache-control", "max-age=5")], Outcome::Miss),
        ("max-age=60", 10, &[("cache-control", "max-age=0")], Outcome::Miss),
        ("max-age=60", 10, &[("cache-control", "max-age=x")], Outcome::Miss),
        ("max-age=60", 10, &[("cache-control", "min-fresh=20")], Outcome::Hit),
        ("max-age=60", 10, &[("cache-control", "min-fresh=55")], Outcome::Miss),
        ("max-age=60", 70, &[("cache-control", "max-stale")], Outcome::Stale),
        ("max-age=60", 70, &[("cache-control", "max-stale=20")], Outcome::Stale),
        ("max-age=60", 70, &[("cache-control", "max-stale=5")], Outcome::Miss),
        ("max-age=60", 70, &[("cache-control", "max-stale=x")], Outcome::Miss),
        ("max-age=60, must-revalidate", 70, &[("cache-control", "max-stale")], Outcome::Miss),
        ("max-age=60, proxy-revalidate", 70, &[("cache-control", "max-stale")], Outcome::Miss),
        ("s-maxage=60", 70, &[("cache-control", "max-stale")], Outcome::Miss),
        ("max-age=60", 10, &[("cache-control", "No-Cache")], Outcome::Miss),
        ("max-age=60", 10, &[("pragma", "x, no-cache")], Outcome::Miss),
        ("max-age=60", 10, &[("pragma", "no-cache"), ("cache-control", "x")], Outcome::Hit),
        ("max-age=60", 10, &[("cache-control", "only-if-cached")], Outcome::Hit),
    ] {
        let outcome = Site::new("cache: {}").then(control(first), later, fields).await;
        assert_eq!(outcome, Some(expected), "{first} {fields:?}");
        let ignoring = "cache: {client_directives: ignore}";
        let outcome = Site::new(ignoring).then(control(first), later, fields).await;
        let expected = if later < 60 { Outcome::Hit } else { Outcome::Miss };
        assert_eq!(outcome, Some(expected), "ignored: {first} {fields:?}");
    }
}

#[tokio::test]
async fn what_a_request_does_not_want_stored_is_not() {
    let mut site = Site::new("cache: {}");
    site.get(0, &[("cache-control", "no-store")], control("max-age=60")).await;
    assert_eq!(site.get(1, &[], control("max-age=60")).await.outcome, Some(Outcome::Miss));
    let hit = site.get(2, &[("cache-control", "no-store")], control("")).await;
    assert_eq!(hit.outcome, Some(Outcome::Hit));
}

/// RFC 9111 §5.2.1.7: "or respond with a 504 (Gateway Timeout) status code".
#[tokio::test]
async fn only_what_is_cached_is_served_where_a_request_wants_that() {
    let mut site = Site::new("cache: {}");
    let only = [("cache-control", "only-if-cached")];
    let refused = site.get(0, &only, control("")).await;
    assert_eq!((refused.status, refused.refusal), (504, Some("not_cached")));
    site.get(0, &[], control("max-age=60")).await;
    assert_eq!(site.get(61, &only, control("")).await.refusal, Some("not_cached"));
}

/// RFC 9110 §13.1.2, §13.1.3, §13.2.2; RFC 9111 §4.3.2.
#[tokio::test]
async fn a_client_that_holds_what_is_stored_gets_304() {
    for (fields, status) in [
        (&[("if-none-match", "\"one\"")][..], 304),
        (&[("if-none-match", "W/\"one\"")], 304),
        (&[("if-none-match", "\"zero\", \"one\"")], 304),
        (&[("if-none-match", "\"one\" , \"two\"")], 304),
        (&[("if-none-match", "\"ze,ro\"")], 200),
        (&[("if-none-match", "\"a,\\\"one\\\"\"")], 200),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "one")], 200),
        (&[("if-none-match", "\"zero\"")], 200),
        (&[("if-none-match", "\"zero\""), ("if-none-match", "\"one\"")], 304),
        (&[("if-none-match", "\"zero\""), ("if-modified-since", DATE)], 200),
        (&[("if-modified-since", MODIFIED)], 304),
        (&[("if-modified-since", DATE)], 304),
        (&[("if-modified-since", "Tuesday, 14-Nov-23 20:00:00 GMT")], 304),
        (&[("if-modified-since", "Tue, 14 Nov 2023 19:59:59 GMT")], 200),
        (&[("if-modified-since", "yesterday")], 200),
    ] {
        let mut site = Site::new("cache: {}");
        site.get(0, &[], validated()).await;
        let call = site.get(10, fields, answer(500, &[], "")).await;
        assert_eq!((call.status, call.outcome), (status, Some(Outcome::Hit)), "{fields:?}");
        assert_eq!(call.body.is_empty(), status == 304, "{fields:?}");
        assert_eq!(call.field("etag"), "\"one\"");
        assert_eq!(call.field("age"), "10");
        let about_content = call.headers.contains_key("content-type")
            || call.headers.contains_key("content-length");
        assert_eq!(about_content, status == 200, "{fields:?}");
    }
    // Only of a 200.
    let mut site = Site::new("cache: {}");
    let missing = answer(404, &[("cache-control", "max-age=60"), ("etag", "\"one\"")], "none");
    site.get(0, &[], missing).await;
    assert_eq!(site.get(1, &[("if-none-match", "*")], control("")).await.status, 404);
}

/// RFC 9110 §14.2, §13.1.5.
#[tokio::test]
async fn a_part_is_taken_of_what_is_stored_whole() {
    for (fields, status, range, body) in [
        (&[("range", "bytes=2-4")][..], 206, "bytes 2-4/10", "234"),
        (&[("range", "bytes=5-")], 206, "bytes 5-9/10", "56789"),
        (&[("range", "bytes=-3")], 206, "bytes 7-9/10", "789"),
        (&[("range", "bytes=-30")], 206, "bytes 0-9/10", "0123456789"),
        (&[("range", "bytes=8-99")], 206, "bytes 8-9/10", "89"),
        (&[("range", "Bytes=0-0")], 206, "bytes 0-0/10", "0"),
        (&[("range", "bytes=10-")], 416, "bytes */10", ""),
        (&[("range", "bytes=-0")], 416, "bytes */10", ""),
        (&[("range", "bytes=99999999999999999999999-")], 416, "bytes */10", ""),
        (&[("range", "bytes=4-2")], 200, "", "0123456789"),
        (&[("range", "bytes=0-1,4-5")], 200, "", "0123456789"),
        (&[("range", "bytes=")], 200, "", "0123456789"),
        (&[("range", "bytes=-")], 200, "", "0123456789"),
        (&[("range", "bytes=+1-2")], 200, "", "0123456789"),
        (&[("range", "lines=1-2")], 200, "", "0123456789"),
        (&[("range", "bytes=0-1"), ("range", "bytes=2-3")], 200, "", "0123456789"),
        (&[("range", "bytes=2-4"), ("if-range", "\"one\"")], 206, "bytes 2-4/10", "234"),
        (&[("range", "bytes=2-4"), ("if-range", "W/\"one\"")], 200, "", "0123456789"),
        (&[("range", "bytes=2-4"), ("if-range", "\"two\"")], 200, "", "0123456789"),
        (&[("range", "bytes=2-4"), ("if-range", MODIFIED)], 206, "bytes 2-4/10", "234"),
        (&[("range", "bytes=2-4"), ("if-range", DATE)], 200, "", "0123456789"),
        (&[("range", "bytes=2-4"), ("if-none-match", "\"one\"")], 304, "", ""),
    ] {
        let mut site = Site::new("cache: {}");
        site.get(0, &[], validated()).await;
        let call = site.get(10, fields, answer(500, &[], "")).await;
        let told = (call.status, call.field("content-range"), call.body.as_slice());
        assert_eq!(told, (status, range, body.as_bytes()), "{fields:?}");
        if status != 304 {
            assert_eq!(call.field("content-length"), body.len().to_string(), "{fields:?}");
        }
    }
}

#[tokio::test]
async fn what_is_asked_for_in_part_or_on_a_condition_is_not_stored_as_the_whole() {
    let mut site = Site::new("cache: {}");
    let part =
        answer(206, &[("cache-control", "max-age=60"), ("content-range", "bytes 0-1/10")], "01");
    let call = site.get(0, &[("range", "bytes=0-1")], part).await;
    assert_eq!((call.status, call.sent("range")), (206, "bytes=0-1"));
    let unchanged = answer(304, &[("cache-control", "max-age=60"), ("etag", "\"x\"")], "");
    let call = site.get(1, &[("if-none-match", "\"x\"")], unchanged).await;
    assert_eq!((call.status, call.sent("if-none-match")), (304, "\"x\""));
    assert_eq!(site.get(2, &[], validated()).await.outcome, Some(Outcome::Miss));
}

/// RFC 9110 §9.3.2, RFC 9111 §4.3.5.
#[tokio::test]
async fn head_is_answered_by_what_a_get_stored_and_teaches_of_it() {
    let mut site = Site::new("cache: {}");
    let head = |fields: Fields<'_>| request("HEAD", "/a", fields);
    let first = site.call(0, head(&[]), answer(200, &[("cache-control", "max-age=60")], "")).await;
    assert_eq!(first.outcome, Some(Outcome::Miss));
    assert_eq!(site.get(1, &[], validated()).await.outcome, Some(Outcome::Miss));
    let hit = site.call(2, head(&[]), answer(500, &[], "")).await;
    assert_eq!((hit.outcome, hit.body.len()), (Some(Outcome::Hit), 0));
    assert_eq!(hit.field("content-length"), "10");
    // Stale: the answer to HEAD makes what is stored fresh again.
    let fields = [("cache-control", "max-age=60"), ("etag", "\"one\""), ("x-new", "1")];
    let mut fresh = answer(200, &fields, "");
    fresh.headers_mut().remove("date");
    site.call(70, head(&[]), fresh).await;
    let hit = site.get(71, &[], answer(500, &[], "")).await;
    assert_eq!((hit.outcome, hit.field("x-new"), hit.body.len()), (Some(Outcome::Hit), "1", 10));
    // Changed: what is stored is not used any more.
    let changed = answer(200, &[("etag", "\"two\"")], "");
    site.call(140, head(&[]), changed).await;
    let call = site.get(141, &[], validated()).await;
    assert_eq!((call.outcome, call.sent("if-none-match")), (Some(Outcome::Miss), ""));
}
