//! Why a body cannot be transformed, and what is answered then.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderValue, StatusCode, header};

use crate::body::{BodyError, BrokenOff, TooSlow};
use crate::policy::Refusal;

/// Why a body cannot be transformed. Nothing of its content stands in it but names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// What the body is or has: follows `the request's body`.
    pub(super) why: Cow<'static, str>,
    pub(super) place: Place,
}

/// What kind of fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is larger than may be, or becomes so.
    TooLarge,
    /// It is of a type that is not taken.
    Type,
    /// It has a coding.
    Coding,
    /// It is not what its type says.
    Malformed,
    /// It is, and cannot become what is asked for.
    Untransformable,
}

/// Where in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// No place in particular.
    Whole,
    /// Counted from 1; the column in bytes.
    Line { line: usize, column: usize },
    /// A field of a form, counted from 1.
    Field(usize),
    /// A JSON pointer (RFC 6901).
    Member(String),
}

/// The longest pointer that is told.
const MAX_POINTER: usize = 200;

impl Fault {
    /// A fault of the whole body.
    pub(super) fn new(kind: Kind, why: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, why: why.into(), place: Place::Whole }
    }

    /// The same at a place.
    pub(super) fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// The answer where it is a request's body.
    pub(super) fn of_request(self) -> Box<Refusal> {
        let (status, code) = match self.kind {
            Kind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Kind::Type => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Kind::Coding => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding"),
            Kind::Malformed => (StatusCode::BAD_REQUEST, "malformed_body"),
            Kind::Untransformable => (StatusCode::UNPROCESSABLE_ENTITY, "untransformable_body"),
        };
        let refusal =
            Refusal::new(status, code, format!("the request's body {}{}", self.why, self.place));
        Box::new(match self.kind {
            // RFC 9110 §12.5.3: which codings would be taken.
            Kind::Coding => {
                refusal.with(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))
            }
            Kind::TooLarge | Kind::Type | Kind::Malformed | Kind::Untransformable => refusal,
        })
    }

    /// The answer where it is an upstream's answer. Names within that are not the client's to know.
    pub(super) fn of_response(self) -> Refusal {
        let code = match self.kind {
            Kind::TooLarge => "response_too_large",
            Kind::Coding => "encoded_response",
            Kind::Type | Kind::Malformed | Kind::Untransformable => "untransformable_response",
        };
        let place = match self.place {
            Place::Member(_) => Place::Whole,
            place @ (Place::Whole | Place::Line { .. } | Place::Field(_)) => place,
        };
        let detail = format!("the body of the upstream's answer {}{place}", self.why);
        Refusal::new(StatusCode::BAD_GATEWAY, code, detail)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Line { line, column } => write!(formatter, ", at line {line}, column {column}"),
            Self::Field(number) => write!(formatter, ", in its field {number}"),
            Self::Member(pointer) if pointer.is_empty() => Ok(()),
            Self::Member(pointer) if pointer.len() > MAX_POINTER => {
                let end = pointer.floor_char_boundary(MAX_POINTER);
                write!(formatter, ", at {}…", pointer.get(..end).unwrap_or_default())
            }
            Self::Member(pointer) => write!(formatter, ", at {pointer}"),
        }
    }
}

/// What is answered where a request's body breaks off before its end.
pub(super) fn broken_request(error: BodyError) -> Box<Refusal> {
    let error = match error.downcast::<BrokenOff>() {
        Ok(broken_off) => return broken_off.0,
        Err(error) => error,
    };
    let (status, code, detail) = if error.is::<TooSlow>() {
        (StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request's body stopped coming")
    } else {
        let detail = "the request's body broke off or is not framed as HTTP demands";
        (StatusCode::BAD_REQUEST, "malformed_request", detail)
    };
    Box::new(Refusal::new(status, code, detail))
}

/// What is answered where an answer's body breaks off before its end.
pub(super) fn broken_response(error: BodyError) -> Refusal {
    let error = match error.downcast::<BrokenOff>() {
        Ok(broken_off) => return *broken_off.0,
        Err(error) => error,
    };
    if error.is::<TooSlow>() {
        let detail = "the server of this API stopped sending its answer";
        return Refusal::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", detail);
    }
    let detail = "the server of this API ended the connection within its answer";
    Refusal::new(StatusCode::BAD_GATEWAY, "upstream_reset", detail)
}
