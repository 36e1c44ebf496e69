//! What a request and its answer must be, and whether they are.

use std::borrow::Cow;

use http::{HeaderMap, Request, StatusCode};

use super::json::{Json, Unreadable};
use super::media::{Contents, Reading};
use super::openapi::parameter::{Coding, Pairs, Parameter, Place, cookies, field, gathered, pairs};
use super::schema::{At, Checker, Shape};
use crate::body::Body;

pub(super) const BODY: At<'static> = At::Part("/body");

/// What is asked of the requests of one operation, and of their answers.
#[derive(Default)]
pub(super) struct Operation {
    pub(super) parameters: Box<[Parameter]>,
    pub(super) body: Option<BodyRule>,
    pub(super) answers: Answers,
}

/// What is asked of a body.
pub(super) struct BodyRule {
    pub(super) required: Required,
    pub(super) contents: Contents,
}

/// Whether there must be a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Required {
    Never,
    Always,
    /// Where the method is one that sends something: POST, PUT, PATCH.
    ByMethod,
}

/// What is asked of answers, by their status.
#[derive(Default)]
pub(super) struct Answers {
    /// The most particular first.
    pub(super) rules: Vec<(Statuses, AnswerRule)>,
    /// Whether other statuses are faults.
    pub(super) is_closed: bool,
}

/// Which statuses a rule is for. In the order of how particular they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Statuses {
    Exactly(u16),
    /// `4XX`.
    Hundred(u16),
    Default,
}

/// What is asked of an answer.
pub(super) struct AnswerRule {
    pub(super) fields: Box<[Parameter]>,
    pub(super) body: Option<BodyRule>,
}

impl Statuses {
    fn has(self, status: StatusCode) -> bool {
        match self {
            Self::Exactly(known) => status.as_u16() == known,
            Self::Hundred(hundred) => status.as_u16() / 100 == hundred,
            Self::Default => true,
        }
    }
}

impl Answers {
    pub(super) fn rule(&self, status: StatusCode) -> Option<&AnswerRule> {
        self.rules.iter().find(|(statuses, _)| statuses.has(status)).map(|(_, rule)| rule)
    }

    /// Whether bodies of answers are read, so that they must come plain.
    pub(super) fn reads(&self) -> bool {
        let mut bodies = self.rules.iter().filter_map(|(_, rule)| rule.body.as_ref());
        bodies.any(|body| body.contents.reads())
    }
}

/// Whether parameters that the document does not name are faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strangers {
    Taken,
    Refused,
}

/// The parameters of one request.
pub(super) struct Given<'a> {
    pub(super) request: &'a Request<Body>,
    /// Values in the path, by name.
    pub(super) path: &'a [(&'a str, &'a str)],
}

impl Operation {
    /// Checks parameters; the body comes later.
    pub(super) fn check_parameters(
        &self,
        given: &Given<'_>,
        strangers: Strangers,
        checker: &mut Checker<'_>,
    ) {
        let has = |place: Place| self.parameters.iter().any(|known| known.place == place);
        let query = given.request.uri().query().unwrap_or_default();
        let refuses = strangers == Strangers::Refused && !query.is_empty();
        let mut query_pairs = Pairs::new();
        if has(Place::Query) || refuses {
            match pairs(query) {
                Some(split) => query_pairs = split,
                None => checker.fault(At::Part("/query"), "malformed", || {
                    "has more than 1,000 parameters, or a name that is not UTF-8".to_owned()
                }),
            }
        }
        if refuses {
            self.refuse_strangers(&query_pairs, checker);
        }
        let headers = given.request.headers();
        let cookies = if has(Place::Cookie) { cookies(headers) } else { Pairs::new() };
        for parameter in &self.parameters {
            match &parameter.place {
                Place::Path => {
                    let found = given.path.iter().find(|(name, _)| *name == &*parameter.name);
                    match found {
                        Some((_, text)) => parameter.check_text(text, Coding::Path, checker),
                        None => parameter.check(Ok(None), checker),
                    }
                }
                Place::Query => of_pairs(parameter, &query_pairs, Coding::Query, checker),
                Place::Cookie => of_pairs(parameter, &cookies, Coding::Plain, checker),
                Place::Header(name) => check_field(parameter, headers, name, checker),
            }
        }
    }

    fn refuse_strangers(&self, pairs: &Pairs<'_>, checker: &mut Checker<'_>) {
        let of_query = |known: &&Parameter| known.place == Place::Query;
        for (name, _) in pairs {
            if !self.parameters.iter().filter(of_query).any(|known| known.takes(name)) {
                let query = At::Part("/query");
                checker.fault(At::Member(&query, name), "unknown_parameter", || {
                    "is not a parameter here; take it out".to_owned()
                });
            }
        }
    }
}

fn of_pairs(parameter: &Parameter, pairs: &Pairs<'_>, coding: Coding, checker: &mut Checker<'_>) {
    let mut own = pairs.iter().filter(|(name, _)| *name == *parameter.name);
    match (&parameter.shape, own.next(), own.next()) {
        (Shape::Scalar(_), Some((_, text)), None) => parameter.check_text(text, coding, checker),
        _ => parameter.check(parameter.of_pairs(pairs, coding), checker),
    }
}

/// Checks a field of a request or an answer.
pub(super) fn check_field(
    parameter: &Parameter,
    headers: &HeaderMap,
    name: &http::HeaderName,
    checker: &mut Checker<'_>,
) {
    match field(headers, name) {
        Ok(Some(text)) => parameter.check_text(&text, Coding::Plain, checker),
        Ok(None) => parameter.check(Ok(None), checker),
        Err(unfit) => parameter.check(Err(unfit), checker),
    }
}

/// Checks a body that was read. An empty one is one that is not there.
pub(super) fn check_body(
    reading: &Reading<'_>,
    bytes: &[u8],
    is_required: bool,
    checker: &mut Checker<'_>,
) {
    if bytes.is_empty() {
        if is_required {
            lacks_body(checker);
        }
        return;
    }
    match reading {
        Reading::Unread => {}
        Reading::Json(node) => match Json::parse(bytes) {
            Ok(json) => checker.check(*node, &json, BODY),
            Err(Unreadable::TooComplex) => checker.give_up(),
            Err(Unreadable::Malformed { line, column, problem }) => {
                checker.fault(BODY, "malformed", || {
                    format!("{problem}: line {line}, column {column}")
                });
            }
        },
        Reading::Form(node, shape) => match form(bytes, shape) {
            Ok(json) => checker.check(*node, &json, BODY),
            Err(problem) => checker.fault(BODY, "malformed", || problem.to_owned()),
        },
    }
}

pub(super) fn lacks_body(checker: &mut Checker<'_>) {
    checker.fault(BODY, "required", || "is missing; send it".to_owned());
}

fn form(bytes: &[u8], shape: &Shape) -> Result<Json, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_not_utf8| "is not a form: it is not UTF-8")?;
    let pairs = pairs(text).ok_or("has more than 1,000 fields, or a name that is not UTF-8")?;
    let members: &[_] = match shape {
        Shape::Object(members) => members,
        Shape::Scalar(_) | Shape::List(_) => &[],
    };
    let fields = pairs.iter().map(|(name, value): &(Cow<'_, str>, &str)| (&**name, *value));
    let object = gathered(fields, members, Coding::Query);
    object.map(Json::Object).map_err(|unfit| match unfit.code {
        "repeated" => "has a field several times that may stand there once",
        _ => "has a field that is not UTF-8",
    })
}
