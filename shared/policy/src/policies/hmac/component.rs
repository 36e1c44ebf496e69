//! Parts of a request that a signature covers, by their identifiers (RFC 9421 §2).

use http::HeaderName;
use sfv::{BareItem, Parameters};
use tollgate_model::route::OF_CONNECTION;

/// A part of a request. Two identifiers that name the same part in the same form are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Component {
    /// `@method`.
    Method,
    /// `@target-uri`: scheme, authority, path and query.
    TargetUri,
    /// `@authority`: host, and port where it is not the scheme's own.
    Authority,
    /// `@scheme`.
    Scheme,
    /// `@request-target`: as it stands in the request line.
    RequestTarget,
    /// `@path`.
    Path,
    /// `@query`: with the question mark.
    Query,
    /// `@query-param` with this name, percent-encoded.
    QueryParam(Box<str>),
    /// A header field.
    Field { name: HeaderName, form: Form },
}

/// How the value of a field is written into what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Its lines with commas between (§2.1).
    Plain,
    /// `sf`: as the structured field that it is, in the one strict form (§2.1.1).
    Structured(Structure),
    /// `key`: one member of a dictionary (§2.1.2).
    Member(Box<str>),
    /// `bs`: each line as bytes in base64 (§2.1.3).
    Binary,
}

/// What a structured field is as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Structure {
    Item,
    List,
    Dictionary,
}

/// Why an identifier is not taken, in one sentence.
pub(super) type Unsupported = &'static str;

impl Component {
    /// The part that an identifier names.
    pub(super) fn of(name: &str, parameters: &Parameters) -> Result<Self, Unsupported> {
        if parameters.contains_key("tr") {
            return Err(
                "a signature over trailers (`tr`) is not supported: they come after the body",
            );
        }
        if parameters.contains_key("req") {
            return Err("`req` is for signatures of responses");
        }
        if name.starts_with('@') { derived(name, parameters) } else { field(name, parameters) }
    }

    /// Whether who signs this signs another part with it.
    pub(super) fn includes(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let is_in_target = matches!(other, Self::Path | Self::Query | Self::QueryParam(_));
        match self {
            Self::TargetUri => is_in_target || matches!(other, Self::Scheme | Self::Authority),
            Self::RequestTarget => is_in_target,
            Self::Query => matches!(other, Self::QueryParam(_)),
            Self::Field { name, form: Form::Structured(_) | Form::Binary } => {
                matches!(other, Self::Field { name: of, form: Form::Plain } if of == name)
            }
            Self::Method
            | Self::Authority
            | Self::Scheme
            | Self::Path
            | Self::QueryParam(_)
            | Self::Field { form: Form::Plain | Form::Member(_), .. } => false,
        }
    }
}

fn derived(name: &str, parameters: &Parameters) -> Result<Component, Unsupported> {
    let component = match name {
        "@method" => Component::Method,
        "@target-uri" => Component::TargetUri,
        "@authority" => Component::Authority,
        "@scheme" => Component::Scheme,
        "@request-target" => Component::RequestTarget,
        "@path" => Component::Path,
        "@query" => Component::Query,
        "@query-param" => {
            let name = parameters.get("name").and_then(BareItem::as_string);
            return match name {
                Some(name) if parameters.len() == 1 => {
                    Ok(Component::QueryParam(name.as_str().into()))
                }
                _ => Err("`@query-param` has the parameter `name`, a text, and no other"),
            };
        }
        "@status" => return Err("`@status` is for signatures of responses"),
        "@signature-params" => return Err("`@signature-params` is not named, it is always signed"),
        _ => return Err("a component whose name begins with `@` is not one of RFC 9421"),
    };
    if !parameters.is_empty() {
        return Err("a component has a parameter that it cannot have");
    }
    Ok(component)
}

fn field(name: &str, parameters: &Parameters) -> Result<Component, Unsupported> {
    let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok().filter(|_| is_lower);
    let name = parsed.ok_or("a component is not the name of a header field in lower case")?;
    // `host` and `content-length` are as the caller sent them; the others never come so far.
    let stays =
        |name: &HeaderName| *name == http::header::HOST || *name == http::header::CONTENT_LENGTH;
    if OF_CONNECTION.contains(&name.as_str()) && !stays(&name) {
        return Err("a component is a header field that is for one hop only");
    }
    let mut parameters = parameters.iter();
    let form = match (parameters.next(), parameters.next()) {
        (None, _) => Form::Plain,
        (Some((key, value)), None) => match (key.as_str(), value) {
            ("sf", BareItem::Boolean(true)) => Form::Structured(
                structure(&name)
                    .ok_or("`sf` is taken for fields alone that are registered as structured")?,
            ),
            ("bs", BareItem::Boolean(true)) => Form::Binary,
            ("key", BareItem::String(member)) => Form::Member(member.as_str().into()),
            _ => return Err("a component has a parameter that it cannot have"),
        },
        (Some(_), Some(_)) => return Err("a header field has at most one of `sf`, `key` and `bs`"),
    };
    Ok(Component::Field { name, form })
}

/// Fields that IANA's registry calls structured and that requests have.
fn structure(name: &HeaderName) -> Option<Structure> {
    Some(match name.as_str() {
        "accept-signature"
        | "content-digest"
        | "priority"
        | "repr-digest"
        | "signature"
        | "signature-input"
        | "want-content-digest"
        | "want-repr-digest" => Structure::Dictionary,
        "cache-status" | "client-cert-chain" | "proxy-status" => Structure::List,
        "capsule-protocol" | "client-cert" => Structure::Item,
        _ => return None,
    })
}
