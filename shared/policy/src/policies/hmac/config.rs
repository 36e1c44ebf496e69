//! What the operator writes, and what is wrong with it.

use std::time::Duration;

use deserr::Deserr;
use http::HeaderValue;
use schemars::JsonSchema;
use sfv::{DictSerializer, Item, Key, KeyRef, Parameters, Parser, key_ref};
use tollgate_model::Issues;
use tollgate_model::signature::SigningAlgorithm;
use tollgate_model::units::{Size, Span};

use super::component::Component;
use super::fields::MAX_COMPONENTS;

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// What a signature must cover, 1 to 64 components such as `@path`, `content-type` or `@query-param;name="id"`.
    /// Default `[@method, @authority, @path, @query]`. `@query` need not be covered where the request has none.
    #[deserr(default)]
    pub required: Option<Vec<String>>,
    /// Which signature of a request counts, by its label. Default: any one that is good.
    #[deserr(default)]
    pub label: Option<String>,
    /// Which signatures count, by their `tag`: 1 to 128 visible ASCII characters and spaces. Default: whatever their `tag`.
    #[deserr(default)]
    pub tag: Option<String>,
    /// How requests may be signed. Default: as the credential's key is for.
    #[deserr(default)]
    pub algorithms: Option<Vec<SigningAlgorithm>>,
    /// How long after its `created` a signature is refused, whatever its `expires` says; up to 1d. Default 5m.
    #[deserr(default)]
    pub max_age: Option<Span>,
    /// How far in the future `created` may be, up to 1h. Default 30s.
    #[deserr(default)]
    pub leeway: Option<Span>,
    /// What becomes of a signature that was used before: `allow` or `refuse`. Default allow.
    #[deserr(default)]
    #[schemars(with = "Option<Replay>")]
    pub replay: Replay,
    /// Whether the body must be the one that was signed. Default verify.
    #[deserr(default)]
    #[schemars(with = "Option<SignedBody>")]
    pub body: SignedBody,
    /// How large a body may be that is checked, up to 64MiB. Default 1MiB.
    #[deserr(default)]
    pub max_body: Option<Size>,
    /// How long a body that is checked may take to come, up to 10m. Default 30s.
    #[deserr(default)]
    pub body_time: Option<Span>,
    /// What callers call by, for `@scheme`, `@target-uri` and the port of `@authority`, where a proxy before the gateway ends
    /// TLS. Default: as the request came.
    #[deserr(default)]
    pub scheme: Option<SignedScheme>,
    /// Whether `signature` and `signature-input` go upstream. Default true.
    #[deserr(default)]
    pub forward: Option<bool>,
    /// Whether calls without a signature go on, without an identity. Default false. A wrong one is refused
    /// all the same.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub optional: bool,
}

/// Whether the body must be the one that was signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase")]
pub enum SignedBody {
    /// The signature covers `content-digest`, and that is checked against the body.
    #[default]
    Verify,
    /// It may be another.
    Ignore,
}

/// What becomes of a signature that was used before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase")]
pub enum Replay {
    /// It is as good as the first time.
    #[default]
    Allow,
    /// Each is good once.
    Refuse,
}

/// What callers call by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase")]
pub enum SignedScheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

impl SignedScheme {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

const DEFAULT_REQUIRED: [&str; 4] = ["@method", "@authority", "@path", "@query"];
const DEFAULT_LABEL: &str = "sig1";
const CREATED: &KeyRef = key_ref("created");
const TAG: &KeyRef = key_ref("tag");
const TAG_BYTES: usize = 128;
const LABEL_BYTES: usize = 64;

const MAX_AGE: Duration = Duration::from_secs(5 * 60);
const LONGEST_MAX_AGE: Duration = Duration::from_secs(86_400);
const LEEWAY: Duration = Duration::from_secs(30);
const LONGEST_LEEWAY: Duration = Duration::from_secs(3600);
const BODY_TIME: Duration = Duration::from_secs(30);
const LONGEST_BODY_TIME: Duration = Duration::from_secs(600);
const MAX_BODY_BYTES: u64 = 1 << 20;
const LARGEST_MAX_BODY_BYTES: u64 = 64 << 20;

/// What a signature must cover, and how that is said to callers.
pub(super) struct Required {
    pub(super) components: Box<[Component]>,
    pub(super) accepted: HeaderValue,
}

impl Config {
    pub(super) fn required(&self, issues: &mut Issues) -> Required {
        let given: Vec<&str> = match &self.required {
            None => DEFAULT_REQUIRED.to_vec(),
            Some(given) => given.iter().map(String::as_str).collect(),
        };
        if !(1..=MAX_COMPONENTS).contains(&given.len()) {
            let problem =
                "give 1 to 64 components; a signature over nothing is good for every request";
            issues.add("/required", "invalid_count", problem);
        }
        let mut items = Vec::with_capacity(given.len());
        let mut components: Vec<Component> = Vec::with_capacity(given.len());
        for (i, text) in given.iter().enumerate() {
            let at = format!("/required/{i}");
            match read(text) {
                Ok((_, component)) if components.contains(&component) => {
                    issues.add(at, "duplicate_value", "stands above already; take it out");
                }
                Ok((item, component)) => {
                    items.push(item);
                    components.push(component);
                }
                Err(problem) => {
                    let problem = format!("`{}` cannot be signed: {problem}", text.escape_debug());
                    issues.add(at, "invalid_component", problem);
                }
            }
        }
        let accepted = self.accepted(&items);
        Required { components: components.into(), accepted }
    }

    /// RFC 9421 §5.1: what is asked for, as it stands in `accept-signature`.
    fn accepted(&self, items: &[Item]) -> HeaderValue {
        let label = self.label.as_deref().and_then(|label| KeyRef::from_str(label).ok());
        let mut dictionary = DictSerializer::new();
        let mut members = dictionary.inner_list(label.unwrap_or(key_ref(DEFAULT_LABEL)));
        members.items(items);
        let mut parameters = members.finish().parameter(CREATED, true);
        if let Some(tag) = self.tag() {
            parameters = parameters.parameter(TAG, &tag);
        }
        let _ = parameters.finish();
        let text = dictionary.finish().unwrap_or_default();
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }

    pub(super) fn tag(&self) -> Option<sfv::String> {
        self.tag.clone().and_then(|tag| sfv::String::from_string(tag).ok())
    }

    pub(super) fn label(&self) -> Option<Key> {
        self.label.clone().and_then(|label| Key::from_string(label).ok())
    }

    pub(super) fn max_age(&self) -> Duration {
        self.max_age.map_or(MAX_AGE, Span::get)
    }

    pub(super) fn leeway(&self) -> Duration {
        self.leeway.map_or(LEEWAY, Span::get)
    }

    pub(super) fn body_time(&self) -> Duration {
        self.body_time.map_or(BODY_TIME, Span::get)
    }

    pub(super) fn max_body_bytes(&self) -> u64 {
        self.max_body.map_or(MAX_BODY_BYTES, Size::bytes)
    }

    /// Whatever else is wrong.
    pub(super) fn check(&self, issues: &mut Issues) {
        if self.label.as_ref().is_some_and(|label| label.len() > LABEL_BYTES)
            || self.label.is_some() && self.label().is_none()
        {
            let problem = "is not a label such as sig1: a lower-case letter, then lower-case letters, digits, `_`, `-`, `.` and `*`, 64 at most";
            issues.add("/label", "invalid_label", problem);
        }
        let is_tag = |tag: &String| (1..=TAG_BYTES).contains(&tag.len());
        if self.tag.as_ref().is_some_and(|tag| !is_tag(tag))
            || self.tag.is_some() && self.tag().is_none()
        {
            let problem = "is not 1 to 128 visible ASCII characters and spaces";
            issues.add("/tag", "invalid_tag", problem);
        }
        if self.algorithms.as_ref().is_some_and(Vec::is_empty) {
            let problem = "is empty; name an algorithm, or leave it out";
            issues.add("/algorithms", "invalid_count", problem);
        }
        let longest = [
            ("/max_age", self.max_age(), LONGEST_MAX_AGE, "give at most 1d"),
            ("/leeway", self.leeway(), LONGEST_LEEWAY, "give at most 1h"),
            ("/body_time", self.body_time(), LONGEST_BODY_TIME, "give at most 10m"),
        ];
        for (at, is, most, problem) in longest {
            if is > most {
                issues.add(at, "out_of_range", problem);
            }
        }
        if !(1..=LARGEST_MAX_BODY_BYTES).contains(&self.max_body_bytes()) {
            issues.add("/max_body", "out_of_range", "give 1B to 64MiB");
        }
        if self.body == SignedBody::Ignore {
            let given =
                [("max_body", self.max_body.is_some()), ("body_time", self.body_time.is_some())];
            for (field, _) in given.iter().filter(|(_, is_given)| *is_given) {
                let problem = "is about a body that is checked; take it out, or leave `body` out";
                issues.add(format!("/{field}"), "conflicting_fields", problem);
            }
        }
    }
}

/// An identifier as it is written in a configuration: the name without quotes, then its parameters.
fn read(text: &str) -> Result<(Item, Component), &'static str> {
    let end = text.find(';').unwrap_or(text.len());
    let (name, parameters) = text.split_at_checked(end).unwrap_or((text, ""));
    let name = sfv::String::from_string(name.to_owned())
        .map_err(|_not_ascii| "it has a character that no name has")?;
    // Parameters are read behind an item that is known.
    let item: Item = Parser::new(&format!("1{parameters}"))
        .parse()
        .map_err(|_malformed| "its parameters are not written as in `@query-param;name=\"id\"`")?;
    let parameters: Parameters = item.params;
    let component = Component::of(name.as_str(), &parameters)?;
    Ok((Item::with_params(name, parameters), component))
}
