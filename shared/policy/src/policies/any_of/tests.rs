use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::{World, caller, chain, name, request};

const KEY: (&str, &str) = ("x-api-key", "sk-shop-0001");
const UNAUTHENTICATED: Option<(u16, &str)> = Some((401, "unauthenticated"));
const WAYS: &str = "any_of: [{api_key: {headers: [x-api-key]}}, {basic_auth: {realm: shop}}]";

fn world() -> World {
    World::default().with_caller(KEY.1, caller("by-key", "first")).with_login(
        "web",
        "correct horse",
        caller("by-password", "second"),
    )
}

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

#[tokio::test]
async fn each_way_tells_who_calls_and_the_first_comes_first() {
    let (chain, login) = (chain(&[WAYS]), basic("web:correct horse"));
    let login = ("authorization", login.as_str());
    for (fields, expected, left) in [
        (&[KEY][..], "by-key", None),
        (&[login], "by-password", None),
        // What is for the second way is not looked at, and is the upstream's.
        (&[login, KEY], "by-key", Some(login.1)),
    ] {
        let mut world = world();
        world.passwords.are_elsewhere = true;
        let met = world.exchange(&chain, request(fields)).await;
        assert_eq!(met.identity.as_ref().unwrap().application, name(expected));
        assert_eq!((met.sent("x-api-key"), met.sent("authorization")), (None, left));
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_whatever_else_is_sent() {
    let (chain, right, wrong) = (chain(&[WAYS]), basic("web:correct horse"), basic("web:wrong"));
    for (fields, challenge) in [
        (&[("x-api-key", "wrong-key"), ("authorization", right.as_str())][..], "Bearer"),
        (&[("authorization", wrong.as_str())], "Basic realm=\"shop\", charset=\"UTF-8\""),
    ] {
        let met = world().exchange(&chain, request(fields)).await;
        assert_eq!(met.refused(), UNAUTHENTICATED);
        assert_eq!(met.answered("www-authenticate"), [challenge]);
        assert!(!met.refusal.unwrap().lacks_credential);
    }
}

#[tokio::test]
async fn who_sends_nothing_is_told_of_every_way_once() {
    let ways =
        "any_of: [{api_key: {headers: [x-a]}}, {basic_auth: {}}, {api_key: {headers: [x-b]}}]";
    let met = world().exchange(&chain(&[ways]), request(&[])).await;
    assert_eq!(met.refused(), UNAUTHENTICATED);
    assert_eq!(
        met.answered("www-authenticate"),
        ["Bearer", "Basic realm=\"api\", charset=\"UTF-8\""]
    );
}

#[tokio::test]
async fn an_optional_way_takes_calls_for_which_nothing_was_sent() {
    let ways = "any_of: [{basic_auth: {}}, {api_key: {headers: [x-api-key], optional: true}}]";
    let met = world().exchange(&chain(&[ways]), request(&[])).await;
    assert!(met.refusal.is_none() && met.identity.is_none());
    let met = world().exchange(&chain(&[ways]), request(&[KEY])).await;
    assert_eq!(met.identity.as_ref().unwrap().application, name("by-key"));
}

#[tokio::test]
async fn a_callers_own_policies_run_whichever_way_he_came() {
    let own = chain(&["headers: {request: {set: {x-own: '1'}}}"]);
    let mut who = caller("by-key", "first");
    who.chain = Some(own.into());
    let world = World::default().with_caller(KEY.1, who);
    let met = world.exchange(&chain(&[WAYS]), request(&[KEY])).await;
    assert_eq!(met.sent("x-own"), Some("1"));
}

#[tokio::test]
async fn every_way_gives_way_where_nothing_was_sent_for_it() {
    let ways = "any_of: [{mtls_identity: {}}, {jwt: {secret: shared, algorithms: [HS256]}}, \
                {basic_auth: {}}, {api_key: {headers: [x-api-key]}}]";
    let met = world().exchange(&chain(&[ways]), request(&[KEY])).await;
    assert_eq!(met.identity.as_ref().unwrap().application, name("by-key"));
    let met = world().exchange(&chain(&[ways]), request(&[])).await;
    assert_eq!(met.refused(), UNAUTHENTICATED);
    assert_eq!(met.answered("www-authenticate").len(), 3);
}

#[tokio::test]
async fn no_caller_makes_up_what_a_way_that_is_not_taken_would_set() {
    let ways = "any_of: [{api_key: {headers: [x-api-key]}}, \
                {jwt: {secret: shared, algorithms: [HS256], claims_to_headers: {x-user: sub}}}]";
    let met = world().exchange(&chain(&[ways]), request(&[KEY, ("x-user", "admin")])).await;
    assert_eq!(met.identity.as_ref().unwrap().application, name("by-key"));
    assert_eq!(met.sent("x-user"), None);
    let met = world().exchange(&chain(&[ways]), request(&[("x-user", "admin")])).await;
    assert_eq!(met.refused(), UNAUTHENTICATED);
}
