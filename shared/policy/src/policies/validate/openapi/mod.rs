//! A document of OpenAPI 3.0 or 3.1, as far as it says what requests and answers must be.

use http::{HeaderName, HeaderValue, Method};
use serde_json::{Map, Value};
use tollgate_model::issue::{escape, nearest};

use super::operation::{Answers, Operation};
use super::schema::{Builder, Dialect, Direction, Faults, Schemas};
use crate::target::{EncodedSlash, Target};

/// From texts to values.
pub(super) mod parameter;
/// Paths, found by a request's.
pub(super) mod paths;
/// The parts of an operation.
mod parts;

use paths::{Captured, Paths, Segment};

/// How many operations a document may have.
const MAX_OPERATIONS: usize = 1_000;

/// The methods of a path item, as they are written.
const METHODS: [(&str, Method); 8] = [
    ("get", Method::GET),
    ("put", Method::PUT),
    ("post", Method::POST),
    ("delete", Method::DELETE),
    ("options", Method::OPTIONS),
    ("head", Method::HEAD),
    ("patch", Method::PATCH),
    ("trace", Method::TRACE),
];

/// What a path item has beside its methods.
const OTHERS: [&str; 5] = ["$ref", "summary", "description", "servers", "parameters"];

/// A document, ready to be asked.
#[derive(Default)]
pub(super) struct Document {
    paths: Paths,
    items: Vec<Item>,
    operations: Vec<Operation>,
    pub(super) requests: Schemas,
    pub(super) answers: Schemas,
}

/// A path of the document.
struct Item {
    /// Its parameters, in the order of the path.
    names: Vec<Box<str>>,
    operations: Vec<(Method, usize)>,
    allow: Option<HeaderValue>,
}

/// What of the document is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) requests: bool,
    pub(super) answers: bool,
}

/// What a document says of a request.
pub(super) enum Asked<'d, 'p> {
    Operation {
        place: usize,
        names: &'d [Box<str>],
        values: Captured<'p>,
    },
    /// It knows the path, with these methods.
    OtherMethods(Option<&'d HeaderValue>),
    UnknownPath,
}

impl Document {
    pub(super) fn ask<'p>(&self, method: &Method, path: &'p str) -> Asked<'_, 'p> {
        let found = self.paths.find(path);
        let found = found.and_then(|(item, values)| {
            Some((self.items.get(usize::try_from(item).ok()?)?, values))
        });
        let Some((item, values)) = found else { return Asked::UnknownPath };
        let of = |wanted: &Method| item.operations.iter().find(|(known, _)| known == wanted);
        // RFC 9110 §9.3.2: HEAD is GET without the content of its answer.
        let operation = of(method).or_else(|| match *method {
            Method::HEAD => of(&Method::GET),
            _ => None,
        });
        match operation {
            Some((_, place)) => Asked::Operation { place: *place, names: &item.names, values },
            None => Asked::OtherMethods(item.allow.as_ref()),
        }
    }

    pub(super) fn operation(&self, place: usize) -> Option<&Operation> {
        self.operations.get(place)
    }
}

/// An operation, where it is written.
struct Written {
    /// JSON pointer of the path item, and of the operation in it.
    item: String,
    operation: String,
    names: Vec<Box<str>>,
}

/// Reads a document. Every fault is told.
pub(super) fn read(document: &Value, used: Used, faults: &mut Faults) -> Document {
    let Some(dialect) = dialect(document, faults) else { return Document::default() };
    let mut read = Document::default();
    let mut builder = Builder::new(document, dialect, Some(Direction::Request), faults);
    let written = list(&mut builder, document, &mut read);
    for operation in &written {
        let (parameters, body) = if used.requests {
            parts::of_request(&mut builder, operation)
        } else {
            Default::default()
        };
        read.operations.push(Operation { parameters, body, answers: Answers::default() });
    }
    read.requests = builder.finish();
    if used.answers {
        let mut builder = Builder::new(document, dialect, Some(Direction::Response), faults);
        for (operation, written) in read.operations.iter_mut().zip(&written) {
            operation.answers = parts::of_answers(&mut builder, written);
        }
        read.answers = builder.finish();
    }
    read
}

fn dialect(document: &Value, faults: &mut Faults) -> Option<Dialect> {
    let version = document.get("openapi").and_then(Value::as_str).unwrap_or_default();
    let dialect = match version.rsplit_once('.').map_or(version, |(minor, _)| minor) {
        "3.0" => Dialect::OpenApi30,
        "3.1" => Dialect::OpenApi31,
        _ => {
            let problem = "is not a version that is known; give a document of 3.0 or 3.1, such as `openapi: 3.1.0`";
            faults.add("/openapi", "unknown_version", problem);
            return None;
        }
    };
    let own = document.get("jsonSchemaDialect").and_then(Value::as_str);
    let is_known = |own: &str| {
        own.starts_with("https://spec.openapis.org/oas/3.1/dialect/")
            || own == "https://json-schema.org/draft/2020-12/schema"
    };
    if own.is_some_and(|own| !is_known(own)) {
        let problem = "is not known; leave it out, which means JSON Schema 2020-12";
        faults.add("/jsonSchemaDialect", "unknown_dialect", problem);
    }
    Some(dialect)
}

/// Lists the operations, and puts their paths into the tree.
fn list(builder: &mut Builder<'_, '_>, document: &Value, read: &mut Document) -> Vec<Written> {
    let mut written = Vec::new();
    let Some(Value::Object(paths)) = document.get("paths") else {
        builder.faults.add("/paths", "missing_field", "is not here or no object; give the paths");
        return written;
    };
    for (path, _) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
        let at = format!("/paths/{}", escape(path));
        let Some(names) = insert(builder, path, &at, read) else { continue };
        let Some((item_at, Value::Object(members))) = builder.resolve(&at) else { continue };
        check_keys(builder, members, &item_at);
        let mut operations = Vec::new();
        for (key, method) in METHODS.iter().filter(|(key, _)| members.contains_key(*key)) {
            operations.push((method.clone(), written.len()));
            written.push(Written {
                item: item_at.clone(),
                operation: format!("{item_at}/{key}"),
                names: names.clone(),
            });
        }
        let allow: Vec<&str> = operations.iter().map(|(method, _)| method.as_str()).collect();
        let allow = HeaderValue::from_str(&allow.join(", ")).ok();
        read.items.push(Item { names, operations, allow });
    }
    if written.len() > MAX_OPERATIONS {
        let problem = format!("have more than {MAX_OPERATIONS} operations; split the API");
        builder.faults.add("/paths", "too_many_operations", problem);
        written.clear();
    }
    written
}

/// Puts a path into the tree; the names of its parameters.
fn insert(
    builder: &mut Builder<'_, '_>,
    path: &str,
    at: &str,
    read: &mut Document,
) -> Option<Vec<Box<str>>> {
    let normal = match Target::parse(path, EncodedSlash::Refuse) {
        Ok(normal) => normal.into_path(),
        Err(fault) => {
            builder.faults.add(at, "invalid_path", fault.problem);
            return None;
        }
    };
    let segments: Option<Vec<Segment>> = normal.split('/').skip(1).map(Segment::parse).collect();
    let Some(segments) = segments else {
        let problem =
            "has a segment with a brace without its partner, or with two parameters; give it one";
        builder.faults.add(at, "invalid_path", problem);
        return None;
    };
    let item = u32::try_from(read.items.len()).unwrap_or(u32::MAX);
    if !read.paths.insert(&segments, item) {
        let problem =
            "is the same as another path but for names of parameters; put their methods together";
        builder.faults.add(at, "duplicate_path", problem);
        return None;
    }
    let names = segments.into_iter().filter_map(|segment| match segment {
        Segment::Parameter(_, name, _) => Some(name),
        Segment::Literal(_) => None,
    });
    Some(names.collect())
}

fn check_keys(builder: &mut Builder<'_, '_>, members: &Map<String, Value>, at: &str) {
    let known: Vec<&str> = METHODS.iter().map(|(key, _)| *key).chain(OTHERS).collect();
    for key in members.keys() {
        if !key.starts_with("x-") && !known.contains(&key.as_str()) {
            let problem =
                format!("`{}` is no method; {}", key.escape_debug(), nearest(key, &known));
            builder.faults.add(&format!("{at}/{}", escape(key)), "unknown_field", problem);
        }
    }
}

/// The name of a field, where it is one that a document may describe.
fn field_name(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).ok()
}
