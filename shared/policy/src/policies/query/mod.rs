#![doc = include_str!("MANUAL.md")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;

use deserr::Deserr;
use http::Request;
use schemars::JsonSchema;
use smallvec::SmallVec;
use tollgate_model::issue::escape;
use tollgate_model::parse::Mapping;
use tollgate_model::{Issues, Name, ResourceId};

use crate::body::Body;
use crate::escape::{Escape, decode_query, push_component};
use crate::onward::{MAX_TARGET, refuse_length};
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};
use crate::template::Template;

/// What the operator writes: first `remove`, then `rename`, then `set`, then `add`. At least one of them.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Parameters that are taken off.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub remove: Vec<String>,
    /// Parameters that get another name; value and place stay.
    #[deserr(default, from(Mapping<String, String>) = Mapping::into_inner)]
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub rename: BTreeMap<String, String>,
    /// Parameters that are written in place of those of their name. Values are texts with variables.
    #[deserr(default, from(Mapping<String, String>) = Mapping::into_inner)]
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub set: BTreeMap<String, String>,
    /// Parameters that are written behind what is there. Values are texts with variables.
    #[deserr(default, from(Mapping<String, String>) = Mapping::into_inner)]
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub add: BTreeMap<String, String>,
}

/// Changes the query of the request to the upstream.
pub struct Query {
    remove: Box<[Box<str>]>,
    rename: Box<[Rename]>,
    set: Box<[Write]>,
    add: Box<[Write]>,
}

struct Rename {
    from: Box<str>,
    /// What it is called then, and the same as it stands in a query.
    to: Box<str>,
    encoded: Box<str>,
}

struct Write {
    name: Box<str>,
    /// `name=`, as it stands in a query.
    start: Box<str>,
    value: Template,
}

/// The most parameters that one list names.
const MAX_ENTRIES: usize = 64;

/// The longest name and the longest text of a value, in bytes.
const MAX_TEXT: usize = 2048;

impl Policy for Query {
    type Config = Config;
    type Carry = ();

    const NAME: &'static str = "query";
    const PHASE: Phase = Phase::Transform;
    const REPEAT: Repeat = Repeat::All;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        let mut issues = Issues::default();
        let Config { remove, rename, set, add } = config;
        let lengths = [remove.len(), rename.len(), set.len(), add.len()];
        if lengths.iter().all(|length| *length == 0) {
            issues.add(
                "",
                "nothing_to_change",
                "changes nothing; give `remove`, `rename`, `set` or `add`",
            );
        }
        for (field, length) in ["/remove", "/rename", "/set", "/add"].into_iter().zip(lengths) {
            if length > MAX_ENTRIES {
                issues.add(field, "too_many", format!("has more than {MAX_ENTRIES} entries"));
            }
        }
        for (i, name) in remove.iter().enumerate() {
            check_name(name, || format!("/remove/{i}"), &mut issues);
        }
        for (from, to) in &rename {
            let at = || format!("/rename/{}", escape(from));
            check_name(from, at, &mut issues);
            check_name(to, at, &mut issues);
        }
        let set = compile_writes(set, "/set", scope, &mut issues);
        let add = compile_writes(add, "/add", scope, &mut issues);
        issues.into_result(Self {
            remove: remove.into_iter().map(String::into_boxed_str).collect(),
            rename: rename
                .into_iter()
                .map(|(from, to)| Rename {
                    from: from.into(),
                    encoded: encoded(&to).into(),
                    to: to.into(),
                })
                .collect(),
            set,
            add,
        })
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        let writes = self.set.iter().chain(&self.add);
        writes.flat_map(|write| write.value.references(tenant)).collect()
    }

    fn on_request(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<()>> {
        std::future::ready(match self.change(cx, request) {
            Ok(()) => Flow::Next(()),
            Err(refusal) => Flow::Refuse(refusal),
        })
    }
}

impl Query {
    fn change(&self, cx: &mut Cx<'_>, request: &Request<Body>) -> Result<(), Box<Refusal>> {
        let (_, query) = cx.onward.path_and_query(request);
        let query = query.unwrap_or_default();
        if self.set.is_empty() && self.add.is_empty() && !self.touches(query) {
            return Ok(());
        }
        let changed = self.changed(query, cx, request).ok_or_else(refuse_length)?;
        let changed = (!changed.is_empty()).then_some(changed);
        cx.onward.set_query(request, changed.as_deref())
    }

    /// Whether a parameter is there that is taken off or renamed.
    fn touches(&self, query: &str) -> bool {
        query.split('&').any(|pair| {
            let name = name_of(pair);
            self.removes(&name) || self.rename_of(&name).is_some()
        })
    }

    /// The whole query; none where it is too long.
    fn changed(&self, query: &str, cx: &Cx<'_>, request: &Request<Body>) -> Option<String> {
        let mut changed = Joined { text: String::with_capacity(query.len() + 64), has_any: false };
        let mut is_written: SmallVec<[bool; 16]> = SmallVec::from_elem(false, self.set.len());
        let pairs = query.split('&').filter(|_| !query.is_empty());
        for pair in pairs {
            let name = name_of(pair);
            if self.removes(&name) {
                continue;
            }
            let rename = self.rename_of(&name);
            let name = rename.map_or(&*name, |rename| rename.to.as_bytes());
            let set = self.set.iter().zip(&mut is_written);
            let mut set = set.filter(|(write, _)| write.name.as_bytes() == name);
            if let Some((write, is_written)) = set.next() {
                if !std::mem::replace(is_written, true) {
                    write.push(&mut changed, cx, request)?;
                }
                continue;
            }
            let text = changed.next();
            match rename {
                None => text.push_str(pair),
                Some(rename) => {
                    text.push_str(&rename.encoded);
                    text.push_str(pair.find('=').and_then(|at| pair.get(at..)).unwrap_or(""));
                }
            }
        }
        for (write, is_written) in self.set.iter().zip(is_written) {
            if !is_written {
                write.push(&mut changed, cx, request)?;
            }
        }
        for write in &self.add {
            write.push(&mut changed, cx, request)?;
        }
        (changed.text.len() <= MAX_TARGET).then_some(changed.text)
    }

    fn removes(&self, name: &[u8]) -> bool {
        self.remove.iter().any(|removed| removed.as_bytes() == name)
    }

    fn rename_of(&self, name: &[u8]) -> Option<&Rename> {
        self.rename.iter().find(|rename| rename.from.as_bytes() == name)
    }
}

impl Write {
    /// Appends the parameter; none where its value is too long.
    fn push(&self, query: &mut Joined, cx: &Cx<'_>, request: &Request<Body>) -> Option<()> {
        let query = query.next();
        query.push_str(&self.start);
        query.push_str(&self.value.render_escaped(cx, request, Escape::Url, MAX_TARGET)?);
        (query.len() <= MAX_TARGET).then_some(())
    }
}

/// Parameters with `&` between them; an empty one counts.
struct Joined {
    text: String,
    has_any: bool,
}

impl Joined {
    /// Where the next one is written.
    fn next(&mut self) -> &mut String {
        if std::mem::replace(&mut self.has_any, true) {
            self.text.push('&');
        }
        &mut self.text
    }
}

/// The name of a parameter as servers read it, so that `%63olor` is `color`.
fn name_of(pair: &str) -> Cow<'_, [u8]> {
    decode_query(pair.split('=').next().unwrap_or_default())
}

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    push_component(&mut encoded, text.as_bytes());
    encoded
}

fn check_name(name: &str, at: impl Fn() -> String, issues: &mut Issues) {
    if name.is_empty() || name.len() > MAX_TEXT {
        issues.add(
            at(),
            "invalid_parameter",
            format!("a parameter's name has 1 to {MAX_TEXT} bytes; write it as it reads, without percent-encoding"),
        );
    }
}

fn compile_writes(
    entries: BTreeMap<String, String>,
    at: &str,
    scope: Scope<'_>,
    issues: &mut Issues,
) -> Box<[Write]> {
    let mut writes = Vec::new();
    for (name, text) in entries {
        let place = format!("{at}/{}", escape(&name));
        check_name(&name, || place.clone(), issues);
        if text.len() > MAX_TEXT {
            issues.add(place, "too_long", format!("is longer than {MAX_TEXT} bytes"));
            continue;
        }
        match Template::parse(&text, scope) {
            Ok(value) => writes.push(Write {
                start: format!("{}=", encoded(&name)).into(),
                name: name.into(),
                value: value.with_text_escaped(Escape::Url),
            }),
            Err(rejected) => issues.add(place, rejected.code, rejected.problem),
        }
    }
    writes.into()
}

#[cfg(test)]
mod tests;
