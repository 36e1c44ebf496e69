//! What the operator writes, and what is wrong with it.

use std::time::Duration;

use deserr::Deserr;
use http::HeaderName;
use schemars::JsonSchema;
use tollgate_model::issue::escape;
use tollgate_model::parse::{Mapping, Raw};
use tollgate_model::route::{FieldName, OF_CONNECTION};
use tollgate_model::units::Span;
use tollgate_model::{Issues, Name};

use super::keys::Keys;
use super::place::Places;
use crate::jose::{Algorithm, Generation, KeySet, KeySetError, KeySource, MAX_KEYS, Named};
use crate::policy::Holder;

/// What the operator writes. Exactly one of `jwks`, `public_keys` and `secret` is given.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Who may have issued a token: its `iss` is one of these. Default: anybody who has the key.
    #[deserr(default)]
    pub issuers: Option<Vec<String>>,
    /// Whom a token may be for: its `aud` names one of these. Default: anybody, also another
    /// service of the same issuer.
    #[deserr(default)]
    pub audiences: Option<Vec<String>>,
    /// How a token may be signed. Default: every algorithm of public keys, or `HS256` with a `secret`.
    #[deserr(default)]
    pub algorithms: Option<Vec<Algorithm>>,
    /// A JSON Web Key Set, behind a URL or written here.
    #[deserr(default)]
    pub jwks: Option<Jwks>,
    /// Public keys in PEM (`-----BEGIN PUBLIC KEY-----`), 1 to 16 of them.
    #[deserr(default)]
    pub public_keys: Option<Vec<String>>,
    /// The Secret that tokens are signed with, for `HS256`, `HS384` and `HS512`; at least 32, 48 or 64 bytes.
    #[deserr(default)]
    pub secret: Option<Name>,
    /// Header fields where a token is looked for. In `authorization` it stands behind `Bearer`; in others
    /// it may. Default `authorization`, where `cookies` and `query` are not given either.
    #[deserr(default)]
    pub headers: Option<Vec<FieldName>>,
    /// Cookies where a token is looked for.
    #[deserr(default)]
    pub cookies: Option<Vec<String>>,
    /// Query parameters where a token is looked for. URLs end up in logs: only for clients that can do no better.
    #[deserr(default)]
    pub query: Option<Vec<String>>,
    /// How far clocks may differ, 1ms to 1h. Default 60s.
    #[deserr(default)]
    pub leeway: Option<Span>,
    /// Claims that a token must have. Default `[exp]`; with `[]`, a token may be good for ever.
    #[deserr(default)]
    pub required: Option<Vec<String>>,
    /// How long after its `iat` a token is refused, whatever its `exp` says. Default: never.
    #[deserr(default)]
    pub max_age: Option<Span>,
    /// What a token may be by the `typ` of its header, such as `at+jwt`. Default: anything.
    #[deserr(default)]
    pub types: Option<Vec<String>>,
    /// The claim that names the subject's groups. Default `groups`.
    #[deserr(default)]
    pub groups: Option<String>,
    /// Header fields for the upstream, each with the claim that it is made of. What a client sends in
    /// them never goes upstream, with or without a token.
    #[deserr(default)]
    #[schemars(with = "Option<std::collections::BTreeMap<String, String>>")]
    pub claims_to_headers: Option<Mapping<FieldName, String>>,
    /// Which application calls.
    #[deserr(default)]
    pub application: Option<Application>,
    /// Whether the token itself goes upstream. Default true.
    #[deserr(default)]
    pub forward: Option<bool>,
    /// Whether calls without any token go on, without claims. Default false. A token that is not good is
    /// refused all the same.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub optional: bool,
    /// While the keys cannot be had: `closed` refuses, `open` goes on without claims and without the
    /// token, as if there were none. Default `closed`.
    #[deserr(default)]
    #[schemars(with = "Option<Failure>")]
    pub on_failure: Failure,
}

/// A JSON Web Key Set: one of `url`, `issuer` and `keys`.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields, rename = "JwtKeySet")]
pub struct Jwks {
    /// Where it is, by `https`.
    #[deserr(default)]
    pub url: Option<String>,
    /// The issuer whose `/.well-known/openid-configuration` says where it is, as it stands in tokens. Where `issuers`
    /// is not given, it is the one.
    #[deserr(default)]
    pub issuer: Option<String>,
    /// The keys themselves, up to 100, as in a `jwks.json`.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<serde_json::Map<String, serde_json::Value>>>")]
    pub keys: Option<Vec<Raw>>,
    /// How long keys are kept where the answer's `cache-control` does not say, 10s to 1d. Default 5m.
    #[deserr(default)]
    pub cache: Option<Span>,
    /// How long a call waits for keys that are not here yet, up to 10s. Default 2s.
    #[deserr(default)]
    pub wait: Option<Span>,
    /// Whether `url` and `issuer` may lead to a private address and be without TLS. Default false.
    #[deserr(default)]
    pub allow_private: Option<bool>,
}

/// Which application calls.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields, rename = "JwtApplication")]
pub struct Application {
    /// The claim that has the name of an Application of the API's tenant, such as `azp` or `client_id`.
    pub claim: String,
    /// Where the token names none that is here: `refuse`, or `allow` it without an application. Default `refuse`.
    #[deserr(default)]
    #[schemars(with = "Option<Unknown>")]
    pub unknown: Unknown,
}

/// What happens to a token whose application is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase", rename = "JwtUnknown")]
pub enum Unknown {
    /// Refused.
    #[default]
    Refuse,
    /// It goes on without an application.
    Allow,
}

/// What happens while the keys cannot be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase", rename = "JwtFailure")]
pub enum Failure {
    /// Refuse.
    #[default]
    Closed,
    /// Go on as if there were no token.
    Open,
}

const MAX_PEM_KEYS: usize = 16;
const LONGEST_LEEWAY: Duration = Duration::from_secs(3600);
const CACHE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(86_400);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

impl Config {
    /// What tokens are checked with; none where that is not said well.
    pub(super) fn keys(&self, holder: Holder, issues: &mut Issues) -> Option<Keys> {
        match (&self.jwks, &self.public_keys, &self.secret) {
            (Some(jwks), None, None) => jwks.keys(issues),
            (None, Some(texts), None) => public_keys(texts, issues),
            (None, None, Some(name)) => Some(Keys::Secret(holder, name.clone())),
            (None, None, None) => {
                issues.add("", "missing_field", "give one of `jwks`, `public_keys` and `secret`");
                None
            }
            _ => {
                issues.add(
                    "",
                    "conflicting_fields",
                    "give only one of `jwks`, `public_keys` and `secret`: whoever knows a public key must not be able to use it as a secret",
                );
                None
            }
        }
    }

    /// The algorithms, all of them of the kind that the keys are.
    pub(super) fn algorithms(&self, issues: &mut Issues) -> Box<[Algorithm]> {
        let is_secret = self.secret.is_some();
        let Some(given) = &self.algorithms else {
            let all: &[Algorithm] =
                if is_secret { &[Algorithm::Hs256] } else { &Algorithm::ASYMMETRIC };
            return all.into();
        };
        if given.is_empty() {
            issues.add(
                "/algorithms",
                "invalid_count",
                "is empty; name an algorithm, or leave it out",
            );
        }
        for (i, algorithm) in given.iter().enumerate() {
            if algorithm.is_symmetric() == is_secret {
                continue;
            }
            let problem = if is_secret {
                "is for public keys, and the key is a `secret`"
            } else {
                "is for a `secret`, and the keys are public: anybody could sign with them"
            };
            issues.add(format!("/algorithms/{i}"), "wrong_algorithm", problem);
        }
        given.as_slice().into()
    }

    pub(super) fn places(&self, issues: &mut Issues) -> Places {
        let is_default = self.headers.is_none() && self.cookies.is_none() && self.query.is_none();
        let headers: Box<[HeaderName]> = match &self.headers {
            None if is_default => [http::header::AUTHORIZATION].into(),
            None => Box::default(),
            Some(names) => names.iter().map(|name| name.as_http().clone()).collect(),
        };
        let cookies = names("cookies", self.cookies.as_ref(), issues);
        let query = names("query", self.query.as_ref(), issues);
        for (i, name) in headers.iter().enumerate() {
            if headers.iter().take(i).any(|other| other == name) {
                issues.add(
                    format!("/headers/{i}"),
                    "duplicate_value",
                    "stands above already; take it out",
                );
            }
        }
        if headers.is_empty() && cookies.is_empty() && query.is_empty() {
            let problem =
                "name a field of `headers`, `cookies` or `query`, or leave all of them out";
            issues.add("/headers", "invalid_count", problem);
        }
        if self.forward == Some(false) && !query.is_empty() {
            let problem =
                "a token in the query goes upstream with it; leave `forward` or `query` out";
            issues.add("/forward", "conflicting_fields", problem);
        }
        if self.on_failure == Failure::Open && !query.is_empty() {
            let problem = "a token in the query goes upstream with it, and nobody would have checked it; leave `query` or `on_failure` out";
            issues.add("/on_failure", "conflicting_fields", problem);
        }
        Places { headers, cookies, query }
    }

    /// Whatever else is wrong.
    pub(super) fn check(&self, issues: &mut Issues) {
        let lists = [
            ("issuers", &self.issuers, false),
            ("audiences", &self.audiences, false),
            ("types", &self.types, false),
            ("required", &self.required, true),
        ];
        for (field, list, may_be_empty) in lists {
            let Some(list) = list else { continue };
            if list.is_empty() && !may_be_empty {
                let problem = "is empty, so that no token would do; name one, or leave it out";
                issues.add(format!("/{field}"), "invalid_count", problem);
            }
            for (i, _) in list.iter().enumerate().filter(|(_, text)| text.is_empty()) {
                issues.add(format!("/{field}/{i}"), "invalid_value", "is empty; take it out");
            }
        }
        if self.leeway.is_some_and(|leeway| leeway.get() > LONGEST_LEEWAY) {
            issues.add("/leeway", "out_of_range", "give at most 1h");
        }
        let claims = [
            ("/groups", self.groups.as_ref()),
            ("/application/claim", self.application.as_ref().map(|application| &application.claim)),
        ];
        for (at, _) in claims.iter().filter(|(_, name)| name.is_some_and(String::is_empty)) {
            issues.add(*at, "invalid_value", "is empty; name a claim");
        }
        self.check_fields(issues);
    }

    fn check_fields(&self, issues: &mut Issues) {
        let is_default = self.headers.is_none() && self.cookies.is_none() && self.query.is_none();
        let is_looked_at = |field: &FieldName| {
            let is_named = self.headers.as_ref().is_some_and(|headers| headers.contains(field));
            is_named
                || (is_default && field.as_str() == "authorization")
                || (self.cookies.is_some() && field.as_str() == "cookie")
        };
        for (field, claim) in self.claims_to_headers.iter().flat_map(|mapping| &mapping.0) {
            let at = format!("/claims_to_headers/{}", escape(field.as_str()));
            if OF_CONNECTION.contains(&field.as_str()) {
                let problem =
                    format!("`{}` belongs to the connection; it cannot be changed", field.as_str());
                issues.add(at, "reserved_header", problem);
            } else if is_looked_at(field) {
                let problem = "a token is looked for here; take another field";
                issues.add(at, "conflicting_fields", problem);
            } else if claim.is_empty() {
                issues.add(at, "invalid_value", "is empty; name a claim");
            }
        }
    }
}

impl Jwks {
    fn keys(&self, issues: &mut Issues) -> Option<Keys> {
        match (&self.url, &self.issuer, &self.keys) {
            (Some(url), None, None) => self.source(Named::KeySet, url, issues),
            (None, Some(issuer), None) => self.source(Named::Issuer, issuer, issues),
            (None, None, Some(keys)) => {
                let bounds = [
                    ("cache", self.cache.is_some()),
                    ("wait", self.wait.is_some()),
                    ("allow_private", self.allow_private.is_some()),
                ];
                for (field, _) in bounds.iter().filter(|(_, is_given)| *is_given) {
                    issues.add(
                        format!("/jwks/{field}"),
                        "conflicting_fields",
                        "is about keys that are fetched; take it out",
                    );
                }
                written_keys(keys, issues)
            }
            (None, None, None) => {
                issues.add("/jwks", "missing_field", "give one of `url`, `issuer` and `keys`");
                None
            }
            _ => {
                let problem = "give only one of `url`, `issuer` and `keys`";
                issues.add("/jwks", "conflicting_fields", problem);
                None
            }
        }
    }

    fn source(&self, named: Named, url: &str, issues: &mut Issues) -> Option<Keys> {
        let cache = self.cache.map_or(Duration::from_secs(300), Span::get);
        if !CACHE.contains(&cache) {
            issues.add("/jwks/cache", "out_of_range", "give 10s to 1d");
        }
        let wait = self.wait.map_or(Duration::from_secs(2), Span::get);
        if wait > LONGEST_WAIT {
            issues.add("/jwks/wait", "out_of_range", "give at most 10s");
        }
        match KeySource::new(named, url, cache, wait, self.allow_private.unwrap_or(false)) {
            Ok(source) => Some(Keys::Remote(source)),
            Err(fault) => {
                let problem = format!("`{}` {fault}", url.escape_debug());
                let field = match named {
                    Named::KeySet => "/jwks/url",
                    Named::Issuer => "/jwks/issuer",
                };
                issues.add(field, "invalid_url", problem);
                None
            }
        }
    }
}

/// Names of cookies or of parameters of a query.
fn names(field: &str, given: Option<&Vec<String>>, issues: &mut Issues) -> Box<[Box<str>]> {
    let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let given = given.map(Vec::as_slice).unwrap_or_default();
    for (i, name) in given.iter().enumerate() {
        let at = format!("/{field}/{i}");
        if name.is_empty() || !name.bytes().all(is_of_a_name) {
            let problem = "give a name of letters, digits, `-`, `_`, `.` and `~`";
            issues.add(at, "invalid_value", problem);
        } else if given.iter().take(i).any(|other| other == name) {
            issues.add(at, "duplicate_value", "stands above already; take it out");
        }
    }
    given.iter().map(|name| name.as_str().into()).collect()
}

fn written_keys(keys: &[Raw], issues: &mut Issues) -> Option<Keys> {
    let values: Vec<serde_json::Value> = keys.iter().map(|key| key.0.clone()).collect();
    let mut is_public = true;
    for (i, key) in values.iter().enumerate() {
        let at = format!("/jwks/keys/{i}");
        if !key.is_object() {
            issues.add(at, "wrong_type", "is not a mapping; give a JSON Web Key");
            is_public = false;
        } else if key.get("d").is_some() || key.get("k").is_some() {
            let problem = "holds what signs tokens; give the public key alone, or name a `secret`";
            issues.add(at, "private_key", problem);
            is_public = false;
        }
    }
    let text = serde_json::Value::Array(values.clone()).to_string();
    match KeySet::from_keys(&values, Generation::of(text.as_bytes())) {
        Ok(set) => Some(Keys::Fixed(set)),
        Err(_) if !is_public => None,
        Err(KeySetError::TooMany) => {
            issues.add("/jwks/keys", "invalid_count", format!("give at most {MAX_KEYS} keys"));
            None
        }
        Err(KeySetError::NoneUsable | KeySetError::NotASet) => {
            let problem = "no key here can check a signature; give RSA of 2,048 bits or more, EC on P-256, P-384 or P-521, or Ed25519";
            issues.add("/jwks/keys", "no_usable_key", problem);
            None
        }
    }
}

fn public_keys(texts: &[String], issues: &mut Issues) -> Option<Keys> {
    if texts.is_empty() || texts.len() > MAX_PEM_KEYS {
        let problem = format!("give 1 to {MAX_PEM_KEYS} keys");
        issues.add("/public_keys", "invalid_count", problem);
        return None;
    }
    match KeySet::from_pem(texts) {
        Ok(set) => Some(Keys::Fixed(set)),
        Err(faults) => {
            for i in faults {
                let problem = "is not a public key in PEM (`-----BEGIN PUBLIC KEY-----`) of RSA with 2,048 bits or more, EC or Ed25519; `openssl x509 -pubkey -noout` takes it out of a certificate";
                issues.add(format!("/public_keys/{i}"), "invalid_key", problem);
            }
            None
        }
    }
}
