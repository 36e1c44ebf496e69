//! The keywords of a schema, read.

use serde_json::{Map, Value};

use super::build::{Builder, Dialect, Direction};
use super::{
    Applied, Bound, Condition, Contains, Forbidden, Format, Lists, Names, Node, NodeId, Numbers,
    Objects, Texts, Types, Unevaluated,
};
use crate::policies::validate::json::{Json, Number};

type Members = Map<String, Value>;

/// Keywords that would need what is known only while a value is checked.
const DYNAMIC: [&str; 4] = ["$dynamicRef", "$recursiveRef", "$dynamicAnchor", "$recursiveAnchor"];

/// Keywords of JSON Schema that OpenAPI 3.0 does not have. Without a word they would assert nothing.
const NOT_IN_OPENAPI_30: [&str; 14] = [
    "const",
    "patternProperties",
    "if",
    "then",
    "else",
    "contains",
    "prefixItems",
    "dependentSchemas",
    "dependentRequired",
    "dependencies",
    "unevaluatedProperties",
    "unevaluatedItems",
    "propertyNames",
    "additionalItems",
];

impl<'d> Builder<'d, '_> {
    /// Builds one schema. Those that it has are built later.
    pub(super) fn node(&mut self, at: &str, members: &'d Members) -> Node {
        for keyword in DYNAMIC.iter().filter(|keyword| members.contains_key(**keyword)) {
            let problem = format!("`{keyword}` is not known here; write a `$ref`");
            self.faults.add(&format!("{at}/{keyword}"), "unsupported_keyword", problem);
        }
        if !at.is_empty()
            && members.get("$id").and_then(Value::as_str).is_some_and(|id| !id.starts_with('#'))
        {
            let problem =
                "names a document within a document; take it out, and refer to it as `#/…`";
            self.faults.add(&format!("{at}/$id"), "unsupported_keyword", problem);
        }
        if self.dialect == Dialect::OpenApi30 {
            for keyword in NOT_IN_OPENAPI_30.iter().filter(|known| members.contains_key(**known)) {
                let problem = format!("OpenAPI 3.0 has no `{keyword}`; write a document of 3.1");
                self.faults.add(&format!("{at}/{keyword}"), "unsupported_keyword", problem);
            }
        }
        Node {
            is_never: false,
            types: self.types(at, members),
            values: self.values(at, members),
            numbers: self.numbers(at, members).map(Box::new),
            texts: self.texts(at, members).map(Box::new),
            lists: self.lists(at, members).map(Box::new),
            objects: self.objects(at, members).map(Box::new),
            applied: self.applied(at, members).map(Box::new),
            unevaluated: self.unevaluated(at, members).map(Box::new),
        }
    }

    fn wrong(&mut self, at: &str, key: &str, wanted: &str) {
        self.faults.add(&format!("{at}/{key}"), "invalid_schema", format!("give {wanted}"));
    }

    fn count(&mut self, at: &str, members: &Members, key: &str) -> Option<u64> {
        let value = members.get(key)?;
        let whole = value.as_number().and_then(|number| Number::of(number).whole());
        let count = whole.and_then(|number| u64::try_from(number).ok());
        if count.is_none() {
            self.wrong(at, key, "a whole number, 0 or more");
        }
        count
    }

    fn flag(&mut self, at: &str, members: &Members, key: &str) -> bool {
        match members.get(key) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.wrong(at, key, "true or false");
                false
            }
        }
    }

    fn names(&mut self, at: &str, key: &str, value: &Value) -> Vec<Box<str>> {
        let names = value.as_array().and_then(|names| {
            names.iter().map(|name| name.as_str().map(Box::from)).collect::<Option<Vec<_>>>()
        });
        names.unwrap_or_else(|| {
            self.wrong(at, key, "a list of names");
            Vec::new()
        })
    }

    fn types(&mut self, at: &str, members: &Members) -> Types {
        let types = match members.get("type") {
            None => return Types::ANY,
            Some(Value::String(name)) => Types::named(name),
            Some(Value::Array(names)) if self.dialect != Dialect::OpenApi30 => names
                .iter()
                .try_fold(Types::NONE, |types, name| Some(types.or(Types::named(name.as_str()?)?))),
            Some(_) => None,
        };
        let Some(types) = types.filter(|types| !types.is_empty()) else {
            let wanted = "one of null, boolean, number, integer, string, array, object";
            self.wrong(at, "type", wanted);
            return Types::ANY;
        };
        if self.dialect != Dialect::OpenApi30 {
            return types;
        }
        if types == Types::NULL {
            self.wrong(at, "type", "another type; OpenAPI 3.0 has `nullable: true` for null");
        }
        if self.flag(at, members, "nullable") { types.or(Types::NULL) } else { types }
    }

    fn values(&mut self, at: &str, members: &Members) -> Box<[Box<[Json]>]> {
        let mut lists: Vec<Box<[Json]>> = Vec::new();
        match members.get("enum") {
            None => {}
            Some(Value::Array(values)) if !values.is_empty() => {
                let mut values: Vec<Json> = values.iter().map(Json::of).collect();
                values.sort_by(Json::compare);
                lists.push(values.into());
            }
            Some(_) => self.wrong(at, "enum", "a list of values"),
        }
        if let Some(value) = members.get("const").filter(|_| self.dialect != Dialect::OpenApi30) {
            lists.push([Json::of(value)].into());
        }
        lists.into()
    }

    fn format(&self, members: &Members) -> Option<Format> {
        members.get("format").and_then(Value::as_str).and_then(Format::named)
    }

    fn numbers(&mut self, at: &str, members: &Members) -> Option<Numbers> {
        let mut rules = Numbers {
            bounds: Vec::new(),
            format: self.format(members).filter(|format| format.is_of_numbers()),
        };
        for (key, bound) in [
            ("minimum", Bound::AtLeast),
            ("exclusiveMinimum", Bound::Above),
            ("maximum", Bound::AtMost),
            ("exclusiveMaximum", Bound::Below),
            ("multipleOf", Bound::MultipleOf),
        ] {
            let is_flag = self.dialect == Dialect::OpenApi30 && key.starts_with("exclusive");
            match members.get(key) {
                None => {}
                // Read with the bound that it is about.
                Some(Value::Bool(_)) if is_flag => {}
                Some(Value::Number(number)) if !is_flag => {
                    let number = Number::of(number);
                    if bound == Bound::MultipleOf && number.compare(Number::Integer(0)).is_le() {
                        self.wrong(at, key, "a number above 0");
                        continue;
                    }
                    rules.bounds.push((self.bound_of(members, bound), number));
                }
                Some(_) => {
                    let wanted = if is_flag { "true or false" } else { "a number" };
                    self.wrong(at, key, wanted);
                }
            }
        }
        (!rules.bounds.is_empty() || rules.format.is_some()).then_some(rules)
    }

    /// In OpenAPI 3.0, flags say whether a bound itself is outside.
    fn bound_of(&self, members: &Members, bound: Bound) -> Bound {
        let has = |flag| {
            self.dialect == Dialect::OpenApi30
                && members.get(flag).and_then(Value::as_bool) == Some(true)
        };
        if bound == Bound::AtLeast && has("exclusiveMinimum") {
            Bound::Above
        } else if bound == Bound::AtMost && has("exclusiveMaximum") {
            Bound::Below
        } else {
            bound
        }
    }

    fn texts(&mut self, at: &str, members: &Members) -> Option<Texts> {
        let pattern = match members.get("pattern") {
            None => None,
            Some(Value::String(text)) => self.pattern(&format!("{at}/pattern"), text),
            Some(_) => {
                self.wrong(at, "pattern", "an expression");
                None
            }
        };
        let rules = Texts {
            min_length: self.count(at, members, "minLength").unwrap_or(0),
            max_length: self.count(at, members, "maxLength"),
            pattern,
            format: self.format(members).filter(|format| !format.is_of_numbers()),
        };
        let asks = rules.min_length > 0
            || rules.max_length.is_some()
            || rules.pattern.is_some()
            || rules.format.is_some();
        asks.then_some(rules)
    }

    fn lists(&mut self, at: &str, members: &Members) -> Option<Lists> {
        let mut rules = Lists {
            min: self.count(at, members, "minItems").unwrap_or(0),
            max: self.count(at, members, "maxItems"),
            is_unique: self.flag(at, members, "uniqueItems"),
            ..Lists::default()
        };
        let mut rest = "items";
        let first = match (members.get("items"), members.get("prefixItems")) {
            (Some(Value::Array(items)), _) if self.dialect.has_item_lists() => {
                rest = "additionalItems";
                Some(("items", items.len()))
            }
            (Some(Value::Array(_)), _) => {
                self.wrong(at, "items", "one schema; a list of schemas is `prefixItems`");
                return None;
            }
            (_, Some(Value::Array(items))) if self.dialect.has_prefix_items() => {
                Some(("prefixItems", items.len()))
            }
            (_, Some(_)) if self.dialect.has_prefix_items() => {
                self.wrong(at, "prefixItems", "a list of schemas");
                None
            }
            _ => None,
        };
        if let Some((key, count)) = first {
            rules.first = self.schemas(at, key, count).into();
        }
        rules.rest = self.optional(at, members, rest);
        if self.dialect != Dialect::OpenApi30
            && let Some(node) = self.optional(at, members, "contains")
        {
            let has_counts = self.dialect != Dialect::Draft7;
            let bound = |key| has_counts.then_some(key);
            rules.contains = Some(Contains {
                node,
                min: bound("minContains").and_then(|key| self.count(at, members, key)).unwrap_or(1),
                max: bound("maxContains").and_then(|key| self.count(at, members, key)),
                evaluates: self.dialect.has_prefix_items(),
            });
        }
        let asks = rules.min > 0
            || rules.max.is_some()
            || rules.is_unique
            || !rules.first.is_empty()
            || rules.rest.is_some()
            || rules.contains.is_some();
        asks.then_some(rules)
    }

    /// The schema that a keyword has, where the keyword is there.
    fn optional(&mut self, at: &str, members: &Members, key: &str) -> Option<NodeId> {
        members.contains_key(key).then(|| self.schema(&format!("{at}/{key}")))
    }

    fn objects(&mut self, at: &str, members: &'d Members) -> Option<Objects> {
        let is_newer = self.dialect != Dialect::OpenApi30;
        let properties = self.entries(at, members, "properties");
        let (hidden, forbidden) = self.hidden(&properties);
        let mut rules = Objects {
            min: self.count(at, members, "minProperties").unwrap_or(0),
            max: self.count(at, members, "maxProperties"),
            forbidden,
            ..Objects::default()
        };
        if let Some(value) = members.get("required") {
            let mut required = self.names(at, "required", value);
            required.retain(|name| !hidden.contains(name));
            rules.required = required.into();
        }
        let mut built: Vec<(Box<str>, NodeId)> = Vec::with_capacity(properties.len());
        for (name, pointer) in properties {
            built.push((name.into(), self.schema(&pointer)));
        }
        built.sort_by(|(one, _), (other, _)| one.cmp(other));
        rules.properties = built.into();
        if is_newer {
            let mut patterns = Vec::new();
            for (text, pointer) in self.entries(at, members, "patternProperties") {
                let node = self.schema(&pointer);
                patterns.extend(self.pattern(&pointer, text).map(|pattern| (pattern, node)));
            }
            rules.patterns = patterns.into();
            rules.names = self.optional(at, members, "propertyNames");
            rules.dependent = self.dependent_names(at, members).into();
        }
        rules.additional = self.optional(at, members, "additionalProperties");
        let asks = rules.min > 0
            || rules.max.is_some()
            || !rules.required.is_empty()
            || !rules.properties.is_empty()
            || !rules.patterns.is_empty()
            || rules.additional.is_some()
            || rules.names.is_some()
            || !rules.dependent.is_empty();
        asks.then_some(rules)
    }

    /// The properties that are not for this direction: they are not asked for, and not taken.
    fn hidden(
        &mut self,
        properties: &[(&str, String)],
    ) -> (Vec<Box<str>>, Option<(Forbidden, Names)>) {
        let (flag, forbidden) = match self.direction {
            None => return (Vec::new(), None),
            Some(Direction::Request) => ("readOnly", Forbidden::ReadOnly),
            Some(Direction::Response) => ("writeOnly", Forbidden::WriteOnly),
        };
        let mut hidden: Vec<Box<str>> = Vec::new();
        for (name, pointer) in properties {
            let resolved = self.resolve(pointer);
            if resolved.is_some_and(|(_, schema)| schema.get(flag) == Some(&Value::Bool(true))) {
                hidden.push((*name).into());
            }
        }
        hidden.sort_unstable();
        let names = (!hidden.is_empty()).then(|| (forbidden, hidden.clone().into()));
        (hidden, names)
    }

    /// `dependentRequired`, and what of draft 7's `dependencies` is the same.
    fn dependent_names(&mut self, at: &str, members: &'d Members) -> Vec<(Box<str>, Names)> {
        let key = self.dependencies("dependentRequired");
        let mut dependent = Vec::new();
        for (name, pointer) in self.entries(at, members, key) {
            match self.document.pointer(&pointer) {
                Some(names @ Value::Array(_)) => {
                    let (of, key) = pointer.rsplit_once('/').unwrap_or_default();
                    dependent.push((name.into(), self.names(of, key, names).into()));
                }
                // Schemas are among those of the same value.
                Some(Value::Object(_) | Value::Bool(_)) if key == "dependencies" => {}
                _ => self.wrong(at, key, "for each name a list of names"),
            }
        }
        dependent
    }

    fn dependencies(&self, newer: &'static str) -> &'static str {
        if self.dialect == Dialect::Draft7 { "dependencies" } else { newer }
    }

    fn alternatives(&mut self, at: &str, members: &Members, key: &str) -> Option<Vec<NodeId>> {
        let list = members.get(key)?.as_array().filter(|list| !list.is_empty());
        if list.is_none() {
            self.wrong(at, key, "a list of schemas");
        }
        list.map(|list| self.schemas(at, key, list.len()))
    }

    fn applied(&mut self, at: &str, members: &'d Members) -> Option<Applied> {
        let mut applied = Applied::default();
        match members.get("$ref") {
            None => {}
            Some(Value::String(reference)) => {
                let target = self.target(at, reference);
                applied.all.extend(target.map(|target| self.schema(&target)));
            }
            Some(_) => self.wrong(at, "$ref", "a reference such as #/$defs/item"),
        }
        applied.all.extend(self.alternatives(at, members, "allOf").unwrap_or_default());
        applied.any = self.alternatives(at, members, "anyOf").map(Into::into);
        applied.one = self.alternatives(at, members, "oneOf").map(Into::into);
        applied.not = self.optional(at, members, "not");
        if self.dialect != Dialect::OpenApi30 {
            if let Some(condition) = self.optional(at, members, "if") {
                let then = self.optional(at, members, "then");
                let otherwise = self.optional(at, members, "else");
                applied.condition = Some(Condition { condition, then, otherwise });
            }
            let key = self.dependencies("dependentSchemas");
            let mut dependent: Vec<(Box<str>, NodeId)> = Vec::new();
            for (name, pointer) in self.entries(at, members, key) {
                if !self.document.pointer(&pointer).is_some_and(Value::is_array) {
                    dependent.push((name.into(), self.schema(&pointer)));
                }
            }
            applied.dependent = dependent.into();
        }
        let asks = !applied.all.is_empty()
            || applied.any.is_some()
            || applied.one.is_some()
            || applied.not.is_some()
            || applied.condition.is_some()
            || !applied.dependent.is_empty();
        asks.then_some(applied)
    }

    fn unevaluated(&mut self, at: &str, members: &Members) -> Option<Unevaluated> {
        if !self.dialect.has_unevaluated() {
            return None;
        }
        let unevaluated = Unevaluated {
            items: self.optional(at, members, "unevaluatedItems"),
            properties: self.optional(at, members, "unevaluatedProperties"),
        };
        (unevaluated.items.is_some() || unevaluated.properties.is_some()).then_some(unevaluated)
    }
}
