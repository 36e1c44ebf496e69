//! What is written down of a call: the caller's own words, with what was found replaced.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::find::TooMuch;
use super::replace::NoKey;
use super::rules::{Masker, Rules};
use crate::policy::RouteFacts;
use crate::ports::Ports;
use crate::recorded::Recorded;

/// What is written where it cannot be found out what is to be hidden.
const HIDDEN: &str = "***";
/// How long one text may become.
const MOST_BYTES: usize = 64 << 10;
/// All but what RFC 3986 §3.3 lets stand in a path; `%` among them.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Hides in a record what rules find. Where that cannot be found out, everything that the caller wrote.
pub(super) fn hide(
    rules: &Rules,
    route: &RouteFacts,
    ports: &dyn Ports,
    recorded: &mut Recorded<'_>,
) {
    let is_done = match Masker::new(rules, route, ports, MOST_BYTES) {
        Ok(mut masker) => mask(&mut masker, recorded).is_ok(),
        Err(NoKey) => false,
    };
    if !is_done {
        let Recorded { client, host, path, user_agent } = recorded;
        let texts = [Some(client), host.as_mut(), Some(path), user_agent.as_mut()];
        texts.into_iter().flatten().for_each(|text| *text = HIDDEN.into());
    }
}

fn mask(masker: &mut Masker<'_>, recorded: &mut Recorded<'_>) -> Result<(), TooMuch> {
    let Recorded { client, host, path, user_agent } = recorded;
    for text in [Some(client), host.as_mut(), user_agent.as_mut()].into_iter().flatten() {
        if let Some(masked) = masker.mask(text, None)? {
            *text = masked.into();
        }
    }
    // What stands there encoded is found only when it is decoded.
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    if let Some(masked) = masker.mask(&decoded, None)? {
        *path = utf8_percent_encode(&masked, PATH).to_string().into();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::recorded::Recorded;
    use crate::support::{World, name, policy};
    use tollgate_model::secret::SecretText;

    /// A record with these words in it, after `mask` with these fields; client, host, path and user agent.
    fn masked(world: &World, config: &str, words: [&'static str; 4]) -> [String; 4] {
        let policy = policy(&format!("mask: {{{config}}}"));
        let [client, host, path, user_agent] = words.map(std::borrow::Cow::Borrowed);
        let (host, user_agent) = (Some(host), Some(user_agent));
        let mut recorded = Recorded { client, host, path, user_agent };
        let cx = world.cx();
        policy.on_record(cx.route, cx.ports, &mut recorded);
        let Recorded { client, host, path, user_agent } = recorded;
        [client, host.unwrap(), path, user_agent.unwrap()].map(String::from)
    }

    const WORDS: [&str; 4] =
        ["192.0.2.7", "joe.example.com", "/users/joe%40example.com/a%20b", "app (joe@example.com)"];

    #[test]
    fn every_word_of_the_caller_is_looked_at_and_the_rest_stays_as_it_was() {
        let world = World::default();
        let rules = "apply_to: [records], rules: [{kind: email}, {kind: ip}, {keywords: [joe], replace: '{x}'}]";
        let expected = [
            "***.*.*.*",
            "{x}.example.com",
            "/users/j**@example.com/a%20b",
            "app (j**@example.com)",
        ];
        assert_eq!(masked(&world, rules, WORDS), expected);
        let rules = "apply_to: [answers, records], rules: [{kind: card}, {json_path: $}]";
        assert_eq!(masked(&world, rules, WORDS), WORDS);
        let rules = "rules: [{kind: email}, {kind: ip}]";
        assert_eq!(masked(&world, rules, WORDS), WORDS);
    }

    #[test]
    fn a_path_is_looked_at_decoded_and_written_encoded() {
        let world = World::default();
        let rules = "apply_to: [records], rules: [{regex: '/of/[^/]+', replace: '/of/{a b}?%/ä'}]";
        for (path, expected) in [
            ("/of/1%2F2/x", "/of/%7Ba%20b%7D%3F%25/%C3%A4/2/x"),
            ("/%6Ff/%FF/x", "/of/%7Ba%20b%7D%3F%25/%C3%A4/x"),
            ("/at/%FF%2f/x", "/at/%FF%2f/x"),
        ] {
            assert_eq!(masked(&world, rules, ["-", "-", path, "-"])[2], expected);
        }
    }

    #[test]
    fn nothing_is_told_where_it_cannot_be_found_out_what_to_hide() {
        let mut world = World::default();
        let rules =
            "apply_to: [records], rules: [{kind: email, hash: {key: {secret: pseudonyms}}}]";
        assert_eq!(masked(&world, rules, WORDS), ["***"; 4]);
        let key = SecretText::new("a key of sixteen bytes or more".to_owned());
        world.secrets.insert((name("default"), name("pseudonyms")), key);
        let [_, _, path, agent] = masked(&world, rules, WORDS);
        // The same person gives the same digits, wherever it stands.
        let digits = path.strip_prefix("/users/").unwrap().strip_suffix("/a%20b").unwrap();
        assert_eq!((digits.len(), agent), (24, format!("app ({digits})")));
        let long: &'static str = "joe ".repeat(9 << 10).leak();
        let rules = "apply_to: [records], rules: [{keywords: [joe], replace: more than there was}]";
        assert_eq!(masked(&world, rules, ["-", "-", "-", long]), ["***"; 4]);
    }
}
