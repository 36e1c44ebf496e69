//! What the operator writes, and what is wrong with it.

use std::time::Duration;

use deserr::Deserr;
use schemars::JsonSchema;
use serde_json::Value;
use tollgate_model::Issues;
use tollgate_model::parse::Raw;
use tollgate_model::units::{Size, Span};

use super::media::Contents;
use super::openapi::{self, Document, Used};
use super::operation::{AnswerRule, Answers, BodyRule, Operation, Required, Statuses};
use super::schema::{Builder, Dialect, Faults, Schemas};

/// How large a document may be, written as JSON without blanks.
const MAX_DOCUMENT: usize = 1 << 20;

/// The largest body that may be read.
const MAX_BODY: u64 = 16 << 20;

/// The longest that a body may be waited for.
const MAX_TIMEOUT: Duration = Duration::from_secs(300);

/// What the operator writes. Exactly one of `json_schema` and `openapi` is given.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Schemas of bodies.
    #[deserr(default)]
    pub json_schema: Option<Bodies>,
    /// A document of OpenAPI 3.0 or 3.1, at most 1 MiB as JSON.
    #[deserr(default)]
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    pub openapi: Option<Raw>,
    /// Which messages are checked against `openapi`. Default: requests alone.
    #[deserr(default)]
    pub validate: Option<Directions>,
    /// Whether query parameters that `openapi` does not name are taken. Default `allow`.
    #[deserr(default)]
    pub unknown_parameters: Option<Unknown>,
    /// Whether requests for no operation of `openapi` go on, unchecked. Default `refuse`.
    #[deserr(default)]
    pub unknown_operations: Option<Unknown>,
    /// The largest body that is read, up to 16MiB. Default 1MiB.
    #[deserr(default)]
    pub max_body: Option<Size>,
    /// How long a body is waited for, up to 5m. Default 30s.
    #[deserr(default)]
    pub timeout: Option<Span>,
}

/// Schemas of bodies: at least one of them.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields, rename = "ValidateBodies")]
pub struct Bodies {
    /// Of requests: a JSON Schema of 2020-12, or of 2019-09 or draft 7 where its `$schema` says so.
    #[deserr(default)]
    #[schemars(with = "Option<Value>")]
    pub request: Option<Raw>,
    /// Of answers with a status from 200 to 299.
    #[deserr(default)]
    #[schemars(with = "Option<Value>")]
    pub response: Option<Raw>,
}

/// Which messages are checked.
#[derive(Clone, Copy, Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields, rename = "ValidateDirections")]
pub struct Directions {
    /// Requests. Default true.
    #[deserr(default)]
    pub request: Option<bool>,
    /// Answers. Default false.
    #[deserr(default)]
    pub response: Option<bool>,
}

/// What happens to what a document does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase", rename = "ValidateUnknown")]
pub enum Unknown {
    /// It goes on.
    Allow,
    /// It is refused.
    Refuse,
}

/// What messages are checked against.
pub(super) enum Source {
    /// One operation for all requests.
    Schemas(Box<Operation>),
    Document(Box<Document>),
}

/// A configuration, compiled.
pub(super) struct Compiled {
    pub(super) source: Source,
    pub(super) requests: Schemas,
    pub(super) answers: Schemas,
    pub(super) max_body: usize,
    pub(super) timeout: Duration,
}

/// Compiles all of it.
///
/// # Errors
///
/// Every fault.
pub(super) fn compile(config: &Config) -> Result<Compiled, Issues> {
    let mut issues = Issues::default();
    let (max_body, timeout) = bounds(config, &mut issues);
    let (source, requests, answers) = match (&config.json_schema, &config.openapi) {
        (Some(bodies), None) => {
            alone(config, &mut issues);
            of_schemas(bodies, &mut issues)
        }
        (None, Some(Raw(document))) => {
            of_document(document, used(config, &mut issues), &mut issues)
        }
        (Some(_), Some(_)) => {
            issues.add("", "too_many_fields", "has `json_schema` and `openapi`; give one of them");
            return Err(issues);
        }
        (None, None) => {
            issues.add("", "missing_field", "give `json_schema` or `openapi`");
            return Err(issues);
        }
    };
    issues.into_result(Compiled { source, requests, answers, max_body, timeout })
}

fn bounds(config: &Config, issues: &mut Issues) -> (usize, Duration) {
    let max_body = config.max_body.map_or(1 << 20, Size::bytes);
    if !(1..=MAX_BODY).contains(&max_body) {
        issues.add("/max_body", "out_of_range", "give a size from 1B to 16MiB");
    }
    let timeout = config.timeout.map_or(Duration::from_secs(30), Span::get);
    if timeout > MAX_TIMEOUT {
        issues.add("/timeout", "out_of_range", "give a time up to 5m");
    }
    (usize::try_from(max_body).unwrap_or(usize::MAX), timeout)
}

/// What is about documents says nothing beside schemas of bodies.
fn alone(config: &Config, issues: &mut Issues) {
    for (field, is_there) in [
        ("validate", config.validate.is_some()),
        ("unknown_parameters", config.unknown_parameters.is_some()),
        ("unknown_operations", config.unknown_operations.is_some()),
    ] {
        if is_there {
            let problem = "is about `openapi`, which is not given; take it out";
            issues.add(format!("/{field}"), "unused_field", problem);
        }
    }
}

fn used(config: &Config, issues: &mut Issues) -> Used {
    let of = |flag: fn(Directions) -> Option<bool>| config.validate.and_then(flag);
    let used = Used {
        requests: of(|directions| directions.request).unwrap_or(true),
        answers: of(|directions| directions.response).unwrap_or(false),
    };
    if !used.requests && !used.answers {
        let problem = "checks nothing; let `request` or `response` be true";
        issues.add("/validate", "nothing_to_check", problem);
    }
    used
}

/// Whether a document is small enough to be read.
fn is_small(document: &Value, at: &'static str, issues: &mut Issues) -> bool {
    let is_small = serde_json::to_vec(document).is_ok_and(|text| text.len() <= MAX_DOCUMENT);
    if !is_small {
        issues.add(at, "document_too_large", "is larger than 1 MiB as JSON; split the API");
    }
    is_small
}

fn of_document(document: &Value, used: Used, issues: &mut Issues) -> (Source, Schemas, Schemas) {
    let mut faults = Faults::below("/openapi");
    let mut read = if is_small(document, "/openapi", issues) {
        openapi::read(document, used, &mut faults)
    } else {
        Document::default()
    };
    issues.0.append(&mut faults.issues.0);
    let (requests, answers) =
        (std::mem::take(&mut read.requests), std::mem::take(&mut read.answers));
    (Source::Document(Box::new(read)), requests, answers)
}

fn of_schemas(bodies: &Bodies, issues: &mut Issues) -> (Source, Schemas, Schemas) {
    if bodies.request.is_none() && bodies.response.is_none() {
        issues.add("/json_schema", "missing_field", "give `request`, `response` or both");
    }
    let mut operation = Operation::default();
    let (mut requests, mut answers) = (Schemas::default(), Schemas::default());
    if let Some(Raw(schema)) = &bodies.request {
        let (contents, schemas) = of_schema(schema, "/json_schema/request", issues);
        operation.body = Some(BodyRule { required: Required::ByMethod, contents });
        requests = schemas;
    }
    if let Some(Raw(schema)) = &bodies.response {
        let (contents, schemas) = of_schema(schema, "/json_schema/response", issues);
        let body = Some(BodyRule { required: Required::Never, contents });
        let rule = AnswerRule { fields: Box::default(), body };
        operation.answers = Answers { rules: vec![(Statuses::Hundred(2), rule)], is_closed: false };
        answers = schemas;
    }
    (Source::Schemas(Box::new(operation)), requests, answers)
}

fn of_schema(schema: &Value, at: &'static str, issues: &mut Issues) -> (Contents, Schemas) {
    if !is_small(schema, at, issues) {
        return Default::default();
    }
    let mut faults = Faults::below(at);
    let dialect = dialect(schema, &mut faults);
    let mut builder = Builder::new(schema, dialect, None, &mut faults);
    let contents = Contents::json(builder.schema(""));
    let schemas = builder.finish();
    issues.0.append(&mut faults.issues.0);
    (contents, schemas)
}

fn dialect(schema: &Value, faults: &mut Faults) -> Dialect {
    let told = schema.get("$schema").and_then(Value::as_str).map(|told| told.trim_end_matches('#'));
    match told {
        None | Some("https://json-schema.org/draft/2020-12/schema") => Dialect::Draft2020,
        Some("https://json-schema.org/draft/2019-09/schema") => Dialect::Draft2019,
        Some(
            "http://json-schema.org/draft-07/schema" | "https://json-schema.org/draft-07/schema",
        ) => Dialect::Draft7,
        Some(_) => {
            let problem = "is not known; known: https://json-schema.org/draft/2020-12/schema, \
                 https://json-schema.org/draft/2019-09/schema, http://json-schema.org/draft-07/schema";
            faults.add("/$schema", "unknown_dialect", problem);
            Dialect::Draft2020
        }
    }
}
