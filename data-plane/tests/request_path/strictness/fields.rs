//! The fields of a request: what makes it malformed (RFC 9113 §8). Nothing malformed goes upstream.
//!
//! A server may answer a malformed request with 400 before the stream ends (§8.1.1).

use super::{Answer, Case, Fresh, Reset, case, check};
use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PROTOCOL_ERROR, STREAM_CLOSED, frame,
};

type Field<'a> = (&'a str, &'a str);

const METHOD: Field<'static> = (":method", "POST");
const SCHEME: Field<'static> = (":scheme", "http");
const PATH: Field<'static> = (":path", "/");
const AUTHORITY: Field<'static> = (":authority", "api.test");
const WHOLE: u8 = END_HEADERS | END_STREAM;
const MALFORMED: super::Outcome = Reset(PROTOCOL_ERROR);

/// A block of literals that enter no table (RFC 7541 §6.2.2).
fn block(fields: &[Field<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "longer lengths have more bytes");
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

fn head(flags: u8, fields: &[Field<'_>]) -> Vec<u8> {
    frame(HEADERS, flags, 1, &block(fields))
}

/// A request that lacks nothing, with more fields.
fn with(flags: u8, fields: &[Field<'_>]) -> Vec<u8> {
    head(flags, &[&[METHOD, SCHEME, PATH, AUTHORITY], fields].concat())
}

/// One that is refused, in one case for each list of fields.
fn refused<'a>(
    section: &'static str,
    fields: impl IntoIterator<Item = (&'static str, &'a [Field<'a>])>,
) -> Vec<Case> {
    let refuse = |(name, fields): (_, &[Field<'_>])| {
        case(section, name, Fresh, head(WHOLE, fields), MALFORMED).forwarding(0)
    };
    fields.into_iter().map(refuse).collect()
}

impl Case {
    /// What the node does with those of the lists below that it does not reset.
    fn observed(self) -> Self {
        match self.name {
            // h2 cannot tell these from a block that it cannot read.
            ":method of nothing"
            | ":method that is no token"
            | "an unknown pseudo-field"
            | "a pseudo-field of no name"
            | "an upper-case name"
            | "a value with a NUL"
            | "a value with CR"
            | "a value with LF" => self.stricter(),
            name if name.starts_with("a name ") => self.stricter(),
            // The node finds these behind h2.
            "CONNECT without :authority" | "a user in :authority" | "another host" => {
                self.answered()
            }
            name if name.starts_with("a value that ") => self.answered(),
            // It decides nothing by a scheme, and does not send it on.
            ":scheme of nothing" => self.but(Answer(200)).forwarding(1),
            _ => self,
        }
    }
}

fn pseudo_fields() -> Vec<Case> {
    let cases = refused(
        "8.3",
        [
            (":status in a request", &[METHOD, SCHEME, PATH, AUTHORITY, (":status", "200")][..]),
            (":protocol without a method for it", &[METHOD, SCHEME, PATH, (":protocol", "x")]),
            (":method behind a field", &[SCHEME, PATH, AUTHORITY, ("a", "b"), METHOD]),
            (":authority behind a field", &[METHOD, SCHEME, PATH, ("a", "b"), AUTHORITY]),
            (":method twice", &[METHOD, METHOD, SCHEME, PATH, AUTHORITY]),
            (":scheme twice", &[METHOD, SCHEME, SCHEME, PATH, AUTHORITY]),
            (":path twice", &[METHOD, SCHEME, PATH, PATH, AUTHORITY]),
            (":authority twice", &[METHOD, SCHEME, PATH, AUTHORITY, AUTHORITY]),
            ("no :method", &[SCHEME, PATH, AUTHORITY]),
            ("no :scheme", &[METHOD, PATH, AUTHORITY]),
            ("no :path", &[METHOD, SCHEME, AUTHORITY]),
            ("no field at all", &[]),
            (":path of nothing", &[METHOD, SCHEME, (":path", ""), AUTHORITY]),
            (":method of nothing", &[(":method", ""), SCHEME, PATH, AUTHORITY]),
            (":scheme of nothing", &[METHOD, (":scheme", ""), PATH, AUTHORITY]),
            (":method that is no token", &[(":method", "G T"), SCHEME, PATH, AUTHORITY]),
            (":path with a space", &[METHOD, SCHEME, (":path", "/a b"), AUTHORITY]),
            (":path without its slash", &[METHOD, SCHEME, (":path", "a"), AUTHORITY]),
            (":path of a whole URI", &[METHOD, SCHEME, (":path", "http://a/"), AUTHORITY]),
            ("CONNECT with :scheme and :path", &[(":method", "CONNECT"), SCHEME, PATH, AUTHORITY]),
            ("CONNECT without :authority", &[(":method", "CONNECT")]),
            ("a user in :authority", &[METHOD, SCHEME, PATH, (":authority", "u@api.test")]),
            ("another host", &[METHOD, SCHEME, PATH, AUTHORITY, ("host", "other.test")]),
            ("an unknown pseudo-field", &[METHOD, SCHEME, PATH, AUTHORITY, (":unknown", "x")]),
            ("a pseudo-field of no name", &[METHOD, SCHEME, PATH, AUTHORITY, (":", "x")]),
        ],
    );
    cases.into_iter().map(Case::observed).collect()
}

#[tokio::test]
async fn each_pseudo_field_stands_once_and_before_the_others() {
    check(pseudo_fields()).await;
}

fn names_and_values() -> Vec<Case> {
    let names = [
        ("an upper-case name", "X-A"),
        ("a name of nothing", ""),
        ("a name with a space", "a b"),
        ("a name with a colon", "a:b"),
        ("a name with a line's end", "a\r\nb"),
        ("a name with a NUL", "a\0"),
        ("a name beyond ASCII", "\u{e9}"),
    ];
    let values = [
        ("a value with a NUL", "a\0b"),
        ("a value with CR", "a\rb"),
        ("a value with LF", "a\nb: c"),
        ("a value that begins with a space", " a"),
        ("a value that ends with a space", "a "),
        ("a value that begins with a tab", "\ta"),
    ];
    let fields = names.map(|(case, name)| (case, (name, "x")));
    let fields = fields.into_iter().chain(values.map(|(case, value)| (case, ("x-a", value))));
    let refuse = |(name, field)| case("8.2.1", name, Fresh, with(WHOLE, &[field]), MALFORMED);
    fields.map(|pair| refuse(pair).forwarding(0).observed()).collect()
}

#[tokio::test]
async fn names_and_values_have_only_the_bytes_that_they_may() {
    check(names_and_values()).await;
}

fn of_the_connection() -> Vec<Case> {
    let fields = [
        ("connection", "close"),
        ("connection", "x-a"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, deflate"),
    ];
    let refuse = |field: &Field<'static>| {
        case("8.2.2", field.0, Fresh, with(WHOLE, &[*field]), MALFORMED).forwarding(0)
    };
    let mut cases: Vec<Case> = fields.iter().map(refuse).collect();
    let good = with(WHOLE, &[("te", "trailers")]);
    cases.push(case("8.2.2", "te: trailers", Fresh, good, Answer(200)).forwarding(1));
    cases
}

#[tokio::test]
async fn fields_of_a_connection_are_not_of_http_2() {
    check(of_the_connection()).await;
}

fn data(flags: u8, bytes: &str) -> Vec<u8> {
    frame(DATA, flags, 1, bytes.as_bytes())
}

fn lengths() -> Vec<Case> {
    let length = |value| with(END_HEADERS, &[("content-length", value)]);
    let whole = |name, bytes: &[Vec<u8>]| case("8.1.1", name, Fresh, bytes.concat(), Answer(200));
    let bad = |name, bytes: &[Vec<u8>]| case("8.1.1", name, Fresh, bytes.concat(), MALFORMED);
    let trailers = || head(WHOLE, &[("x-a", "b")]);
    let end = |text| data(END_STREAM, text);
    let padded = frame(DATA, END_STREAM | PADDED, 1, b"\x02abc\0\0");
    let twice = |one, other| with(WHOLE, &[("content-length", one), ("content-length", other)]);
    vec![
        whole("as much as was said", &[length("3"), end("abc")]),
        whole("as much in pieces", &[length("3"), data(0, "a"), data(0, "b"), end("c")]),
        whole("as much with an empty last", &[length("3"), data(0, "abc"), end("")]),
        whole("as much with padding", &[length("3"), padded]),
        whole("as much with trailers", &[length("3"), data(0, "abc"), trailers()]),
        whole("nothing as was said", &[with(WHOLE, &[("content-length", "0")])]),
        bad("less than was said", &[length("3"), end("ab")]),
        bad("more than was said", &[length("3"), end("abcd")]),
        bad("less in pieces", &[length("3"), data(0, "a"), end("b")]),
        bad("more in pieces", &[length("3"), data(0, "ab"), end("cd")]),
        bad("more, and no end", &[length("3"), data(0, "abcd")]),
        bad("less with trailers", &[length("3"), data(0, "ab"), trailers()]),
        bad("something where nothing was said", &[length("0"), end("a")]),
        bad("no body at all", &[with(WHOLE, &[("content-length", "3")])]).forwarding(0),
        bad("two lengths", &[twice("3", "4")]).forwarding(0),
        bad("a length that is no number", &[with(WHOLE, &[("content-length", "x")])]).forwarding(0),
        bad("a length with a sign", &[with(WHOLE, &[("content-length", "+0")])]).forwarding(0),
        bad("a length below nothing", &[with(WHOLE, &[("content-length", "-1")])]).forwarding(0),
        bad("a length of nothing", &[with(WHOLE, &[("content-length", "")])])
            .answered()
            .forwarding(0),
        bad("a list of lengths", &[with(WHOLE, &[("content-length", "0, 0")])]).forwarding(0),
        bad("a length beyond all", &[length("99999999999999999999"), end("a")]).forwarding(0),
    ]
}

#[tokio::test]
async fn a_body_is_as_long_as_was_said() {
    check(lengths()).await;
}

fn trailers() -> Vec<Case> {
    let begun = || [with(END_HEADERS, &[]), data(0, "abc")].concat();
    let behind = |flags, fields: &[Field<'_>]| [begun(), head(flags, fields)].concat();
    let bad =
        |name, fields: &[Field<'_>]| case("8.1", name, Fresh, behind(WHOLE, fields), MALFORMED);
    let twice = [behind(WHOLE, &[("x-a", "b")]), head(WHOLE, &[("x-a", "b")])].concat();
    let endless = behind(END_HEADERS, &[("x-a", "b")]);
    vec![
        case("8.1", "trailers", Fresh, behind(WHOLE, &[("x-a", "b")]), Answer(200)),
        case("8.1", "trailers without a field", Fresh, behind(WHOLE, &[]), Answer(200)),
        case(
            "8.1",
            "trailers without a body",
            Fresh,
            [with(END_HEADERS, &[]), head(WHOLE, &[("x-a", "b")])].concat(),
            Answer(200),
        ),
        case("8.1", "trailers that end nothing", Fresh, endless, MALFORMED),
        case("5.1", "trailers twice", Fresh, twice, Reset(STREAM_CLOSED))
            .stricter()
            .named(PROTOCOL_ERROR),
        // h2 drops this and `:status`: neither the node nor its upstream sees them.
        bad("a pseudo-field in trailers", &[(":path", "/")]).but(Answer(200)),
        bad("a pseudo-field behind trailers", &[("x-a", "b"), (":method", "GET")]),
        bad(":status in trailers", &[(":status", "200")]).but(Answer(200)),
        bad("an unknown pseudo-field in trailers", &[(":x", "y")]).stricter(),
        bad("an upper-case name in trailers", &[("X-A", "b")]).stricter(),
        bad("a field of the connection in trailers", &[("connection", "close")]),
        bad("transfer-encoding in trailers", &[("transfer-encoding", "chunked")]),
    ]
}

#[tokio::test]
async fn trailers_end_a_request_and_have_no_pseudo_fields() {
    check(trailers()).await;
}
