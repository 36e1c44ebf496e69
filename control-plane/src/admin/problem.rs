//! Every refusal and fault of the admin API, and the one place where it becomes a status and a body
//! (RFC 9457).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use tollgate_model::{Issue, Issues};

use crate::cause;
use crate::change::ChangeError;
use crate::identity::{IdentityError, JoinError};
use crate::questions::AskError;
use crate::store::StoreError;
use crate::validate::MANAGED_ELSEWHERE;

const BODY_TOO_LARGE: &str = "body_too_large";
const BODY_LOST: &str = "body_lost";

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// No token, or one that does not work.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The caller sees it and may not do it.
    #[error("{0}")]
    Forbidden(String),
    /// It is not there, or the caller may not know that it is.
    #[error("{0}")]
    NotFound(String),
    /// The address is right, the method is not.
    #[error("this address does not take this method")]
    MethodNotAllowed,
    /// The request itself does not read.
    #[error("{detail}")]
    BadRequest { code: &'static str, detail: String, issues: Issues },
    /// The body is larger than this many bytes.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The body came too slowly, or not whole.
    #[error("the body did not come whole and in time")]
    BodyLost,
    /// What the request says is wrong.
    #[error("{}", faults(.0))]
    Faults(Issues),
    /// A change could not be made.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The store did not do what it was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A token could not be made or looked up.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A join token could not be made.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// No node says what was asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// What should not happen.
    #[error("{0}")]
    Internal(&'static str),
}

/// A refusal on its way to the layer that knows the request's id.
#[derive(Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    issues: Issues,
}

impl AdminError {
    pub(crate) fn no_resource(what: impl std::fmt::Display) -> Self {
        Self::NotFound(format!("there is no {what}"))
    }

    pub(crate) fn issue(at: impl Into<String>, code: &str, problem: impl Into<String>) -> Self {
        Self::Faults(Issues::one(Issue::new(at, code, problem)))
    }

    fn problem(&self) -> Problem {
        let said = |status, code| Problem {
            status,
            code,
            detail: self.to_string(),
            issues: Issues::default(),
        };
        match self {
            Self::Unauthenticated(_) => said(StatusCode::UNAUTHORIZED, "unauthenticated"),
            Self::Forbidden(_) => said(StatusCode::FORBIDDEN, "forbidden"),
            Self::NotFound(_) => said(StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed => said(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::BadRequest { code, issues, .. } => {
                Problem { issues: issues.clone(), ..said(StatusCode::BAD_REQUEST, code) }
            }
            Self::TooLarge(_) => said(StatusCode::PAYLOAD_TOO_LARGE, BODY_TOO_LARGE),
            Self::BodyLost => said(StatusCode::REQUEST_TIMEOUT, BODY_LOST),
            Self::Faults(issues) => invalid(issues),
            Self::Change(error) => of_change(error),
            Self::Store(error) => of_store(error),
            Self::Ask(AskError::NoNode(_)) => said(StatusCode::SERVICE_UNAVAILABLE, "no_node"),
            Self::Ask(AskError::NoAnswer(_)) => said(StatusCode::GATEWAY_TIMEOUT, "no_answer"),
            Self::Ask(AskError::Unreadable(_)) => internal(),
            Self::Identity(IdentityError::Store(error)) | Self::Join(JoinError::Store(error)) => {
                of_store(error)
            }
            Self::Identity(
                IdentityError::BadGivenToken
                | IdentityError::TokenFile { .. }
                | IdentityError::Random(_),
            )
            | Self::Join(
                JoinError::Unknown
                | JoinError::Expired { .. }
                | JoinError::Revoked { .. }
                | JoinError::UsedUp { .. }
                | JoinError::OtherGateway { .. }
                | JoinError::Random(_),
            )
            | Self::Internal(_) => internal(),
        }
    }
}

fn of_change(error: &ChangeError) -> Problem {
    let said = |status, code| Problem {
        status,
        code,
        detail: error.to_string(),
        issues: Issues::default(),
    };
    match error {
        ChangeError::Faults(issues) => invalid(issues),
        ChangeError::Conflict(issues) => {
            let is_managed = issues.0.iter().all(|issue| issue.code == MANAGED_ELSEWHERE);
            let (status, code) = if is_managed {
                (StatusCode::CONFLICT, MANAGED_ELSEWHERE)
            } else {
                (StatusCode::PRECONDITION_FAILED, "version_conflict")
            };
            Problem { status, code, detail: faults(issues), issues: issues.clone() }
        }
        ChangeError::NoRevision(_) => said(StatusCode::NOT_FOUND, "not_found"),
        ChangeError::TooMany => said(StatusCode::PAYLOAD_TOO_LARGE, "too_many_resources"),
        ChangeError::Store(error) => of_store(error),
        ChangeError::Seal(_) => internal(),
        ChangeError::Behind(_) => Problem {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "behind",
            detail: "a newer Tollgate has changed the configuration; ask that one".to_owned(),
            issues: Issues::default(),
        },
        ChangeError::Stopping => said(StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    }
}

fn of_store(error: &StoreError) -> Problem {
    let said = |status, code, detail: &str| Problem {
        status,
        code,
        detail: detail.to_owned(),
        issues: Issues::default(),
    };
    match error {
        StoreError::Unavailable { .. } => said(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_unavailable",
            "the store does not answer; nothing is changed, try again",
        ),
        StoreError::Full { .. } => said(
            StatusCode::INSUFFICIENT_STORAGE,
            "store_full",
            "the store is full; nothing is changed, make room first",
        ),
        StoreError::Conflict { .. } => said(
            StatusCode::CONFLICT,
            "conflict",
            "the store holds something else by now; read again, then decide",
        ),
        StoreError::Corrupt { .. } | StoreError::Other { .. } => internal(),
    }
}

fn invalid(issues: &Issues) -> Problem {
    Problem {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        code: "invalid",
        detail: faults(issues),
        issues: issues.clone(),
    }
}

fn internal() -> Problem {
    Problem {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        code: "internal",
        detail: "this should not happen; the log has more under the request's id".to_owned(),
        issues: Issues::default(),
    }
}

/// The one fault, or how many there are.
fn faults(issues: &Issues) -> String {
    match issues.0.as_slice() {
        [one] => one.problem.clone(),
        many => format!("there are {} faults; nothing is changed", many.len()),
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        if problem.status.is_server_error() {
            tracing::error!(error = cause(&self), "carry out an admin request");
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = problem.status;
        response.extensions_mut().insert(problem);
        response
    }
}

/// Gives a response its body, where it is a refusal.
pub(crate) fn render(mut response: Response, request_id: &str) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let body = json!({
        "type": format!("urn:tollgate:problem:{}", problem.code),
        "title": problem.status.canonical_reason().unwrap_or("Problem"),
        "status": problem.status.as_u16(),
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request_id,
        "issues": problem.issues,
    });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if problem.status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if problem.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if matches!(problem.code, BODY_TOO_LARGE | BODY_LOST) {
        // The rest of the body is not read: the connection ends, and the client is told not to use it again.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    *response.body_mut() = Body::from(body.to_string());
    response
}
