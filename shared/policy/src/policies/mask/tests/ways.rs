use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// What becomes of a text.
async fn plain(rule: &str, body: &str) -> String {
    text(&format!("rules: [{rule}]"), "text/plain", body).await.unwrap()
}

const KEY: &str = "{key: {secret: pseudonyms}}";

#[tokio::test]
async fn every_kind_keeps_what_helps_to_know_it_again() {
    for (rule, body, expected) in [
        ("{kind: card}", "a 4111 1111-1111 1111.", "a **** ****-**** 1111."),
        ("{kind: card, partial: {}}", "4111111111111111", "************1111"),
        ("{kind: card, partial: {first: 6, last: 4}}", "4111111111111111", "411111******1111"),
        // Five hidden digits could be tried.
        ("{kind: card, partial: {first: 6, last: 4}}", "378282246310005", "***********0005"),
        ("{kind: card, partial: {first: 6}}", "4111111111111111", "411111**********"),
        ("{kind: iban}", "DE89 3704 0044 0532 0130 00", "DE** **** **** **** **30 00"),
        ("{kind: phone}", "+49 (0)30 123456", "+** (*)** ****56"),
        ("{kind: email}", "joe.doe@example.com", "j**.***@example.com"),
        ("{kind: email}", "j@example.com", "*@example.com"),
        ("{kind: email}", "joe%40example.com", "j**%40example.com"),
        ("{kind: email, partial: {last: 1}}", "joe@example.com", "**e@example.com"),
        ("{kind: ip}", "192.0.2.1 or 2001:db8::1", "***.*.*.* or ****:***::*"),
        ("{kind: ip, partial: {first: 4}}", "192.0.2.1", "192.0.*.*"),
    ] {
        assert_eq!(plain(rule, body).await, expected, "{rule}");
    }
}

#[tokio::test]
async fn words_and_expressions_are_hidden_whole_but_for_what_may_stay() {
    for (rule, body, expected) in [
        ("{keywords: [jane doe]}", "Jane Doe, Janet", "********, Janet"),
        ("{keywords: [jane], partial: {first: 1}}", "Jane", "J***"),
        ("{keywords: [jane], partial: {first: 4}}", "Jane", "****"),
        ("{keywords: [jane], partial: {first: 2, last: 64}}", "Jane", "****"),
        ("{regex: 'EMP-[0-9]{2,}', partial: {last: 2}}", "EMP-1234!", "******34!"),
        ("{regex: 'é+', replace: '[$1]'}", "été", "[$1]t[$1]"),
        ("{keywords: [jane], replace: ''}", "a jane b", "a  b"),
    ] {
        assert_eq!(plain(rule, body).await, expected, "{rule}");
    }
}

#[tokio::test]
async fn a_hash_is_the_same_for_the_same_value_under_the_same_key() {
    let rule = format!("{{kind: card, hash: {KEY}}}");
    let hash = plain(&rule, "4111 1111 1111 1111").await;
    assert_eq!(hash, plain(&rule, "4111111111111111").await);
    // printf 4111111111111111 | openssl dgst -sha256 -hmac 'a key of sixteen bytes or more'
    let key =
        aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"a key of sixteen bytes or more");
    let tag = aws_lc_rs::hmac::sign(&key, b"4111111111111111");
    let expected: String = tag.as_ref()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, expected);
    assert_ne!(hash, plain(&rule, "5500000000000004").await);
    let mut other = world();
    let key = SecretText::new("another key of sixteen bytes".to_owned());
    other.secrets.insert((name("default"), name("pseudonyms")), key);
    let chain = chain(&[&format!("mask: {{rules: [{rule}]}}")]);
    let mut answer = through(&other, &chain, answer("text/plain", CARD)).await;
    assert_ne!(outcome(&mut answer).unwrap(), hash);
    let rule = format!("{{kind: email, hash: {KEY}}}");
    assert_eq!(plain(&rule, "Joe@Example.com").await, plain(&rule, "joe%40example.com").await);
}

#[tokio::test]
async fn without_its_key_nothing_is_shown() {
    for value in [None, Some("fifteen bytes..")] {
        let mut world = World::default();
        if let Some(value) = value {
            let secret = SecretText::new(value.to_owned());
            world.secrets.insert((name("default"), name("pseudonyms")), secret);
        }
        for way in ["hash", "shuffle"] {
            let chain = chain(&[&format!("mask: {{rules: [{{kind: card, {way}: {KEY}}}]}}")]);
            let mut refused = through(&world, &chain, answer("text/plain", CARD)).await;
            assert_eq!(outcome(&mut refused), Err((503, "masking_unavailable")));
        }
    }
}

#[tokio::test]
async fn shuffled_characters_keep_their_class_and_their_order_follows_from_the_value() {
    let rule = format!("{{regex: '\\S.*', shuffle: {KEY}}}");
    let value = "Joe Doe-1234567, GERMANY é";
    let shuffled = plain(&rule, value).await;
    assert_eq!(shuffled, plain(&rule, value).await);
    assert_ne!(shuffled, value);
    let class = |c: char| (c.is_numeric(), c.is_uppercase(), c.is_alphabetic());
    let classes = |text: &str| text.chars().map(class).collect::<Vec<_>>();
    assert_eq!(classes(&shuffled), classes(value));
    let sorted = |text: &str| {
        let mut characters: Vec<char> = text.chars().collect();
        characters.sort_unstable();
        characters
    };
    assert_eq!(sorted(&shuffled), sorted(value));
    // What cannot become another is hidden.
    assert_eq!(plain(&rule, "aaa 1").await, "*****");
    let orders: HashSet<String> = {
        let mut orders = HashSet::new();
        for suffix in "bcdefghijk".chars() {
            let order = plain(&rule, &format!("12345678{suffix}")).await;
            orders.insert(order[..8].to_owned());
        }
        orders
    };
    assert!(orders.len() > 5, "another value, another order: {orders:?}");
}

#[tokio::test]
async fn of_two_rules_that_find_the_same_the_first_replaces_it_and_none_shows_the_rest() {
    let rules =
        "rules: [{kind: email}, {regex: 'name=.*', replace: X}, {keywords: [joe], replace: Y}]";
    let body = "joe: name=Joe <joe@example.com>, of the board\njoe";
    let expected = "Y: Xj**@example.comX\nY";
    assert_eq!(text(rules, "text/plain", body).await.unwrap(), expected);
    // What a later rule finds it finds in what came, not in what an earlier one has written.
    let rules = "rules: [{keywords: [a], replace: b}, {keywords: [b], replace: c}]";
    assert_eq!(text(rules, "text/plain", "a b").await.unwrap(), "b c");
    // A word that is part of a number does not keep the number from being found.
    let rules = "rules: [{keywords: ['4111'], replace: '#'}, {kind: card}]";
    assert_eq!(text(rules, "text/plain", CARD).await.unwrap(), "#***************");
}

#[tokio::test]
async fn markup_stays_markup_and_forms_stay_forms() {
    let rules = "rules: [{keywords: [jane], replace: '<&\">'}, {kind: email}]";
    for media_type in ["text/html", "application/xml", "image/svg+xml; charset=UTF-8"] {
        let masked = text(rules, media_type, "<a b='joe@x.org'>Jane</a>").await.unwrap();
        assert_eq!(masked, "<a b='j**@x.org'>&lt;&amp;&quot;&gt;</a>", "{media_type}");
    }
    assert_eq!(text(rules, "text/css", "jane").await.unwrap(), "<&\">");
    let form = "a=joe%40x.org+and+more&jane&b=jane&c=%e4%b8%80&&d=";
    let expected = "a=j%2A%2A%40x.org%20and%20more&%3C%26%22%3E&b=%3C%26%22%3E&c=%e4%b8%80&&d=";
    let media_type = "application/x-www-form-urlencoded";
    assert_eq!(text(rules, media_type, form).await.unwrap(), expected);
    let refused = text(rules, media_type, "a=%e4").await;
    assert_eq!(refused, Err((502, "unsupported_response_charset")));
}

/// Digits with the right last one, in groups of four or together.
pub(super) fn card() -> impl Strategy<Value = String> {
    let separator = prop_oneof![Just(""), Just(" "), Just("-"), Just("\u{a0}")];
    (2..10_u32, proptest::collection::vec(0..10_u32, 14), separator).prop_map(
        |(first, rest, separator)| {
            let mut digits = vec![first];
            digits.extend(rest);
            // Luhn, with the last digit to come.
            let sum: u32 = digits
                .iter()
                .rev()
                .enumerate()
                .map(|(place, digit)| match digit * (2 - u32::try_from(place % 2).unwrap()) {
                    digit if digit > 9 => digit - 9,
                    digit => digit,
                })
                .sum();
            digits.push((10 - sum % 10) % 10);
            let text: Vec<String> = digits.iter().map(u32::to_string).collect();
            text.chunks(4).map(<[String]>::concat).collect::<Vec<_>>().join(separator)
        },
    )
}

proptest! {
    #[test]
    fn no_card_is_left_in_any_text(card in card(), before in "([^0-9a-zA-Z]|[0-9a-z]{0,6} )?", after in "( ?[ .,;:!<>&\"]\\PC{0,8})?") {
        // Nothing before or behind it makes a word or a fraction of it.
        prop_assume!(!before.ends_with(|c: char| c.is_alphanumeric() || c == '.'));
        prop_assume!(!after.starts_with(char::is_alphanumeric));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let body = format!("{before}{card}{after}");
        let masked = runtime.block_on(text("rules: [{kind: card}]", "text/plain", &body)).unwrap();
        prop_assert!(!masked.contains(&card), "{masked}");
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).count();
        prop_assert!(digits(&masked) + 12 <= digits(&body), "{masked}");
    }
}
