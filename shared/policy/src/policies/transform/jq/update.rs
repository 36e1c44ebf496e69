//! Changes at paths. The paths are found first, in the value as it was; then each is changed in turn.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::call::is_of;
use super::evaluate::{Made, Run, Stop, error};
use super::filter::{Assignment, Filter, Part, Step};
use super::function::Function;
use super::path::{at, place};
use super::value::{is_true, type_name, weight, weight_of_text};

/// A step to a value within another. A name is as long as its caller likes, and is in many paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Name(Rc<str>),
    Index(usize),
}

impl Key {
    /// What it takes to find it, or to go with it.
    fn weight(&self) -> usize {
        match self {
            Self::Name(name) => weight_of_text(name),
            Self::Index(_) => 1,
        }
    }
}

type Path = Vec<Key>;

/// Whether a filter only says where something stands.
pub(super) fn is_path(filter: &Filter) -> bool {
    match filter {
        Filter::Identity | Filter::Everything => true,
        Filter::Pipe(filters) | Filter::Comma(filters) => filters.iter().all(is_path),
        Filter::Try(tried, None) => is_path(tried),
        Filter::Path(of, steps) => {
            is_path(of) && steps.iter().all(|step| !matches!(step.part, Part::Slice(..)))
        }
        Filter::Call(Function::Select | Function::Empty | Function::Recurse, _) => true,
        Filter::Call(function, _) => function.is_of_type(),
        Filter::Literal(_)
        | Filter::Variable(_)
        | Filter::Text(..)
        | Filter::List(_)
        | Filter::Object(_)
        | Filter::Negate(_)
        | Filter::Bind(..)
        | Filter::Reduce(_)
        | Filter::Try(..)
        | Filter::Choice(..)
        | Filter::Alternative(..)
        | Filter::Logic(..)
        | Filter::Calculation(..)
        | Filter::Comparison(..)
        | Filter::Assignment(..) => false,
    }
}

/// Whether a path leads to a value and to all those within it.
pub(super) fn reaches_within(filter: &Filter) -> bool {
    match filter {
        Filter::Everything | Filter::Call(Function::Recurse, _) => true,
        Filter::Pipe(filters) => filters.last().is_some_and(reaches_within),
        Filter::Comma(filters) => filters.iter().any(reaches_within),
        Filter::Try(tried, None) => reaches_within(tried),
        _ => false,
    }
}

impl Run {
    /// A value with other values at some paths.
    pub(super) fn assign(
        &mut self,
        assignment: Assignment,
        (path, value): (&Filter, &Filter),
        input: &Value,
        made: &mut Vec<Value>,
    ) -> Made {
        let mut paths = Vec::new();
        self.paths(path, (input, Vec::new()), &mut paths)?;
        self.check_apart(&paths)?;
        if let Assignment::Update = assignment {
            let mut root = self.copy(input)?;
            self.update(&mut root, &paths, value)?;
            made.push(self.finished(root)?);
            return Ok(());
        }
        let (values, stop) = self.attempt(value, input);
        for value in values {
            let mut root = self.copy(input)?;
            for path in &paths {
                self.go(path)?;
                let old = self.copy(find(&root, path).unwrap_or(&Value::Null))?;
                let value = self.copy(&value)?;
                let new = match assignment {
                    Assignment::Set | Assignment::Update => value,
                    Assignment::Calculate(operator) => self.calculate(operator, old, value)?,
                    Assignment::Alternative if is_true(&old) => old,
                    Assignment::Alternative => value,
                };
                *self.place_mut(&mut root, path)? = new;
            }
            made.push(self.finished(root)?);
        }
        stop
    }

    /// Counts what it takes to find a place, or to make its path once more.
    fn go(&mut self, path: &[Key]) -> Made {
        self.spend(1 + path.iter().map(Key::weight).sum::<usize>())
    }

    /// Whether no path leads into what is at the end of another: jq would change the outer value first, others the
    /// inner one.
    fn check_apart(&mut self, paths: &[Path]) -> Made {
        for path in paths {
            self.go(path)?;
        }
        let mut sorted: Vec<&Path> = paths.iter().collect();
        sorted.sort_unstable();
        let is_within = |pair: &[&Path]| matches!(pair, [outer, inner] if inner.len() > outer.len() && inner.starts_with(outer));
        if sorted.windows(2).any(is_within) {
            return error("a value and another within it cannot be changed at once");
        }
        Ok(())
    }

    /// Each value becomes the first that is made of it; one of which nothing is made goes.
    fn update(&mut self, root: &mut Value, paths: &[Path], filter: &Filter) -> Made {
        let mut gone = Vec::new();
        for path in paths {
            self.go(path)?;
            let old = self.copy(find(root, path).unwrap_or(&Value::Null))?;
            match self.collect(filter, &old)?.into_iter().next() {
                Some(new) => *self.place_mut(root, path)? = new,
                None => gone.push(path.clone()),
            }
        }
        self.remove(root, gone)
    }

    /// A value without what stands at some paths.
    pub(super) fn delete(&mut self, path: &Filter, input: &Value) -> Result<Value, Stop> {
        let mut paths = Vec::new();
        self.paths(path, (input, Vec::new()), &mut paths)?;
        let mut root = self.copy(input)?;
        self.remove(&mut root, paths)?;
        Ok(root)
    }

    fn finished(&mut self, value: Value) -> Result<Value, Stop> {
        self.spend(weight(&value))?;
        self.checked(value)
    }

    /// Adds the paths that a filter says, behind the one that its input stands at.
    fn paths(
        &mut self,
        filter: &Filter,
        (input, before): (&Value, Path),
        found: &mut Vec<Path>,
    ) -> Made {
        self.go(&before)?;
        match filter {
            Filter::Identity => found.push(before),
            Filter::Everything | Filter::Call(Function::Recurse, _) => {
                self.all_paths(input, before, found)?;
            }
            Filter::Comma(filters) => {
                for filter in filters {
                    self.paths(filter, (input, before.clone()), found)?;
                }
            }
            Filter::Pipe(filters) => self.piped(filters, (input, before), found)?,
            Filter::Try(tried, _) => match self.paths(tried, (input, before), found) {
                Err(Stop::Error(_)) => {}
                other => other?,
            },
            Filter::Path(of, steps) => {
                let mut starts = Vec::new();
                self.paths(of, (input, Vec::new()), &mut starts)?;
                for start in starts {
                    self.go(&start)?;
                    let value = find(input, &start).unwrap_or(&Value::Null);
                    let path = before.iter().chain(&start).cloned().collect();
                    self.stepped(steps, (value, input), path, found)?;
                }
            }
            Filter::Call(Function::Select, arguments) => {
                for argument in arguments {
                    for truth in self.collect(argument, input)? {
                        if is_true(&truth) {
                            found.push(before.clone());
                        }
                    }
                }
            }
            Filter::Call(function, _) if is_of(*function, input) && function.is_of_type() => {
                found.push(before);
            }
            // Nothing else has been let through as a path.
            _ => {}
        }
        Ok(())
    }

    fn piped(
        &mut self,
        filters: &[Filter],
        (input, before): (&Value, Path),
        found: &mut Vec<Path>,
    ) -> Made {
        let Some((first, rest)) = filters.split_first() else {
            found.push(before);
            return Ok(());
        };
        let mut starts = Vec::new();
        self.paths(first, (input, Vec::new()), &mut starts)?;
        for start in starts {
            self.go(&start)?;
            let value = find(input, &start).unwrap_or(&Value::Null);
            let path = before.iter().chain(&start).cloned().collect();
            self.piped(rest, (value, path), found)?;
        }
        Ok(())
    }

    fn all_paths(&mut self, value: &Value, before: Path, found: &mut Vec<Path>) -> Made {
        self.go(&before)?;
        found.push(before.clone());
        self.children(value, &before, |run, child, path| run.all_paths(child, path, found))
    }

    fn children(
        &mut self,
        value: &Value,
        before: &Path,
        mut then: impl FnMut(&mut Self, &Value, Path) -> Made,
    ) -> Made {
        let path = |key: Key| before.iter().cloned().chain([key]).collect();
        match value {
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    then(self, item, path(Key::Index(i)))?;
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    self.spend(weight_of_text(name))?;
                    then(self, field, path(Key::Name(name.as_str().into())))?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        Ok(())
    }

    fn stepped(
        &mut self,
        steps: &[Step],
        (value, input): (&Value, &Value),
        mut before: Path,
        found: &mut Vec<Path>,
    ) -> Made {
        self.go(&before)?;
        let Some((step, rest)) = steps.split_first() else {
            found.push(before);
            return Ok(());
        };
        match &step.part {
            Part::All if value.is_array() || value.is_object() => {
                self.children(value, &before, |run, child, path| {
                    run.stepped(rest, (child, input), path, found)
                })
            }
            Part::All | Part::Slice(..) if step.is_optional => Ok(()),
            Part::All | Part::Slice(..) => {
                error(format!("a {} has nothing in it", type_name(value)))
            }
            Part::At(index) => {
                for index in self.collect(index, input)? {
                    match (key(value, &index), at(value, &index)) {
                        (Ok(key), Ok(child)) => {
                            before.push(key);
                            let child = child.unwrap_or(&Value::Null);
                            self.stepped(rest, (child, input), before.clone(), found)?;
                            before.pop();
                        }
                        _ if step.is_optional => {}
                        (Err(stop), _) | (_, Err(stop)) => return Err(stop),
                    }
                }
                Ok(())
            }
        }
    }

    /// Where a path ends, with all that is missing on the way to it.
    fn place_mut<'v>(&mut self, root: &'v mut Value, path: &Path) -> Result<&'v mut Value, Stop> {
        let mut value = root;
        for key in path {
            if value.is_null() {
                *value = match key {
                    Key::Name(_) => Value::Object(Map::new()),
                    Key::Index(_) => Value::Array(Vec::new()),
                };
            }
            value = match (value, key) {
                (Value::Object(fields), Key::Name(name)) => {
                    self.spend(4 + weight_of_text(name))?;
                    fields.entry(&**name).or_insert(Value::Null)
                }
                (Value::Array(items), Key::Index(index)) => {
                    let missing = index.saturating_add(1).saturating_sub(items.len());
                    self.spend(1 + missing)?;
                    if missing > 0 {
                        items.resize(*index + 1, Value::Null);
                    }
                    match items.get_mut(*index) {
                        Some(item) => item,
                        None => return error("an index is out of range"),
                    }
                }
                (other, _) => {
                    return error(format!("a {} has no such place", type_name(other)));
                }
            };
        }
        Ok(value)
    }

    fn remove(&mut self, root: &mut Value, mut paths: Vec<Path>) -> Made {
        // From the back to the front, and from within: what is still to go keeps its place.
        paths.sort_unstable();
        paths.dedup();
        for path in paths.iter().rev() {
            self.go(path)?;
            let Some((last, parents)) = path.split_last() else {
                *root = Value::Null;
                continue;
            };
            match (find_mut(root, parents), last) {
                (Some(Value::Object(fields)), Key::Name(name)) => {
                    self.spend(1 + fields.len() / 16)?;
                    fields.shift_remove(&**name);
                }
                (Some(Value::Array(items)), Key::Index(index)) if *index < items.len() => {
                    self.spend(1 + items.len() / 16)?;
                    items.remove(*index);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What an index or a name means in a value.
fn key(value: &Value, index: &Value) -> Result<Key, Stop> {
    match (value, index) {
        (Value::Object(_) | Value::Null, Value::String(name)) => {
            Ok(Key::Name(name.as_str().into()))
        }
        (Value::Array(_) | Value::Null, Value::Number(number)) => {
            let length = value.as_array().map_or(0, Vec::len);
            match place(number, length)? {
                usize::MAX => error("an index is out of range"),
                index => Ok(Key::Index(index)),
            }
        }
        (value, index) => error(format!(
            "a {} cannot be looked into with a {}",
            type_name(value),
            type_name(index)
        )),
    }
}

fn find<'v>(root: &'v Value, path: &[Key]) -> Option<&'v Value> {
    path.iter().try_fold(root, |value, key| match key {
        Key::Name(name) => value.get(&**name),
        Key::Index(index) => value.get(index),
    })
}

fn find_mut<'v>(root: &'v mut Value, path: &[Key]) -> Option<&'v mut Value> {
    path.iter().try_fold(root, |value, key| match key {
        Key::Name(name) => value.get_mut(&**name),
        Key::Index(index) => value.get_mut(index),
    })
}
