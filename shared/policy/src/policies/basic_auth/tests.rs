use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::support::{NOW, World, caller, chain, name, request};

const UNAUTHENTICATED: Option<(u16, &str)> = Some((401, "unauthenticated"));

fn world() -> World {
    World::default().with_login("web", "correct: horse", caller("web-shop", "first"))
}

fn field(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

#[tokio::test]
async fn a_username_and_its_password_tell_who_calls_and_go_no_further() {
    let pair = "web:correct: horse";
    for value in [
        field(pair),
        format!("bAsIc   {}", STANDARD.encode(pair)),
        format!("Basic {}", STANDARD_NO_PAD.encode(pair)),
    ] {
        for are_elsewhere in [false, true] {
            let mut world = world();
            world.passwords.are_elsewhere = are_elsewhere;
            let fields = [("authorization", value.as_str()), ("x-kept", "1")];
            let met = world.exchange(&chain(&["basic_auth: {}"]), request(&fields)).await;
            assert_eq!(met.identity.as_ref().unwrap().application, name("web-shop"), "{value}");
            assert_eq!((met.sent("authorization"), met.sent("x-kept")), (None, Some("1")));
        }
    }
}

#[tokio::test]
async fn characters_beyond_ascii_are_utf_8() {
    let world = World::default().with_login("jürgen", "pässwort€", caller("a", "b"));
    let chain = chain(&["basic_auth: {}"]);
    let met =
        world.exchange(&chain, request(&[("authorization", &field("jürgen:pässwort€"))])).await;
    assert_eq!(met.refused(), None);
    let latin1 = STANDARD.encode(b"j\xfcrgen:p\xe4sswort");
    let value = format!("Basic {latin1}");
    let met = world.exchange(&chain, request(&[("authorization", &value)])).await;
    assert_eq!(met.refused(), UNAUTHENTICATED);
}

#[tokio::test]
async fn wrong_ones_are_refused_and_an_unknown_username_costs_the_same_work() {
    let (world, chain) = (world(), chain(&["basic_auth: {realm: orders}"]));
    for pair in ["web:wrong password", "nobody:correct: horse", "web:", ":correct: horse"] {
        let met = world.exchange(&chain, request(&[("authorization", &field(pair))])).await;
        assert_eq!(met.refused(), UNAUTHENTICATED, "{pair}");
        assert_eq!(
            met.refusal.as_ref().unwrap().detail,
            "the username or the password is wrong",
            "{pair}"
        );
        assert!(!met.refusal.as_ref().unwrap().lacks_credential);
        assert_eq!(met.answered("www-authenticate"), ["Basic realm=\"orders\", charset=\"UTF-8\""]);
        assert_eq!(met.sent("authorization"), None);
    }
    assert_eq!(*world.passwords.asked.borrow(), ["web", "nobody", "web", ""]);
}

#[tokio::test]
async fn what_is_malformed_is_refused_unasked() {
    let (world, chain) = (world(), chain(&["basic_auth: {optional: true}"]));
    let long = field(&format!("web:{}", "a".repeat(600)));
    let much = format!("Basic {}", "A".repeat(60_000));
    for value in [
        "Basic !!!!",
        "Basic ",
        "Basic d2Vi",
        "Basic d2ViOgBhYWFhYWFhYQ==",
        "Basic =",
        &long,
        &much,
    ] {
        let met = world.exchange(&chain, request(&[("authorization", value)])).await;
        assert_eq!(met.refused(), UNAUTHENTICATED, "{value}");
    }
    let twice = field("web:correct: horse");
    let fields = [("authorization", twice.as_str()), ("authorization", twice.as_str())];
    assert_eq!(world.exchange(&chain, request(&fields)).await.refused(), UNAUTHENTICATED);
    assert!(world.passwords.asked.borrow().iter().all(|asked| asked == "web"));
    assert!(world.passwords.asked.borrow().len() <= 1, "the longest pair alone may be asked for");
}

#[tokio::test]
async fn none_at_all_is_refused_as_lacking_or_goes_on_where_that_is_allowed() {
    for fields in [&[][..], &[("authorization", "Bearer abc")], &[("authorization", "Basicweb")]] {
        let met = world().exchange(&chain(&["basic_auth: {}"]), request(fields)).await;
        assert_eq!(met.refused(), UNAUTHENTICATED);
        assert!(met.refusal.as_ref().unwrap().lacks_credential);
        assert_eq!(met.answered("www-authenticate"), ["Basic realm=\"api\", charset=\"UTF-8\""]);
        let met =
            world().exchange(&chain(&["basic_auth: {optional: true}"]), request(fields)).await;
        assert!(met.refusal.is_none() && met.identity.is_none());
        assert_eq!(met.sent("authorization"), fields.first().map(|field| field.1));
    }
}

#[tokio::test]
async fn a_credential_is_refused_once_it_expires_or_is_switched_off() {
    let now = i64::try_from(NOW).unwrap();
    for (end, is_disabled, expected) in [
        (None, false, None),
        (Some(now + 1), false, None),
        (Some(now), false, UNAUTHENTICATED),
        (None, true, UNAUTHENTICATED),
    ] {
        let mut caller = caller("web-shop", "first");
        (caller.expires_at_unix_micros, caller.is_disabled) = (end, is_disabled);
        let world = World::default().with_login("web", "pass-word", caller);
        let fields = [("authorization", field("web:pass-word"))];
        let fields = [(fields[0].0, fields[0].1.as_str())];
        let met = world.exchange(&chain(&["basic_auth: {}"]), request(&fields)).await;
        assert_eq!(met.refused(), expected);
    }
}

#[tokio::test]
async fn a_username_of_another_tenant_is_not_known() {
    let mut world = world();
    world.route.tenant = name("other");
    let fields = [("authorization", field("web:correct: horse"))];
    let fields = [(fields[0].0, fields[0].1.as_str())];
    let met = world.exchange(&chain(&["basic_auth: {}"]), request(&fields)).await;
    assert_eq!(met.refused(), UNAUTHENTICATED);
}

#[tokio::test]
async fn where_no_password_can_be_checked_the_call_is_refused_for_now() {
    let mut world = world();
    world.passwords.are_away = true;
    let value = field("web:correct: horse");
    let met =
        world.exchange(&chain(&["basic_auth: {}"]), request(&[("authorization", &value)])).await;
    assert_eq!(met.refused(), Some((503, "overloaded")));
    assert_eq!(met.answered("retry-after"), ["1"]);
}
