//! What comes with a request: address, query, body, conditions; each read once, and whole.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Uri, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tollgate_model::issue::nearest;
use tollgate_model::units::Span;
use tollgate_model::{FromText, Issues, Kind, Name};

use super::Admin;
use super::problem::AdminError;
use crate::change::Expect;

/// The longest that a body may take to arrive.
const BODY_LIMIT: Duration = Duration::from_mins(1);
/// A larger body is parsed beside the threads that answer.
const SMALL_BYTES: usize = 256 * 1024;

/// The variable segments of an address.
pub(crate) struct At<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Admin> for At<T> {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, admin: &Admin) -> Result<Self, AdminError> {
        match Path::from_request_parts(parts, admin).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(_rejection) => Err(AdminError::no_resource("such address")),
        }
    }
}

/// What comes behind the address: query, headers, body.
pub(crate) struct Sent {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    body: Body,
}

impl FromRequest<Admin> for Sent {
    type Rejection = AdminError;

    async fn from_request(request: Request, _admin: &Admin) -> Result<Self, AdminError> {
        let (parts, body) = request.into_parts();
        Ok(Self { uri: parts.uri, headers: parts.headers, body })
    }
}

impl Sent {
    /// The JSON body, of at most `limit` bytes; nothing at all is an empty object.
    pub(crate) async fn json(self, limit: usize) -> Result<Value, AdminError> {
        json(&self.headers, self.body, limit).await
    }
}

/// Reads a name in an address; what cannot be one names nothing.
pub(crate) fn name(text: &str) -> Result<Name, AdminError> {
    Name::from_text(text).map_err(|rejected| AdminError::NotFound(rejected.problem))
}

/// Reads a kind in an address: its plural.
pub(crate) fn kind(text: &str) -> Result<Kind, AdminError> {
    Kind::ALL.into_iter().find(|kind| kind.plural() == text).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::plural);
        let text = text.escape_debug();
        AdminError::NotFound(format!(
            "`{text}` is not a kind; {}",
            nearest(&text.to_string(), &known)
        ))
    })
}

/// Reads the number of a revision in an address.
pub(crate) fn revision(text: &str) -> Result<u64, AdminError> {
    text.parse().map_err(|_not_a_number| {
        AdminError::no_resource(format_args!("revision `{}`", text.escape_debug()))
    })
}

/// The query of a request. Every fault of it is told at once.
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
    issues: Issues,
}

impl Query {
    /// Reads a query that may have these parameters.
    pub(crate) fn read(uri: &Uri, known: &[&str]) -> Result<Self, AdminError> {
        let parsed = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
        let Ok(axum::extract::Query(pairs)) = parsed else {
            return Err(AdminError::BadRequest {
                code: "invalid_query",
                detail: "the query is not made of `name=value` pairs in UTF-8".to_owned(),
                issues: Issues::default(),
            });
        };
        let mut query = Self { pairs, issues: Issues::default() };
        for (i, (name, _)) in query.pairs.iter().enumerate() {
            let at = format!("?{name}");
            if !known.contains(&name.as_str()) {
                let problem = format!(
                    "`{}` is not a parameter here; {}",
                    name.escape_debug(),
                    nearest(name, known)
                );
                query.issues.add(at, "unknown_parameter", problem);
            } else if name != "label"
                && query.pairs.iter().take(i).any(|(before, _)| before == name)
            {
                query.issues.add(at, "duplicate", "is given twice; give it once");
            }
        }
        Ok(query)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn parse<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, (String, String)>,
    ) -> Option<T> {
        let text = self.text(name)?;
        match read(text) {
            Ok(value) => Some(value),
            Err((code, problem)) => {
                self.issues.add(format!("?{name}"), &code, problem);
                None
            }
        }
    }

    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let read = |text: &str| match text {
            "true" | "1" | "" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(("invalid".to_owned(), "is neither true nor false".to_owned())),
        };
        self.parse(name, read).unwrap_or(false)
    }

    /// A number from 1 to `most`.
    pub(crate) fn number(&mut self, name: &str, default: usize, most: usize) -> usize {
        let read = |text: &str| match text.parse::<usize>() {
            Ok(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(("out_of_range".to_owned(), format!("is not a number from 1 to {most}"))),
        };
        self.parse(name, read).unwrap_or(default)
    }

    pub(crate) fn span(&mut self, name: &str, default: Duration, most: Duration) -> Duration {
        let read = |text: &str| match Span::from_text(text) {
            Ok(span) if span.get() <= most => Ok(span.get()),
            Ok(_) => {
                Err(("out_of_range".to_owned(), format!("is longer than {} s", most.as_secs())))
            }
            Err(rejected) => Err((rejected.code.to_owned(), rejected.problem)),
        };
        self.parse(name, read).unwrap_or(default)
    }

    pub(crate) fn value<T: FromText>(&mut self, name: &str) -> Option<T> {
        self.parse(name, |text| {
            T::from_text(text).map_err(|rejected| (rejected.code.to_owned(), rejected.problem))
        })
    }

    /// One of these words.
    pub(crate) fn word(&mut self, name: &str, known: &[&'static str]) -> Option<&'static str> {
        self.parse(name, |text| {
            known.iter().find(|word| **word == text).copied().ok_or_else(|| {
                let problem = format!(
                    "`{}` is not a value here; {}",
                    text.escape_debug(),
                    nearest(text, known)
                );
                ("unknown_value".to_owned(), problem)
            })
        })
    }

    /// All that was wrong, once everything was read.
    pub(crate) fn finish(self) -> Result<(), AdminError> {
        if self.issues.0.is_empty() {
            return Ok(());
        }
        let detail = match self.issues.0.as_slice() {
            [one] => format!("{}: {}", one.at, one.problem),
            many => format!("there are {} faults in the query", many.len()),
        };
        Err(AdminError::BadRequest { code: "invalid_query", detail, issues: self.issues })
    }
}

async fn json(headers: &HeaderMap, body: Body, limit: usize) -> Result<Value, AdminError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| length > limit) {
        return Err(AdminError::TooLarge(limit));
    }
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|text| text.split(';').next()).map(str::trim);
    if media_type.is_some_and(|text| text != "application/json" && !text.ends_with("+json")) {
        return Err(AdminError::BadRequest {
            code: "not_json",
            detail: "the body is not JSON; send `content-type: application/json`".to_owned(),
            issues: Issues::default(),
        });
    }
    let bytes = match tokio::time::timeout(BODY_LIMIT, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) if is_too_large(&error) => return Err(AdminError::TooLarge(limit)),
        Ok(Err(_)) | Err(_) => return Err(AdminError::BodyLost),
    };
    if bytes.len() <= SMALL_BYTES {
        return parse(&bytes);
    }
    let parsed = tokio::task::spawn_blocking(move || parse(&bytes)).await;
    parsed.map_err(|_stopped| AdminError::Internal("parse a body"))?
}

fn is_too_large(error: &axum::Error) -> bool {
    use std::error::Error as _;
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.to_string().contains("length limit") {
            return true;
        }
        cause = inner.source();
    }
    false
}

fn parse(bytes: &Bytes) -> Result<Value, AdminError> {
    if bytes.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    serde_json::from_slice(bytes).map_err(|error| AdminError::BadRequest {
        code: "invalid_json",
        // Its message has the position and none of the content.
        detail: format!("the body is not JSON: {error}"),
        issues: Issues::default(),
    })
}

/// What `If-Match` and `If-None-Match` ask for.
pub(crate) fn expectation(headers: &HeaderMap) -> Result<Expect, AdminError> {
    let bad = |detail: &str| AdminError::BadRequest {
        code: "invalid_condition",
        detail: detail.to_owned(),
        issues: Issues::default(),
    };
    let one = |name: header::HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(Some).map_err(|_not_ascii| ()),
            (Some(_), Some(_)) => Err(()),
        }
    };
    let wrong =
        bad("`If-Match` takes one version as in `ETag`, such as \"7\"; `If-None-Match` takes `*`");
    let (Ok(matches), Ok(none_matches)) = (one(header::IF_MATCH), one(header::IF_NONE_MATCH))
    else {
        return Err(wrong);
    };
    match (matches, none_matches) {
        (None, None) => Ok(Expect::Anything),
        (None, Some("*")) => Ok(Expect::Absent),
        (Some(tag), None) => {
            let version = tag.trim().strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            version.and_then(|version| version.parse().ok()).map(Expect::Version).ok_or(wrong)
        }
        _ => Err(wrong),
    }
}
