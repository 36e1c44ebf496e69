use proptest::prelude::*;

use super::*;
use crate::policies::mask::find::expression::{LONGEST, WINDOW};

/// What is found of a kind.
fn found(kind: Kind, text: &str) -> Vec<&str> {
    let mut finds = Finds::default();
    of_kind(kind, text, &mut finds).unwrap();
    finds.spans().iter().map(|span| &text[span.clone()]).collect()
}

/// Each text with what is found in it.
fn check(kind: Kind, cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        assert_eq!(found(kind, text), *expected, "{text}");
    }
}

const KINDS: [Kind; 5] = [Kind::Email, Kind::Phone, Kind::Card, Kind::Iban, Kind::Ip];

#[test]
fn cards_are_found_by_their_last_digit() {
    check(
        Kind::Card,
        &[
            ("4111111111111111", &["4111111111111111"]),
            ("pay 4111 1111 1111 1111.", &["4111 1111 1111 1111"]),
            ("4111-1111-1111-1111", &["4111-1111-1111-1111"]),
            ("4111\u{a0}1111\u{a0}1111\u{a0}1111", &["4111\u{a0}1111\u{a0}1111\u{a0}1111"]),
            ("3782 822463 10005", &["3782 822463 10005"]),
            ("4222222222222", &["4222222222222"]),
            ("6304000000000000000,", &["6304000000000000000"]),
            ("4111111111111111=2512101", &["4111111111111111"]),
            ("card_4111111111111111", &["4111111111111111"]),
            ("-4111111111111111.0", &["4111111111111111"]),
            ("12 4111111111111111 7", &["4111111111111111"]),
            ("4111111111111111 5500000000000004", &["4111111111111111", "5500000000000004"]),
            // Of another length or with a wrong digit.
            ("4111111111111112", &[]),
            ("411111111117", &[]),
            ("41111111111111111115", &[]),
            // Joined to a word, a fraction, in too small groups, or with two spaces.
            ("x4111111111111111", &[]),
            ("4111111111111111x", &[]),
            ("0.4111111111111111", &[]),
            ("41 11 11 11 11 11 11 11", &[]),
            ("4111  1111 1111 1111", &[]),
            // A time in milliseconds and what no issuer has, with the right digit.
            ("1700000000004", &[]),
            ("0000000000000", &[]),
            ("135412345678911", &["135412345678911"]),
        ],
    );
}

#[test]
fn of_numbers_that_share_digits_all_are_found() {
    // The first four groups are one, and so are the last four.
    let text = "5555 5555 5555 4444 0002";
    assert_eq!(found(Kind::Card, text), [text]);
    assert_eq!(found(Kind::Card, &text[5..]), [&text[5..]]);
    // What is behind a number and no part of one stays.
    let text = "5500 0000 0000 0004 0000 0000 0000 0000";
    assert_eq!(found(Kind::Card, text), ["5500 0000 0000 0004"]);
}

#[test]
fn accounts_are_found_by_length_and_check_digits() {
    check(
        Kind::Iban,
        &[
            ("DE89370400440532013000", &["DE89370400440532013000"]),
            ("DE89 3704 0044 0532 0130 00 and so on", &["DE89 3704 0044 0532 0130 00"]),
            ("de89370400440532013000;", &["de89370400440532013000"]),
            ("GB29-NWBK-6016-1331-9268-19", &["GB29-NWBK-6016-1331-9268-19"]),
            ("(FR1420041010050500013M02606)", &["FR1420041010050500013M02606"]),
            ("NO9386011117947", &["NO9386011117947"]),
            ("MT84MALT011000012345MTLCAST001S", &["MT84MALT011000012345MTLCAST001S"]),
            ("XK051212012345678906", &["XK051212012345678906"]),
            ("DE88370400440532013000", &[]),
            ("DE8937040044053201300", &[]),
            ("DE893704004405320130001", &[]),
            ("XDE89370400440532013000", &[]),
            ("DE89  3704 0044 0532 0130 00", &[]),
            ("AB12 is none", &[]),
        ],
    );
}

#[test]
fn addresses_of_mail_are_found_with_their_domain() {
    check(
        Kind::Email,
        &[
            ("joe@example.com", &["joe@example.com"]),
            ("<Joe.O'Neil+x@sub.example.co.uk>", &["Joe.O'Neil+x@sub.example.co.uk"]),
            ("mail 'joe@example.com'.", &["joe@example.com"]),
            ("mailto:joe%40example.com?x", &["joe%40example.com"]),
            ("?email=joe@example.com&b", &["joe@example.com"]),
            ("jürgen@müller.de, 用户@例子.广告", &["jürgen@müller.de", "用户@例子.广告"]),
            ("joe@xn--mller-kva.xn--p1ai", &["joe@xn--mller-kva.xn--p1ai"]),
            ("joe@example.com.", &["joe@example.com"]),
            ("joe@example.com.5", &["joe@example.com"]),
            ("a@b.de,c@d.de", &["a@b.de", "c@d.de"]),
            ("a@b.com@c.com", &["a@b.com@c.com"]),
            ("joe@localhost", &[]),
            ("@example.com", &[]),
            ("joe@ example.com", &[]),
            ("joe@1.2", &[]),
            ("joe@.com", &[]),
            ("50%4017", &[]),
        ],
    );
    let long = format!("{}@{}.com", "a".repeat(300), "b.".repeat(100));
    assert_eq!(found(Kind::Email, &long).len(), 1);
}

#[test]
fn telephone_numbers_are_found_in_these_forms() {
    check(
        Kind::Phone,
        &[
            ("+4930123456", &["+4930123456"]),
            ("call +49 (0)30 123-456!", &["+49 (0)30 123-456"]),
            ("+1 (415) 555-2671", &["+1 (415) 555-2671"]),
            ("(+44 20 7946 0958)", &["(+44 20 7946 0958"]),
            ("+886.2.1234.5678", &["+886.2.1234.5678"]),
            ("0049 30 123456", &["0049 30 123456"]),
            ("(415) 555-2671", &["(415) 555-2671"]),
            ("415-555-2671", &["415-555-2671"]),
            ("1 415 555 2671", &["1 415 555 2671"]),
            ("415.555.2671", &["415.555.2671"]),
            ("030 123456", &["030 123456"]),
            ("0171/1234567", &["0171/1234567"]),
            ("06 12 34 56 78", &["06 12 34 56 78"]),
            ("01.23.45.67.89", &["01.23.45.67.89"]),
            ("020 7946 0958", &["020 7946 0958"]),
            ("03012345678", &["03012345678"]),
            ("tel:0301234567", &["0301234567"]),
            ("12 030 123456", &["030 123456"]),
            // Others that are made of digits.
            ("4155552671", &[]),
            ("115-555-2671", &[]),
            ("415-155-2671", &[]),
            ("415-555-2671-99", &[]),
            ("+0301234567", &[]),
            ("+12345", &[]),
            ("0012345678", &[]),
            ("01.02.2024 12:30", &[]),
            ("05/06/2024 1234", &[]),
            ("2024-05-06 12345", &[]),
            ("2024-01-02T03:04:05", &[]),
            ("12:05:06 123456", &[]),
            ("0.123456789", &[]),
            ("a0301234567", &[]),
            ("030 1234", &[]),
            ("192.168.100.200", &[]),
        ],
    );
}

#[test]
fn addresses_of_hosts_are_found_in_both_versions() {
    check(
        Kind::Ip,
        &[
            ("192.0.2.1", &["192.0.2.1"]),
            ("from 10.0.0.255:8080.", &["10.0.0.255"]),
            ("at 10.0.0.1.", &["10.0.0.1"]),
            ("peer:10.0.0.1", &["10.0.0.1"]),
            ("2001:db8::1", &["2001:db8::1"]),
            ("[2001:DB8:0:0:0:0:0:1]:443", &["2001:DB8:0:0:0:0:0:1"]),
            ("fe80::1%eth0", &["fe80::1"]),
            ("::ffff:192.0.2.1", &["::ffff:192.0.2.1"]),
            ("it is ::1, or 2001:db8::2.", &["::1", "2001:db8::2"]),
            ("10.0.0.1 2001:db8::1 10.0.0.2", &["10.0.0.1", "2001:db8::1", "10.0.0.2"]),
            ("256.0.0.1", &[]),
            ("1.2.3", &[]),
            ("1.2.3.4.5", &[]),
            ("v1.2.3.4", &[]),
            ("1.2.3.4a", &[]),
            ("12:34:56", &[]),
            ("00:1a:2b:3c:4d:5e", &[]),
            ("a :: b", &[]),
            ("std::vec", &[]),
            ("1:2:3:4:5:6:7:8:9", &[]),
        ],
    );
}

/// What an expression finds, and how often it looked.
fn matches<'a>(pattern: &Regex, text: &'a str) -> (Vec<&'a str>, usize) {
    let mut finds = Finds::default();
    let searches = expression::find(pattern, text, &mut finds).unwrap();
    (finds.spans().iter().map(|span| &text[span.clone()]).collect(), searches)
}

#[test]
fn words_are_found_whole_and_in_any_case() {
    let list = ["Jane", "Jane Doe", "C++", "Özil"].map(str::to_owned);
    let pattern = words(&list).unwrap();
    let text = "JANE DOE, jane doerr, janet, _jane, c++ and C++17, özil ÖZIL";
    assert_eq!(matches(&pattern, text).0, ["JANE DOE", "jane", "c++", "özil", "ÖZIL"]);
}

#[test]
fn a_match_is_found_wherever_it_stands_and_however_long_the_text_is() {
    let pattern = expression(r"BEGIN[a-z]*END|\bé\b").unwrap();
    for offset in (0..3 * WINDOW).step_by(997) {
        let inside = "x".repeat(LONGEST - 8);
        let text = format!("{}BEGIN{inside}END {} é.", " ".repeat(offset), "ü".repeat(WINDOW));
        let (found, _) = matches(&pattern, &text);
        assert_eq!(found.iter().map(|found| found.len()).collect::<Vec<_>>(), [LONGEST, 2]);
    }
}

#[test]
fn a_match_as_long_as_a_window_is_too_much() {
    let pattern = expression(r"A\d+").unwrap();
    let text = format!("{}A{}", " ".repeat(WINDOW - 5), "1".repeat(WINDOW));
    let mut finds = Finds::default();
    assert_eq!(expression::find(&pattern, &text, &mut finds), Err(TooMuch));
}

#[test]
fn what_makes_an_expression_read_on_and_on_is_read_in_windows() {
    let text = "a".repeat(1 << 16);
    let (found, searches) = matches(&expression(".*z|a").unwrap(), &text);
    assert_eq!(found.len(), text.len());
    // Each looks at a window at most: without that it would be the whole rest for each.
    assert!(searches <= 2 * found.len() + text.len() / LONGEST + 2, "{searches}");
}

#[test]
fn there_is_an_end_to_what_is_found() {
    let text = "::1 ".repeat(MOST + 1);
    assert_eq!(of_kind(Kind::Ip, &text, &mut Finds::default()), Err(TooMuch));
    assert_eq!(found(Kind::Ip, &text[..4 * MOST]).len(), MOST);
}

/// Texts that make a search begin again at every byte.
#[test]
fn a_mebibyte_of_what_almost_is_one_ends() {
    for seed in [
        "1",
        "1 ",
        "111 ",
        "1111-",
        "0",
        "+1",
        "(1",
        "00 1",
        "a@",
        "@",
        "%40",
        "a.",
        "a@a.",
        ":",
        "a:",
        "1.",
        "1:1.",
        "DE89",
        "de00 ",
        "AA00",
        "é@é.",
        "411111111111111 ",
        "0)(",
        "+(",
        "1234.",
    ] {
        let text = seed.repeat((1 << 20) / seed.len());
        for kind in KINDS {
            let _too_much_is_an_end_as_well = of_kind(kind, &text, &mut Finds::default());
        }
    }
}

proptest! {
    #[test]
    fn what_is_found_stands_apart_and_in_order(text in "[0-9a-fA-F@%.:+() é\u{a0}-]{0,120}") {
        for kind in KINDS {
            let mut finds = Finds::default();
            of_kind(kind, &text, &mut finds).unwrap();
            let mut last = 0;
            for span in finds.spans() {
                prop_assert!(last <= span.start && span.start < span.end);
                prop_assert!(text.get(span.clone()).is_some());
                last = span.end;
            }
        }
    }

    #[test]
    fn nothing_in_any_text_is_a_fault(text in any::<String>()) {
        for kind in KINDS {
            of_kind(kind, &text, &mut Finds::default()).unwrap();
        }
    }
}
