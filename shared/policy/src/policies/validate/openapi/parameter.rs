//! Parameters of a request, and fields of an answer: from texts to values.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};

use crate::escape::{decode, decode_query};
use crate::policies::validate::json::{Json, Members};
use crate::policies::validate::schema::{At, Checker, NodeId, Scalar, Shape};

/// How many pairs a query or a form may have.
pub(crate) const MAX_PAIRS: usize = 1_000;

/// Names and values of a query or a form: names decoded, values as they stand there.
pub(crate) type Pairs<'a> = Vec<(Cow<'a, str>, &'a str)>;

/// A parameter as the document describes it.
pub(crate) struct Parameter {
    pub(crate) place: Place,
    pub(crate) name: Box<str>,
    pub(crate) is_required: bool,
    pub(crate) allows_empty: bool,
    pub(crate) style: Style,
    pub(crate) shape: Shape,
    pub(crate) node: NodeId,
}

/// Where a parameter stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    Header(HeaderName),
    Cookie,
}

impl Place {
    /// The part of the message, as it stands in pointers.
    pub(crate) fn part(&self) -> At<'static> {
        At::Part(match self {
            Self::Path => "/path",
            Self::Query => "/query",
            Self::Header(_) => "/header",
            Self::Cookie => "/cookie",
        })
    }
}

/// How a value is written (OpenAPI 3.1.1, "Style Values").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// `form` with `explode`: each item, each member by itself.
    Exploded,
    /// `form` without, and `simple`: `a,b`; of an object `name,value,name,value`.
    Commas,
    /// `simple` with `explode`: of an object `name=value,name=value`.
    Assignments,
    Spaces,
    Pipes,
    /// `filter[name]=value`.
    Deep,
    /// Not a style: a text of JSON, where the parameter has a `content`.
    Json,
}

/// Why a text is no value.
pub(crate) struct Unfit {
    pub(crate) code: &'static str,
    pub(crate) problem: &'static str,
}

const NOT_UTF8: Unfit = Unfit { code: "encoding", problem: "is not UTF-8" };
const REPEATED: Unfit = Unfit { code: "repeated", problem: "stands there several times" };
const NO_PAIRS: Unfit = Unfit {
    code: "malformed",
    problem: "is not a list of names and values, as an object is written",
};
const NO_JSON: Unfit = Unfit { code: "malformed", problem: "is not JSON" };

/// How texts are encoded where a parameter stands.
#[derive(Clone, Copy)]
pub(crate) enum Coding {
    Query,
    Path,
    Plain,
}

impl Coding {
    fn decode(self, text: &str) -> Result<Cow<'_, str>, Unfit> {
        let bytes = match self {
            Self::Query => decode_query(text),
            Self::Path => decode(text),
            Self::Plain => return Ok(Cow::Borrowed(text)),
        };
        match bytes {
            Cow::Borrowed(bytes) => {
                std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_not_utf8| NOT_UTF8)
            }
            Cow::Owned(bytes) => {
                String::from_utf8(bytes).map(Cow::Owned).map_err(|_not_utf8| NOT_UTF8)
            }
        }
    }
}

/// Splits a query or a form; none where it has too many pairs, or a name is not UTF-8.
pub(crate) fn pairs(text: &str) -> Option<Pairs<'_>> {
    let parts = text.split('&').filter(|part| !part.is_empty());
    let mut pairs = Pairs::new();
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if pairs.len() >= MAX_PAIRS {
            return None;
        }
        pairs.push((Coding::Query.decode(name).ok()?, value));
    }
    Some(pairs)
}

/// The cookies of a request, as they stand there.
pub(crate) fn cookies(headers: &HeaderMap) -> Pairs<'_> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let cookies = lines.flat_map(|line| line.split(';')).filter_map(|part| {
        let (name, value) = part.trim().split_once('=')?;
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        Some((Cow::Borrowed(name), value))
    });
    cookies.take(MAX_PAIRS).collect()
}

/// The lines of a field as one text (RFC 9110 §5.2); none where there are none.
///
/// # Errors
///
/// Where it has bytes that are not ASCII.
pub(crate) fn field<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<Cow<'h, str>>, Unfit> {
    let mut joined: Option<Cow<'h, str>> = None;
    for line in headers.get_all(name) {
        let line = line.to_str().map_err(|_not_utf8| NOT_UTF8)?.trim();
        joined = Some(match joined {
            None => Cow::Borrowed(line),
            Some(before) => Cow::Owned(format!("{before}, {line}")),
        });
    }
    Ok(joined)
}

impl Parameter {
    /// Whether a name of a query belongs to it.
    pub(crate) fn takes(&self, name: &str) -> bool {
        match (self.style, &self.shape) {
            (Style::Deep, _) => deep_name(&self.name, name).is_some(),
            (Style::Exploded, Shape::Object(members)) => {
                members.iter().any(|(known, _)| **known == *name)
            }
            _ => *self.name == *name,
        }
    }

    /// The value that pairs of a query, or cookies, give it.
    pub(crate) fn of_pairs(
        &self,
        pairs: &Pairs<'_>,
        coding: Coding,
    ) -> Result<Option<Json>, Unfit> {
        let own = |name: &str| -> Vec<&str> {
            pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| *value).collect()
        };
        match (&self.shape, self.style) {
            (Shape::Object(members), Style::Exploded) => {
                let mut built = Vec::new();
                for (name, shape) in members {
                    let texts = own(name);
                    if !texts.is_empty() {
                        built.push((name.clone(), several(shape, &texts, coding)?));
                    }
                }
                let is_there = !built.is_empty();
                Ok(is_there.then(|| Json::Object(Members::of_distinct(built.into_iter()))))
            }
            (Shape::Object(members), Style::Deep) => self.deep(members, pairs, coding),
            (Shape::List(_), Style::Exploded) => {
                let texts = own(&self.name);
                if texts.is_empty() {
                    return Ok(None);
                }
                several(&self.shape, &texts, coding).map(Some)
            }
            _ => match own(&self.name).as_slice() {
                [] => Ok(None),
                [text] => self.of_text(text, coding).map(Some),
                _ => Err(REPEATED),
            },
        }
    }

    fn deep(
        &self,
        members: &[(Box<str>, Shape)],
        pairs: &Pairs<'_>,
        coding: Coding,
    ) -> Result<Option<Json>, Unfit> {
        let own =
            pairs.iter().filter_map(|(name, value)| Some((deep_name(&self.name, name)?, *value)));
        let built = gathered(own, members, coding)?;
        Ok((built.len() > 0).then_some(Json::Object(built)))
    }

    /// The value that one text is.
    pub(crate) fn of_text<'t>(&self, text: &'t str, coding: Coding) -> Result<Json, Unfit> {
        if self.style == Style::Json {
            let text = coding.decode(text)?;
            return Json::parse(text.as_bytes()).map_err(|_not_json| NO_JSON);
        }
        match &self.shape {
            Shape::Scalar(scalar) => Ok(scalar.read(&coding.decode(text)?)),
            Shape::List(scalar) => self.list(*scalar, text, coding),
            Shape::Object(members) => {
                let parts: Vec<&str> = text.split(',').map(str::trim).collect();
                let is_assigned = self.style == Style::Assignments;
                let pairs: Option<Vec<(&str, &str)>> = if is_assigned {
                    parts.iter().map(|part| part.split_once('=')).collect()
                } else {
                    let pair = |chunk: &[&'t str]| match chunk {
                        [name, value] => Some((*name, *value)),
                        _ => None,
                    };
                    parts.chunks(2).map(pair).collect()
                };
                let pairs = pairs.ok_or(NO_PAIRS)?;
                gathered(pairs.into_iter(), members, coding).map(Json::Object)
            }
        }
    }

    fn list(&self, scalar: Scalar, text: &str, coding: Coding) -> Result<Json, Unfit> {
        if text.is_empty() {
            return Ok(Json::List(Box::default()));
        }
        let decoded;
        // A comma that is encoded separates nothing. Spaces are always encoded, and bars mostly.
        let (text, coding, separator) = match self.style {
            Style::Spaces | Style::Pipes => {
                decoded = coding.decode(text)?;
                let separator = if self.style == Style::Spaces { ' ' } else { '|' };
                (&*decoded, Coding::Plain, separator)
            }
            Style::Exploded | Style::Commas | Style::Assignments | Style::Deep | Style::Json => {
                (text, coding, ',')
            }
        };
        let items = text.split(separator).map(|item| {
            let item = if matches!(coding, Coding::Plain) { item.trim() } else { item };
            coding.decode(item).map(|item| scalar.read(&item))
        });
        items.collect::<Result<Vec<Json>, Unfit>>().map(|items| Json::List(items.into()))
    }

    /// Checks a value that was read, or that there is none.
    pub(crate) fn check(&self, value: Result<Option<Json>, Unfit>, checker: &mut Checker<'_>) {
        let part = self.place.part();
        let at = At::Member(&part, &self.name);
        match value {
            Err(unfit) => checker.fault(at, unfit.code, || unfit.problem.to_owned()),
            Ok(None) if self.is_required => {
                checker.fault(at, "required", || "is missing; add it".to_owned());
            }
            Ok(None) => {}
            Ok(Some(Json::Text(text))) if text.is_empty() && self.allows_empty => {}
            Ok(Some(value)) => checker.check(self.node, &value, at),
        }
    }

    /// The same for one text, which may be meant as it stands there or as a number.
    pub(crate) fn check_text(&self, text: &str, coding: Coding, checker: &mut Checker<'_>) {
        let part = self.place.part();
        let at = At::Member(&part, &self.name);
        let mut value = self.of_text(text, coding);
        if let (Shape::Scalar(scalar), Ok(read)) = (&self.shape, &value)
            && scalar.is_ambiguous()
            && !matches!(read, Json::Text(_))
            && !checker.tries(self.node, read, at)
        {
            value = coding.decode(text).map(|text| Json::Text(text.as_ref().into()));
        }
        self.check(value.map(Some), checker);
    }
}

/// The name within brackets: `filter[name]` of `filter`.
fn deep_name<'n>(parameter: &str, name: &'n str) -> Option<&'n str> {
    name.strip_prefix(parameter)?.strip_prefix('[')?.strip_suffix(']')
}

/// The value that texts of one name are.
fn several(shape: &Shape, texts: &[&str], coding: Coding) -> Result<Json, Unfit> {
    let read = |scalar: Scalar, text: &str| coding.decode(text).map(|text| scalar.read(&text));
    match (shape, texts) {
        (Shape::Scalar(scalar), [text]) => read(*scalar, text),
        (Shape::List(scalar), texts) => {
            let items: Result<Vec<Json>, Unfit> =
                texts.iter().map(|text| read(*scalar, text)).collect();
            items.map(|items| Json::List(items.into()))
        }
        (Shape::Scalar(_) | Shape::Object(_), _) => Err(REPEATED),
    }
}

/// The object that names and values are, those with one name together.
pub(crate) fn gathered<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
    members: &[(Box<str>, Shape)],
    coding: Coding,
) -> Result<Members, Unfit> {
    const TEXT: &Shape = &Shape::Scalar(Scalar::TEXT);
    let mut by_name: std::collections::BTreeMap<&str, Vec<&str>> = Default::default();
    for (name, value) in pairs {
        by_name.entry(name).or_default().push(value);
    }
    let mut built = Vec::with_capacity(by_name.len());
    for (name, texts) in by_name {
        let shape = members.iter().find(|(known, _)| **known == *name).map(|(_, shape)| shape);
        built.push((name.into(), several(shape.unwrap_or(TEXT), &texts, coding)?));
    }
    Ok(Members::of_distinct(built.into_iter()))
}
