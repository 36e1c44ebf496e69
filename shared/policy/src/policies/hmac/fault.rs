//! Why a call is refused, and what the caller is told.

use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::policy::Refusal;

/// RFC 9421 §5.
pub(super) const ACCEPT_SIGNATURE: HeaderName = HeaderName::from_static("accept-signature");

/// Why a call is refused.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// There is no signature that is asked for here.
    Missing,
    /// The fields cannot be read.
    Malformed,
    /// It covers something that it cannot cover.
    Component(&'static str),
    /// It covers something that the request has not got.
    Absent,
    /// It does not cover what it must.
    NotCovered,
    /// It does not cover what the body is.
    BodyNotCovered,
    /// It lacks a parameter, or has one that is not what it must be.
    Parameter,
    /// Made in the future.
    NotYet,
    /// Made too long ago.
    TooOld,
    /// No longer good, as it says itself.
    Expired,
    /// Nobody has the key that it names, or it is not by that key. Both alike, so that nobody learns which
    /// keys there are.
    Unverified,
    /// It was used before.
    Replayed,
    /// The key is a secret that is not there or cannot be one.
    NoSecret,
    /// Its credential is switched off.
    Disabled,
    /// Its credential has expired.
    CredentialExpired,
    /// `content-digest` cannot be read.
    Digest,
    /// The body is another.
    WrongBody,
    /// The body is larger than so many bytes.
    BodyTooLarge(u64),
    /// The body did not come in time.
    BodyTooSlow,
    /// The body broke off.
    BodyBroken,
    /// Another policy broke the body off.
    Refused(Box<Refusal>),
}

impl Fault {
    /// What the caller is told; `accepted` says what a signature is to be.
    pub(super) fn into_refusal(self, accepted: &HeaderValue) -> Box<Refusal> {
        let challenge = |code, detail| {
            Refusal::new(StatusCode::UNAUTHORIZED, code, detail)
                // RFC 9110 §15.5.2 wants a challenge; no scheme is registered for signatures.
                .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Signature"))
                .with(ACCEPT_SIGNATURE, accepted.clone())
        };
        let unauthenticated = |detail| challenge("unauthenticated", detail);
        Box::new(match self {
            Self::Missing => unauthenticated("no signature was sent").lacking_credential(),
            Self::Malformed => unauthenticated(
                "the signature fields are malformed, name something twice, or hold more than is taken",
            ),
            Self::Component(problem) => unauthenticated(problem),
            Self::Absent => unauthenticated(
                "the signature covers something that the request has not got, or not in a form that can be signed",
            ),
            Self::NotCovered => unauthenticated(
                "the signature does not cover all that it must; `accept-signature` says what that is",
            ),
            Self::BodyNotCovered => unauthenticated(
                "the request has a body, and the signature does not cover `content-digest`",
            ),
            Self::Parameter => unauthenticated(
                "the signature lacks `created` or `keyid`, or has a parameter of another type",
            ),
            Self::NotYet => unauthenticated("the signature is not valid yet"),
            Self::TooOld => unauthenticated("the signature is too old"),
            Self::Expired => unauthenticated("the signature has expired"),
            Self::Unverified => unauthenticated("the signature is by no key that is known"),
            Self::Disabled => unauthenticated("the key is switched off"),
            Self::CredentialExpired => unauthenticated("the key has expired"),
            Self::Digest => unauthenticated(
                "`content-digest` is malformed, or has neither `sha-256` nor `sha-512`",
            ),
            Self::WrongBody => unauthenticated("the body is not the one that was signed"),
            Self::Replayed => challenge(
                "signature_replayed",
                "the signature was used before; sign each request anew, with a `nonce`",
            ),
            Self::NoSecret => Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "identity_unavailable",
                "the key that signatures are checked with cannot be had",
            )
            .with(header::RETRY_AFTER, HeaderValue::from_static("1")),
            Self::BodyTooLarge(bytes) => Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!(
                    "the request's body is larger than the {bytes} bytes that are checked here"
                ),
            ),
            Self::BodyTooSlow => Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "the request's body took too long to come",
            ),
            Self::BodyBroken => Refusal::new(
                StatusCode::BAD_REQUEST,
                "malformed_request",
                "the request's body broke off or is not framed as HTTP demands",
            ),
            Self::Refused(refusal) => *refusal,
        })
    }
}
