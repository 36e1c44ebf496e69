use super::*;
use crate::stored::{api_group, tag_group};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

/// Stores `/a` with these fields, then purges a group; whether `/a` is still answered from memory.
async fn survives(fields: Fields<'_>, group: &Digest) -> bool {
    let mut site = Site::new("cache: {}");
    let mut all = vec![FRESH];
    all.extend_from_slice(fields);
    assert_eq!(site.get(0, &[], answer(200, &all, "first")).await.outcome, Some(Outcome::Miss));
    site.double.purge(group);
    site.get(1, &[], answer(200, &[], "second")).await.outcome == Some(Outcome::Hit)
}

#[tokio::test]
async fn a_response_goes_with_its_api_and_with_each_of_its_tags() {
    let own = World::default().route;
    let (tenant, api) = (own.tenant.as_str(), own.api.as_str());
    assert!(!survives(&[], &api_group(tenant, api)).await);
    assert!(survives(&[], &api_group(tenant, "another")).await);
    assert!(survives(&[], &api_group("another", api)).await);
    for (name, value) in [
        ("surrogate-key", "item-7  shop\tall"),
        ("cache-tag", "item-7,shop, all"),
        ("cache-groups", r#""item-7", "shop";x=1, "all""#),
    ] {
        for tag in ["item-7", "shop", "all"] {
            let group = tag_group(tenant, tag);
            assert!(!survives(&[(name, value)], &group).await, "{name} {tag}");
        }
        for group in
            [tag_group(tenant, "item"), tag_group("another", "shop"), tag_group(tenant, "")]
        {
            assert!(survives(&[(name, value)], &group).await, "{name}");
        }
    }
    // Not a list of strings (RFC 9875 §2), and not tags.
    for (name, value) in
        [("cache-groups", r#""shop", "#), ("cache-groups", "shop"), ("x-tag", "shop")]
    {
        assert!(survives(&[(name, value)], &tag_group(tenant, "shop")).await, "{name} {value}");
    }
}

#[tokio::test]
async fn tags_are_for_the_cache_and_cache_groups_for_all() {
    let tagged = || {
        let fields =
            [FRESH, ("surrogate-key", "a"), ("cache-tag", "b"), ("cache-groups", r#""c""#)];
        answer(200, &fields, "first")
    };
    let shown = |call: &Call| {
        ["surrogate-key", "cache-tag", "cache-groups"].map(|name| call.headers.contains_key(name))
    };
    let mut site = Site::new("cache: {}");
    assert_eq!(shown(&site.get(0, &[], tagged()).await), [false, false, true]);
    assert_eq!(shown(&site.get(1, &[], tagged()).await), [false, false, true]);
    let mut site = Site::new("cache: {forward_tags: true}");
    assert_eq!(shown(&site.get(0, &[], tagged()).await), [true; 3]);
    assert_eq!(shown(&site.get(1, &[], tagged()).await), [true; 3]);
}

#[tokio::test]
async fn what_the_origin_confirms_keeps_its_tags_unless_it_says_others() {
    for (said, tag, survives) in
        [(None, "a", false), (None, "b", true), (Some("b"), "a", true), (Some("b"), "b", false)]
    {
        let mut site = Site::new("cache: {}");
        let first = [FRESH, ("etag", "\"1\""), ("surrogate-key", "a")];
        site.get(0, &[], answer(200, &first, "first")).await;
        let mut confirmed = vec![("cache-control", "max-age=600"), ("etag", "\"1\"")];
        confirmed.extend(said.map(|tag| ("surrogate-key", tag)));
        let call = site.get(61, &[], answer(304, &confirmed, "")).await;
        assert_eq!(call.outcome, Some(Outcome::Revalidated));
        site.double.purge(&tag_group(site.world.route.tenant.as_str(), tag));
        let later = site.get(62, &[], answer(200, &[], "second")).await;
        assert_eq!(later.outcome == Some(Outcome::Hit), survives, "{said:?} {tag}");
    }
}

#[tokio::test]
async fn what_has_too_many_tags_is_not_stored() {
    for (count, is_stored) in [(256, true), (257, false)] {
        let tags: Vec<String> = (0..count).map(|i| format!("t{i}")).collect();
        let mut site = Site::new("cache: {}");
        let first = answer(200, &[FRESH, ("cache-tag", &tags.join(","))], "first");
        let outcome = site.then(first, 1, &[]).await;
        assert_eq!(outcome == Some(Outcome::Hit), is_stored, "{count}");
    }
}

#[tokio::test]
async fn an_unsafe_request_lets_the_groups_go_that_its_answer_names() {
    for (value, survives) in [(r#""a", "b""#, false), (r#""b""#, true), ("a", true)] {
        let mut site = Site::new("cache: {}");
        site.get(0, &[], answer(200, &[FRESH, ("cache-groups", r#""a""#)], "first")).await;
        let changed = answer(200, &[("cache-group-invalidation", value)], "");
        site.call(1, request("POST", "/other", &[]), changed).await;
        let outcome = site.get(2, &[], answer(200, &[], "second")).await.outcome;
        assert_eq!(outcome == Some(Outcome::Hit), survives, "{value}");
    }
    // One that failed has changed nothing.
    let mut site = Site::new("cache: {}");
    site.get(0, &[], answer(200, &[FRESH, ("cache-groups", r#""a""#)], "first")).await;
    let failed = answer(500, &[("cache-group-invalidation", r#""a""#)], "");
    site.call(1, request("POST", "/other", &[]), failed).await;
    assert_eq!(site.get(2, &[], answer(200, &[], "")).await.outcome, Some(Outcome::Hit));
}
