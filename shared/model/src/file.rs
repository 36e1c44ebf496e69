//! The text of a resource file, YAML or JSON, and where in it each value stands.
//!
//! Opening the file is the caller's.

use std::collections::HashMap;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde_json::{Map, Number, Value};

use crate::issue::{Issue, escape};

/// The largest file that is read.
pub const MAX_BYTES: usize = 64 << 20;
/// The deepest nesting, and the bound on what aliases may expand to.
const MAX_DEPTH: usize = 64;
const MAX_VALUES: usize = 4_000_000;
/// The furthest that a line is indented, dashes of lists included. A block lies further right than
/// what it is in, so this bounds the depth before the text is read, and with it the stack it takes.
const MAX_INDENTATION: usize = 200;

/// One document of a file, and where its values stand.
#[derive(Clone, Debug)]
pub struct Located {
    /// The document as JSON.
    pub value: Value,
    /// The first line of the document, from 1.
    pub line: usize,
    lines: HashMap<String, usize>,
}

impl Located {
    /// The line, from 1, of the value at a JSON pointer; of the nearest value around it where the
    /// pointer names one that is missing.
    #[must_use]
    pub fn line_of(&self, pointer: &str) -> usize {
        let mut at = pointer;
        loop {
            if let Some(line) = self.lines.get(at) {
                return *line;
            }
            match at.rfind('/') {
                Some(cut) => at = at.get(..cut).unwrap_or_default(),
                None => return self.line,
            }
        }
    }
}

/// Why a text is not a resource file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Malformed {
    /// From 1.
    pub line: usize,
    /// What is wrong and how to mend it.
    pub problem: String,
}

/// Reads every document of a file. Empty documents are left out.
///
/// # Errors
///
/// Where the text is not YAML (JSON is YAML), has a key twice, or is larger or deeper than is read.
pub fn documents(text: &str) -> Result<Vec<Located>, Malformed> {
    if text.len() > MAX_BYTES {
        return Err(Malformed { line: 1, problem: "is larger than 64 MiB; split it".to_owned() });
    }
    let is_indentation = |byte: &u8| b" -?:".contains(byte);
    let too_far = |line: &&[u8]| {
        line.iter().take_while(|byte| is_indentation(byte)).count() > MAX_INDENTATION
    };
    if let Some(i) = text.as_bytes().split(|byte| *byte == b'\n').position(|line| too_far(&line)) {
        return Err(Malformed {
            line: i + 1,
            problem: "is indented by more than 200 columns".to_owned(),
        });
    }
    // Some editors begin a file with a byte-order mark (YAML 1.2.2 §5.2).
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let nodes = MarkedYaml::load_from_str(text).map_err(|error| Malformed {
        line: error.marker().line(),
        problem: match error.info() {
            "duplicated key in mapping" => "has a key twice; give it once".to_owned(),
            info => format!("is not YAML: {info}"),
        },
    })?;
    let mut documents = Vec::new();
    let mut budget = MAX_VALUES;
    for node in &nodes {
        let mut reader = Reader { lines: HashMap::new(), budget };
        let value = reader.read(node, &mut String::new(), 0)?;
        budget = reader.budget;
        if !value.is_null() {
            documents.push(Located { value, line: node.span.start.line(), lines: reader.lines });
        }
    }
    Ok(documents)
}

/// Says where in a file an issue is: `FILE:LINE: spec.routes[1].match.path: …`.
#[must_use]
pub fn describe(file_name: &str, located: &Located, issue: &Issue) -> String {
    let place = dotted(&issue.at);
    let colon = if place.is_empty() { "" } else { ": " };
    format!(
        "{file_name}:{}: {place}{colon}{} ({})",
        located.line_of(&issue.at),
        issue.problem,
        issue.code
    )
}

/// A JSON pointer as people read it: `/spec/routes/1/match` becomes `spec.routes[1].match`.
#[must_use]
pub fn dotted(pointer: &str) -> String {
    let mut place = String::new();
    for token in pointer.split('/').skip(1) {
        if !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit()) {
            place.push_str(&format!("[{token}]"));
        } else {
            if !place.is_empty() {
                place.push('.');
            }
            place.push_str(&token.replace("~1", "/").replace("~0", "~"));
        }
    }
    place
}

struct Reader {
    lines: HashMap<String, usize>,
    budget: usize,
}

impl Reader {
    fn read(
        &mut self,
        node: &MarkedYaml<'_>,
        pointer: &mut String,
        depth: usize,
    ) -> Result<Value, Malformed> {
        let line = node.span.start.line();
        let fault = |problem: &str| Malformed { line, problem: problem.to_owned() };
        self.budget =
            self.budget.checked_sub(1).ok_or_else(|| fault("has more values than are read"))?;
        if depth > MAX_DEPTH {
            return Err(fault("is nested deeper than 64 levels"));
        }
        self.lines.insert(pointer.clone(), line);
        match &node.data {
            YamlData::Value(scalar) => {
                read_scalar(scalar).ok_or_else(|| fault("has a number that JSON cannot hold"))
            }
            YamlData::Sequence(items) => {
                let mut values = Vec::with_capacity(items.len());
                for (i, item) in items.iter().enumerate() {
                    let value = self.below(&i.to_string(), item, pointer, depth)?;
                    values.push(value);
                }
                Ok(Value::Array(values))
            }
            YamlData::Mapping(entries) => {
                let mut map = Map::new();
                for (key, item) in entries {
                    let line = key.span.start.line();
                    let fault = |problem: &str| Malformed { line, problem: problem.to_owned() };
                    let key = read_key(key).ok_or_else(|| fault("has a key that is not a text"))?;
                    let token = escape(&key);
                    let value = self.below(&token, item, pointer, depth)?;
                    // The line of a key is the place people look for, not that of the value below it.
                    self.lines.insert(format!("{pointer}/{token}"), line);
                    if map.insert(key, value).is_some() {
                        return Err(fault("has a key twice"));
                    }
                }
                Ok(Value::Object(map))
            }
            YamlData::Tagged(_, inner) => self.read(inner, pointer, depth + 1),
            YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => {
                Err(fault("has a value that cannot be read"))
            }
        }
    }

    fn below(
        &mut self,
        token: &str,
        node: &MarkedYaml<'_>,
        pointer: &mut String,
        depth: usize,
    ) -> Result<Value, Malformed> {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(token);
        let value = self.read(node, pointer, depth + 1);
        pointer.truncate(length);
        value
    }
}

fn read_key(key: &MarkedYaml<'_>) -> Option<String> {
    let YamlData::Value(scalar) = &key.data else { return None };
    match scalar {
        Scalar::String(text) => Some(text.to_string()),
        Scalar::Integer(number) => Some(number.to_string()),
        Scalar::Boolean(flag) => Some(flag.to_string()),
        Scalar::Null | Scalar::FloatingPoint(_) => None,
    }
}

fn read_scalar(scalar: &Scalar<'_>) -> Option<Value> {
    Some(match scalar {
        Scalar::Null => Value::Null,
        Scalar::Boolean(flag) => Value::Bool(*flag),
        Scalar::Integer(number) => Value::Number(Number::from(*number)),
        Scalar::FloatingPoint(number) => Value::Number(Number::from_f64(number.into_inner())?),
        Scalar::String(text) => Value::String(text.to_string()),
    })
}
