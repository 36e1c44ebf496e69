//! Why a token is refused, and what the caller is told (RFC 6750 §3).

use http::{HeaderValue, StatusCode, header};

use crate::jose::Malformed;
use crate::policy::Refusal;

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no token.
    Missing,
    /// There is more than one.
    Ambiguous,
    /// It cannot be read.
    Malformed(Malformed),
    /// It is signed in a way that is not admitted.
    Algorithm,
    /// It is of a type that is not admitted.
    Type,
    /// The key that it names did not sign it.
    BadSignature,
    /// No key that is known signed it.
    UnknownKey,
    /// The keys cannot be had.
    NoKeys,
    /// It lacks a claim, or has one that is not what it must be.
    Claim,
    /// Another issuer's.
    Issuer,
    /// For another audience.
    Audience,
    /// No longer good.
    Expired,
    /// Not good yet.
    NotYet,
    /// Made too long ago.
    TooOld,
    /// It names no application that is here.
    UnknownApplication,
    /// Its application is switched off.
    DisabledApplication,
}

/// `error="invalid_token"` with the sentence that says why.
macro_rules! invalid_token {
    ($why:literal) => {
        ($why, concat!("Bearer error=\"invalid_token\", error_description=\"", $why, "\""))
    };
}

impl Fault {
    pub(super) fn into_refusal(self) -> Refusal {
        let (detail, challenge) = match self {
            Self::Missing => {
                return Refusal::new(
                    StatusCode::UNAUTHORIZED,
                    "unauthenticated",
                    "no token was sent",
                )
                .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
                .lacking_credential();
            }
            Self::Ambiguous => {
                let detail = "more than one token was sent";
                let challenge = "Bearer error=\"invalid_request\", error_description=\"more than one token was sent\"";
                return Refusal::new(StatusCode::BAD_REQUEST, "ambiguous_token", detail)
                    .with(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            Self::NoKeys => {
                let detail = "the keys that tokens are checked with cannot be had";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return Refusal::new(status, "identity_unavailable", detail)
                    .with(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::UnknownApplication => {
                return forbidden("the token names no application that is known");
            }
            Self::DisabledApplication => {
                return forbidden("the application that the token names is switched off");
            }
            Self::Malformed(Malformed::TooLong) => invalid_token!("the token is too long"),
            Self::Malformed(Malformed::NotOne) => invalid_token!("this is not a signed token"),
            Self::Malformed(Malformed::Critical) => {
                invalid_token!("the token needs an extension that is not supported")
            }
            Self::Algorithm => invalid_token!("the token's algorithm is not accepted"),
            Self::Type => invalid_token!("the token's type is not accepted"),
            Self::BadSignature => invalid_token!("the token's signature is wrong"),
            Self::UnknownKey => invalid_token!("the token is signed with a key that is not known"),
            Self::Claim => invalid_token!("the token lacks a claim, or has a wrong one"),
            Self::Issuer => invalid_token!("the token's issuer is not accepted"),
            Self::Audience => invalid_token!("the token is for another audience"),
            Self::Expired => invalid_token!("the token has expired"),
            Self::NotYet => invalid_token!("the token is not valid yet"),
            Self::TooOld => invalid_token!("the token is too old"),
        };
        Refusal::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }
}

fn forbidden(detail: &'static str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "forbidden", detail)
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}
