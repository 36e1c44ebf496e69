//! What a token must be and say, beside being signed (RFC 7519 §7.2, RFC 8725 §3).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};
use tollgate_model::units::Span;
use tollgate_model::{FromText as _, Name};

use super::config::Config;
use super::fault::Fault;
use crate::claims::{self, Claims};
use crate::jose::{Algorithm, Header, Verified};

/// What a token must be and say, and what is made of it.
pub(super) struct Admission {
    algorithms: Box<[Algorithm]>,
    types: Option<Box<[Box<str>]>>,
    issuers: Option<Box<[Box<str>]>>,
    audiences: Option<Box<[Box<str>]>>,
    required: Box<[Box<str>]>,
    leeway_micros: u64,
    max_age_micros: Option<u64>,
    groups: Box<str>,
    application: Option<Box<str>>,
    fields: Box<[(HeaderName, Box<str>)]>,
}

impl Admission {
    pub(super) fn new(config: &Config, algorithms: Box<[Algorithm]>) -> Self {
        let issuer = config.jwks.as_ref().and_then(|jwks| jwks.issuer.clone()).map(|one| vec![one]);
        let boxed = |list: &Vec<String>| list.iter().map(|text| text.as_str().into()).collect();
        let fields = config.claims_to_headers.iter().flat_map(|mapping| &mapping.0);
        Self {
            algorithms,
            types: config
                .types
                .as_ref()
                .map(|types| types.iter().map(|one| typed(one).into()).collect()),
            issuers: config.issuers.as_ref().or(issuer.as_ref()).map(boxed),
            audiences: config.audiences.as_ref().map(boxed),
            required: config.required.as_ref().map_or_else(|| ["exp".into()].into(), boxed),
            leeway_micros: micros(config.leeway.map_or(Duration::from_secs(60), Span::get)),
            max_age_micros: config.max_age.map(|age| micros(age.get())),
            groups: config.groups.as_deref().unwrap_or("groups").into(),
            application: config.application.as_ref().map(|of| of.claim.as_str().into()),
            fields: fields
                .map(|(name, claim)| (name.as_http().clone(), claim.as_str().into()))
                .collect(),
        }
    }

    /// The fields that are made of claims, in the order of [`Verified::fields`].
    pub(super) fn fields(&self) -> impl Iterator<Item = &HeaderName> {
        self.fields.iter().map(|(name, _)| name)
    }

    /// How long a secret must be for all that a token may be signed with.
    pub(super) fn least_secret_bytes(&self) -> usize {
        let each = self.algorithms.iter().filter_map(|algorithm| algorithm.least_secret_bytes());
        each.max().unwrap_or(0)
    }

    /// How a token is to be checked, by its header.
    pub(super) fn algorithm(&self, header: &Header) -> Result<Algorithm, Fault> {
        let algorithm = Algorithm::of_name(&header.alg)
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or(Fault::Algorithm)?;
        if let Some(types) = &self.types {
            let is = header.typ.as_deref().map(typed).ok_or(Fault::Type)?;
            if !types.iter().any(|one| one.eq_ignore_ascii_case(is)) {
                return Err(Fault::Type);
            }
        }
        Ok(algorithm)
    }

    /// What a token says whose signature is good.
    pub(super) fn admit(&self, all: Map<String, Value>, now: u64) -> Result<Verified, Fault> {
        if !self
            .required
            .iter()
            .all(|name| claims::find(&all, name).is_some_and(|is| !is.is_null()))
        {
            return Err(Fault::Claim);
        }
        let ends_at_unix_micros = self.until(&all, now)?;
        if let Some(issuers) = &self.issuers {
            let is = all.get("iss").and_then(Value::as_str).ok_or(Fault::Issuer)?;
            if !issuers.iter().any(|one| **one == *is) {
                return Err(Fault::Issuer);
            }
        }
        if let Some(audiences) = &self.audiences
            && !texts(all.get("aud")).any(|is| audiences.iter().any(|one| **one == *is))
        {
            return Err(Fault::Audience);
        }
        let subject = match all.get("sub") {
            None => None,
            Some(subject) => Some(subject.as_str().ok_or(Fault::Claim)?.into()),
        };
        let claims = Claims {
            subject,
            scopes: scopes(&all),
            groups: texts(claims::find(&all, &self.groups)).map(Box::from).collect(),
            all,
        };
        let application = self.application.as_ref().and_then(|claim| {
            let name = claims.get(claim)?.as_str()?;
            Name::from_text(name).ok()
        });
        let value = |(_, claim): &(HeaderName, Box<str>)| {
            HeaderValue::from_bytes(claims.text(claim)?.as_bytes()).ok()
        };
        let fields = self.fields.iter().map(value).collect();
        Ok(Verified { fields, application, claims: Arc::new(claims), ends_at_unix_micros })
    }

    /// Until when a token is good, if it is now.
    fn until(&self, all: &Map<String, Value>, now: u64) -> Result<u64, Fault> {
        let moment = |name: &str| match all.get(name) {
            None => Ok(None),
            Some(value) => numeric_date(value).map(Some).ok_or(Fault::Claim),
        };
        let (exp, nbf, iat) = (moment("exp")?, moment("nbf")?, moment("iat")?);
        let soonest = now.saturating_add(self.leeway_micros);
        if nbf.is_some_and(|nbf| nbf > soonest) || iat.is_some_and(|iat| iat > soonest) {
            return Err(Fault::NotYet);
        }
        let expires = exp.map_or(u64::MAX, |exp| exp.saturating_add(self.leeway_micros));
        if expires <= now {
            return Err(Fault::Expired);
        }
        let Some(max_age) = self.max_age_micros else { return Ok(expires) };
        let grows_old =
            iat.ok_or(Fault::Claim)?.saturating_add(max_age).saturating_add(self.leeway_micros);
        if grows_old <= now {
            return Err(Fault::TooOld);
        }
        Ok(expires.min(grows_old))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A media type's name without what all have in common (RFC 7515 §4.1.9).
fn typed(name: &str) -> &str {
    match name.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => name,
    }
}

/// Seconds since 1970-01-01, with a fraction where it has one (RFC 7519 §2), in microseconds. Before 1970
/// is 1970; what no clock will reach is the end of time.
fn numeric_date(value: &Value) -> Option<u64> {
    if let Some(seconds) = value.as_u64() {
        return Some(seconds.saturating_mul(1_000_000));
    }
    let seconds = value.as_f64()?;
    Some(Duration::try_from_secs_f64(seconds.max(0.0)).map_or(u64::MAX, micros))
}

/// The texts of a claim that is one text or a list of them.
fn texts(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let one = claim.and_then(Value::as_str);
    let many = claim.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    one.into_iter().chain(many)
}

/// `scope` (RFC 8693 §4.2), or `scp` as some issuers call it: a list, or words with spaces between.
fn scopes(all: &Map<String, Value>) -> Box<[Box<str>]> {
    let claim = all.get("scope").or_else(|| all.get("scp"));
    texts(claim).flat_map(str::split_ascii_whitespace).map(Box::from).collect()
}
