use super::*;

const PLAIN: &str = "cache: {heuristics: false}";

/// Whether a second request is answered from memory, so many seconds after the first.
async fn is_reused(policy: &str, first: Response<Body>, later: u64) -> bool {
    Site::new(policy).then(first, later, &[]).await == Some(Outcome::Hit)
}

/// RFC 9111 §4.2.1: "If the cache is shared and the s-maxage response directive is present, use its
/// value, or if the max-age response directive is present, use its value, or if the Expires response
/// header field is present, use its value minus the value of the Date response header field".
#[tokio::test]
async fn a_response_is_reused_for_its_lifetime_and_no_longer() {
    for (fields, lifetime) in [
        (&[("cache-control", "max-age=60")][..], 60),
        (&[("cache-control", "max-age=60, s-maxage=10")], 10),
        (&[("cache-control", "s-maxage=60, max-age=10")], 60),
        (&[("cache-control", "max-age=60"), ("expires", DATE)], 60),
        (&[("expires", "Tue, 14 Nov 2023 22:14:20 GMT")], 60),
        (&[("expires", "Tuesday, 14-Nov-23 22:14:20 GMT")], 60),
        (&[("expires", "Tue Nov 14 22:14:20 2023")], 60),
        (&[("cache-control", "max-age=60"), ("age", "50")], 10),
        (&[("cache-control", "MAX-AGE=60")], 60),
        (&[("cache-control", "max-age=\"60\"")], 60),
        (&[("cache-control", "max-age=0060, x=\"max-age=5\", y")], 60),
        (&[("cache-control", "public"), ("cache-control", "max-age=60")], 60),
        (&[("cache-control", "max-age=60"), ("age", "abc")], 60),
        (&[("cache-control", "max-age=60"), ("age", "0, 500")], 60),
        // RFC 9111 §1.2.2: what cannot be represented counts as 2^31.
        (&[("cache-control", "max-age=99999999999999999999")], 1 << 31),
        (&[("cdn-cache-control", "max-age=60"), ("cache-control", "no-store")], 60),
        (&[("cdn-cache-control", "max-age=60"), ("expires", DATE)], 60),
        (&[("cdn-cache-control", "max-age=60;x, y=(1 2)")], 60),
        // RFC 9213 §2.1: an invalid or empty field is as if it were not there.
        (&[("cdn-cache-control", "max-age=100a"), ("cache-control", "max-age=60")], 60),
        (&[("cdn-cache-control", "Max-Age=100"), ("cache-control", "max-age=60")], 60),
        (&[("cdn-cache-control", "max-age =100"), ("cache-control", "max-age=60")], 60),
        (&[("cdn-cache-control", ""), ("cache-control", "max-age=60")], 60),
    ] {
        let is_reused_at =
            async |later| is_reused(PLAIN, answer(200, fields, "first"), later).await;
        assert!(is_reused_at(lifetime - 1).await, "{fields:?}");
        assert!(!is_reused_at(lifetime).await, "{fields:?}");
    }
}

#[tokio::test]
async fn what_must_not_be_reused_is_not() {
    for fields in [
        &[][..],
        &[("cache-control", "no-store, max-age=60")],
        &[("cache-control", "max-age=60, NO-STORE")],
        &[("cache-control", "private, max-age=60")],
        &[("cache-control", "no-cache, max-age=60")],
        &[("cache-control", "no-cache=\"\", max-age=60")],
        // RFC 9111 §4.2.1: "Caches are encouraged to consider responses that have invalid freshness
        // information (e.g., a max-age directive with a non-integer value) to be stale."
        &[("cache-control", "max-age=-60")],
        &[("cache-control", "max-age=6.0")],
        &[("cache-control", "max-age=60a")],
        &[("cache-control", "max-age='60'")],
        &[("cache-control", "max-age =60")],
        &[("cache-control", "max-age= 60")],
        &[("cache-control", "max-age=60, max-age=0")],
        &[("cache-control", "max-age=0"), ("cache-control", "max-age=60")],
        &[("cache-control", "x=\"max-age=60\"")],
        &[("cache-control", "s-maxage=0, max-age=60")],
        // RFC 9111 §5.3: "especially including the value '0'".
        &[("expires", "0")],
        &[("expires", "Tue, 14 Nov 2023 22:13:20")],
        &[("expires", "Tue, 14 Nov 2023 22:14:20 GMT"), ("expires", "0")],
        &[("cache-control", "max-age=0"), ("expires", "Tue, 14 Nov 2023 22:14:20 GMT")],
        &[("cache-control", "max-age=60"), ("age", "60")],
        &[("cache-control", "max-age=60"), ("date", "Tue, 14 Nov 2023 22:12:00 GMT")],
        &[("cdn-cache-control", "no-store"), ("cache-control", "max-age=60")],
        &[("cdn-cache-control", "private"), ("cache-control", "max-age=60")],
        &[("cdn-cache-control", "no-cache"), ("cache-control", "max-age=60")],
        &[("cdn-cache-control", "max-age=0"), ("cache-control", "max-age=60")],
        &[("cdn-cache-control", "max-age=-1"), ("cache-control", "max-age=60")],
        &[("cache-control", "max-age=60"), ("set-cookie", "a=1")],
        &[("cache-control", "max-age=60"), ("vary", "*")],
        &[("cache-control", "max-age=60"), ("vary", "accept, *")],
        &[("cache-control", "max-age=60"), ("vary", "accept"), ("vary", "*")],
        &[("cache-control", "max-age=60"), ("vary", "x-forwarded-for")],
    ] {
        assert!(!is_reused(PLAIN, answer(200, fields, "first"), 1).await, "{fields:?}");
    }
}

/// RFC 9111 §3: a final status, understood where `must-understand` says so. RFC 9110 §15.1: which
/// may be stored without a word.
#[tokio::test]
async fn statuses_are_stored_by_what_is_said_of_them() {
    let modified = ("last-modified", "Tue, 07 Nov 2023 22:13:20 GMT");
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        assert!(is_reused("cache: {}", answer(status, &[modified], ""), 60).await, "{status}");
        assert!(!is_reused(PLAIN, answer(status, &[modified], ""), 60).await, "{status}");
    }
    for status in [201, 202, 299, 302, 303, 307, 400, 403, 418, 429, 500, 502, 503, 504, 599] {
        assert!(!is_reused("cache: {}", answer(status, &[modified], ""), 60).await, "{status}");
        let explicit = answer(status, &[("cache-control", "max-age=60")], "");
        assert!(is_reused(PLAIN, explicit, 30).await, "{status}");
    }
    for status in [206, 304] {
        let explicit = answer(status, &[("cache-control", "max-age=60")], "");
        assert!(!is_reused(PLAIN, explicit, 30).await, "{status}");
    }
    let must = "max-age=60, no-store, must-understand";
    assert!(is_reused(PLAIN, control(must), 30).await);
    let unknown = answer(599, &[("cache-control", "max-age=60, must-understand")], "");
    assert!(!is_reused(PLAIN, unknown, 30).await);
}

/// RFC 9111 §4.2.2: "A typical setting of this fraction might be 10%."
#[tokio::test]
async fn a_lifetime_is_guessed_from_the_last_change_within_a_day() {
    for (modified, lifetime) in [
        ("Tue, 14 Nov 2023 22:03:20 GMT", 60),
        ("Mon, 14 Nov 2022 22:13:20 GMT", 86_400),
        ("Sun, 01 Jan 1950 00:00:00 GMT", 0),
        (DATE, 0),
    ] {
        let first = || answer(200, &[("last-modified", modified)], "first");
        assert!(!is_reused("cache: {}", first(), lifetime).await, "{modified}");
        if lifetime > 0 {
            assert!(is_reused("cache: {}", first(), lifetime - 1).await, "{modified}");
        }
    }
    let said = [("last-modified", "Mon, 14 Nov 2022 22:13:20 GMT"), ("cache-control", "max-age=1")];
    assert!(!is_reused("cache: {}", answer(200, &said, "first"), 5).await);
}

#[tokio::test]
async fn the_operators_lifetimes_are_for_plain_answers_and_do_not_undo_what_forbids() {
    let (own, default) = ("cache: {ttl: 60s}", "cache: {default_ttl: 60s}");
    assert!(is_reused(own, answer(200, &[], "first"), 59).await);
    assert!(is_reused(own, control("max-age=1"), 59).await);
    assert!(!is_reused(own, control("max-age=600"), 60).await);
    assert!(is_reused(default, answer(200, &[], "first"), 59).await);
    assert!(!is_reused(default, control("max-age=1"), 2).await);
    for policy in [own, default] {
        assert!(!is_reused(policy, answer(404, &[], "first"), 1).await);
        assert!(!is_reused(policy, answer(500, &[], "first"), 1).await);
        for forbids in ["no-store", "private", "no-cache"] {
            assert!(!is_reused(policy, control(forbids), 1).await, "{policy} {forbids}");
        }
        let cookie = answer(200, &[("set-cookie", "a=1")], "first");
        assert!(!is_reused(policy, cookie, 1).await);
    }
}

/// RFC 9111 §4.2.3 and §5.1.
#[tokio::test]
async fn the_age_grows_while_it_is_stored_and_starts_where_it_came() {
    let mut site = Site::new("cache: {}");
    let first = answer(200, &[("cache-control", "max-age=600"), ("age", "20")], "first");
    assert_eq!(site.get(0, &[], first).await.field("age"), "20");
    let hit = site.get(30, &[], answer(500, &[], "")).await;
    assert_eq!((hit.field("age"), hit.body.as_slice()), ("50", &b"first"[..]));
    assert_eq!(hit.field("cache-status"), "tollgate; hit; ttl=550");
    assert_eq!(hit.field("content-length"), "5");
    let mut site = Site::new("cache: {cache_status: false}");
    let old = answer(
        200,
        &[("cache-control", "max-age=600"), ("date", "Tue, 14 Nov 2023 22:12:20 GMT")],
        "",
    );
    site.get(0, &[], old).await;
    let hit = site.get(30, &[], answer(500, &[], "")).await;
    assert_eq!((hit.field("age"), hit.field("cache-status")), ("90", ""));
}

/// RFC 9111 §3.1, §5.2.2.4, §5.2.2.7.
#[tokio::test]
async fn fields_that_are_not_for_the_cache_are_not_in_it() {
    let mut site = Site::new("cache: {}");
    let fields = [
        ("cache-control", "max-age=60, no-cache=\"Set-Cookie, x-a\", private=x-b"),
        ("set-cookie", "a=1"),
        ("x-a", "1"),
        ("x-b", "1"),
        ("x-c", "1"),
        ("x-request-id", "r"),
    ];
    let first = site.get(0, &[], answer(200, &fields, "first")).await;
    assert_eq!((first.field("x-a"), first.field("set-cookie")), ("1", "a=1"));
    let hit = site.get(1, &[], answer(500, &[], "")).await;
    assert_eq!(hit.outcome, Some(Outcome::Hit));
    let held = ["set-cookie", "x-a", "x-b", "x-c", "x-request-id"].map(|name| hit.field(name));
    assert_eq!(held, ["", "", "", "1", ""]);
}

#[tokio::test]
async fn bodies_beyond_the_bound_are_not_stored_and_nobody_waits_for_them() {
    let mut site = Site::new("cache: {max_body: 4B}");
    assert_ne!(site.then(control("max-age=60"), 1, &[]).await, Some(Outcome::Hit));
    assert_eq!(site.double.passed.lock().unwrap().len(), 1);
    let fit = answer(200, &[("cache-control", "max-age=60")], "four");
    assert_eq!(Site::new("cache: {max_body: 4B}").then(fit, 1, &[]).await, Some(Outcome::Hit));
}

proptest! {
    /// RFC 9111 §4.2.4, RFC 5861: nothing is used beyond its freshness and the staleness that was allowed.
    #[test]
    fn nothing_is_served_beyond_freshness_and_allowed_staleness(
        max_age in prop::option::of(0_u64..100),
        s_maxage in prop::option::of(0_u64..100),
        while_revalidating in prop::option::of(0_u64..100),
        flag in prop::sample::select(vec!["", ", no-cache", ", must-revalidate", ", proxy-revalidate", ", private", ", no-store"]),
        age in 0_u64..50,
        max_stale in prop::option::of(0_u64..100),
        own in prop::option::of(1_u64..100),
        later in 0_u64..400,
    ) {
        let mut said = String::from("x=1");
        for (name, value) in [("max-age", max_age), ("s-maxage", s_maxage), ("stale-while-revalidate", while_revalidating)] {
            if let Some(value) = value {
                said.push_str(&format!(", {name}={value}"));
            }
        }
        said.push_str(flag);
        let policy = own.map_or_else(|| "cache: {}".to_owned(), |own| format!("cache: {{stale_while_revalidate: {own}s}}"));
        let asks = max_stale.map(|stale| format!("max-stale={stale}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let outcome = runtime.block_on(async {
            let mut site = Site::new(&policy);
            let first = answer(200, &[("cache-control", &said), ("age", &age.to_string())], "first");
            let fields: Vec<(&str, &str)> = asks.iter().map(|asks| ("cache-control", &**asks)).collect();
            site.then(first, later, &fields).await
        });
        let lifetime = s_maxage.or(max_age).unwrap_or(0);
        let may_be_stale = flag.is_empty() && s_maxage.is_none();
        let window = if flag.is_empty() {
            let default = if s_maxage.is_none() { own.unwrap_or(0) } else { 0 };
            while_revalidating.unwrap_or(default)
        } else {
            0
        };
        let taken = if may_be_stale { max_stale.unwrap_or(0) } else { 0 };
        let is_used = matches!(outcome, Some(Outcome::Hit | Outcome::Stale));
        prop_assert!(!is_used || age + later <= lifetime + window.max(taken));
        prop_assert!(!(is_used && [", no-cache", ", private", ", no-store"].contains(&flag)));
        if outcome == Some(Outcome::Hit) {
            prop_assert!(age + later < lifetime);
        }
    }
}
