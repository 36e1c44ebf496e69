//! Turns the schemas of a document into [`Schemas`], and names every fault of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use regex::Regex;
use serde_json::{Map, Value};
use tollgate_model::Issues;
use tollgate_model::issue::escape;

use super::expansion::{Excess, excesses};
use super::reference::Places;
use super::{Node, NodeId, Schemas, pattern};

/// How many expressions a document may have.
const MAX_PATTERNS: usize = 500;

/// How many schemas there may be, those that are referred to counted once.
const MAX_SCHEMAS: usize = 50_000;

/// How many references may lead to each other in a row.
const MAX_CHAIN: usize = 32;

/// Which keywords there are, and what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Draft7,
    Draft2019,
    Draft2020,
    OpenApi30,
    OpenApi31,
}

impl Dialect {
    /// Whether what stands beside a `$ref` counts for nothing.
    pub(super) fn has_lone_references(self) -> bool {
        matches!(self, Self::Draft7 | Self::OpenApi30)
    }

    /// Whether `items` may be a list of schemas.
    pub(super) fn has_item_lists(self) -> bool {
        matches!(self, Self::Draft7 | Self::Draft2019)
    }

    pub(super) fn has_prefix_items(self) -> bool {
        matches!(self, Self::Draft2020 | Self::OpenApi31)
    }

    pub(super) fn has_unevaluated(self) -> bool {
        matches!(self, Self::Draft2019 | Self::Draft2020 | Self::OpenApi31)
    }
}

/// Which way messages go that have `readOnly` and `writeOnly`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
}

/// What is wrong, each fault at its place in the configuration.
pub(crate) struct Faults {
    prefix: &'static str,
    pub(crate) issues: Issues,
}

impl Faults {
    pub(crate) fn below(prefix: &'static str) -> Self {
        Self { prefix, issues: Issues::default() }
    }

    /// Adds a fault at a pointer into the document, once: what is for both directions is read twice.
    pub(crate) fn add(&mut self, at: &str, code: &str, problem: impl Into<String>) {
        let at = format!("{}{at}", self.prefix);
        if !self.issues.0.iter().any(|known| known.at == at && known.code == code) {
            self.issues.add(at, code, problem);
        }
    }
}

/// Builds the schemas that it is asked for, and those that they lead to.
pub(crate) struct Builder<'d, 'f> {
    pub(super) document: &'d Value,
    pub(super) dialect: Dialect,
    /// None where `readOnly` and `writeOnly` say nothing.
    pub(super) direction: Option<Direction>,
    pub(crate) faults: &'f mut Faults,
    places: Places<'d>,
    known: HashMap<String, NodeId>,
    waiting: Vec<(NodeId, String)>,
    nodes: Vec<Node>,
    /// Where each node was written.
    pointers: Vec<String>,
    patterns: BTreeMap<String, Option<Arc<Regex>>>,
}

impl<'d, 'f> Builder<'d, 'f> {
    pub(crate) fn new(
        document: &'d Value,
        dialect: Dialect,
        direction: Option<Direction>,
        faults: &'f mut Faults,
    ) -> Self {
        Self {
            document,
            dialect,
            direction,
            faults,
            places: Places::of(document),
            known: HashMap::new(),
            waiting: Vec::new(),
            nodes: Vec::new(),
            pointers: Vec::new(),
            patterns: BTreeMap::new(),
        }
    }

    /// Follows `$ref`s from a place to one that has none; none where they lead nowhere, which is told.
    pub(crate) fn resolve(&mut self, pointer: &str) -> Option<(String, &'d Value)> {
        let mut pointer = pointer.to_owned();
        for _ in 0..MAX_CHAIN {
            let value = self.document.pointer(&pointer)?;
            let Some(reference) = self.lone_reference(value) else {
                return Some((pointer, value));
            };
            pointer = self.target(&pointer, reference)?;
        }
        self.faults.add(&pointer, "endless_reference", "leads to itself by `$ref`s alone");
        None
    }

    /// What stands at a place.
    pub(crate) fn at(&self, pointer: &str) -> Option<&'d Value> {
        self.document.pointer(pointer)
    }

    /// How long the list is that stands there; none is told where it is no list.
    pub(crate) fn list(&mut self, at: &str, key: &str) -> usize {
        match self.document.pointer(&format!("{at}/{key}")) {
            None => 0,
            Some(Value::Array(items)) => items.len(),
            Some(_) => {
                self.faults.add(&format!("{at}/{key}"), "wrong_type", "is no list; give a list");
                0
            }
        }
    }

    /// The `$ref` of a value that has nothing else to say.
    fn lone_reference(&self, value: &'d Value) -> Option<&'d str> {
        let members = value.as_object()?;
        let reference = members.get("$ref")?.as_str()?;
        let says_nothing = |name: &String| {
            [
                "$ref",
                "summary",
                "description",
                "title",
                "$comment",
                "default",
                "examples",
                "deprecated",
            ]
            .contains(&name.as_str())
        };
        let is_lone = self.dialect.has_lone_references() || members.keys().all(says_nothing);
        is_lone.then_some(reference)
    }

    /// What a `$ref` that stands at a place names.
    pub(super) fn target(&mut self, pointer: &str, reference: &str) -> Option<String> {
        match self.places.find(self.document, reference) {
            Ok(target) => Some(target),
            Err(lost) => {
                self.faults.add(&format!("{pointer}/$ref"), lost.code, lost.problem);
                None
            }
        }
    }

    /// The schema at a place. It is built later, so that schemas may lead back to themselves.
    pub(crate) fn schema(&mut self, pointer: &str) -> NodeId {
        if let Some(known) = self.known.get(pointer) {
            return *known;
        }
        let resolved = self.resolve(pointer).map(|(target, _)| target);
        let known = resolved.as_ref().and_then(|target| self.known.get(target)).copied();
        let id = known.unwrap_or_else(|| {
            let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
            self.nodes.push(Node::default());
            self.pointers.push(resolved.clone().unwrap_or_else(|| pointer.to_owned()));
            // What leads nowhere is told already, and asks for nothing.
            if let Some(target) = &resolved {
                self.waiting.push((id, target.clone()));
            }
            id
        });
        self.known.insert(pointer.to_owned(), id);
        if let Some(target) = resolved {
            self.known.insert(target, id);
        }
        id
    }

    /// A list of schemas at a place.
    pub(super) fn schemas(&mut self, at: &str, key: &str, count: usize) -> Vec<NodeId> {
        (0..count).map(|place| self.schema(&format!("{at}/{key}/{place}"))).collect()
    }

    /// An expression, compiled once however often it stands there.
    pub(super) fn pattern(&mut self, at: &str, text: &str) -> Option<Arc<Regex>> {
        if let Some(known) = self.patterns.get(text) {
            return known.clone();
        }
        let compiled = if self.patterns.len() >= MAX_PATTERNS {
            let problem = format!("is one of more than {MAX_PATTERNS} expressions; write fewer");
            self.faults.add(at, "too_many_patterns", problem);
            None
        } else {
            match pattern::compile(text) {
                Ok(regex) => Some(Arc::new(regex)),
                Err(problem) => {
                    self.faults.add(at, "invalid_pattern", problem);
                    None
                }
            }
        };
        self.patterns.insert(text.to_owned(), compiled.clone());
        compiled
    }

    /// Everything that was asked for. Faults are told where they were found.
    pub(crate) fn finish(mut self) -> Schemas {
        while let Some((id, pointer)) = self.waiting.pop() {
            if self.nodes.len() > MAX_SCHEMAS {
                let problem = format!("has more than {MAX_SCHEMAS} schemas; write fewer");
                self.faults.add("", "too_many_schemas", problem);
                break;
            }
            let node = match self.document.pointer(&pointer) {
                Some(Value::Bool(true)) => Node::default(),
                Some(Value::Bool(false)) => Node { is_never: true, ..Node::default() },
                Some(Value::Object(members)) => self.node(&pointer, members),
                _ => {
                    self.faults.add(&pointer, "invalid_schema", "is not a schema; give an object");
                    Node::default()
                }
            };
            let place = usize::try_from(id.0).unwrap_or(usize::MAX);
            if let Some(built) = self.nodes.get_mut(place) {
                *built = node;
            }
        }
        for (place, excess) in excesses(&self.nodes) {
            let pointer = self.pointers.get(place).map_or("", String::as_str);
            match excess {
                Excess::Endless => self.faults.add(
                    pointer,
                    "endless_schema",
                    "leads back to itself for one and the same value; recurse through `items` or `properties`",
                ),
                Excess::TooLarge => self.faults.add(
                    pointer,
                    "schema_too_large",
                    "is more than 10,000 schemas of one value, or more than 64 deep, with its references written \
                     out; refer to fewer in `allOf`, `anyOf` and `oneOf`",
                ),
            }
        }
        Schemas { nodes: self.nodes.into() }
    }

    /// The members of an object below a schema, each with its pointer; a fault where it is none.
    pub(super) fn entries(
        &mut self,
        at: &str,
        members: &'d Map<String, Value>,
        key: &str,
    ) -> Vec<(&'d str, String)> {
        match members.get(key) {
            None => Vec::new(),
            Some(Value::Object(entries)) => entries
                .keys()
                .map(|name| (name.as_str(), format!("{at}/{key}/{}", escape(name))))
                .collect(),
            Some(_) => {
                self.faults.add(
                    &format!("{at}/{key}"),
                    "invalid_schema",
                    "is not an object; give names and what belongs to each",
                );
                Vec::new()
            }
        }
    }
}
