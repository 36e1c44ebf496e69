//! Texts with variables: `{path.id}`, `{header.x-region}`, `{secret.token}`, `{claim.sub}`, `{application}`, …
//!
//! A text without variables costs nothing to render. `{{` and `}}` stand for braces.

use std::borrow::Cow;

use http::{HeaderName, Request};
use tollgate_model::issue::nearest;
use tollgate_model::parse::Rejected;
use tollgate_model::template::{Part, cut};
use tollgate_model::{FromText, Kind, Name, ResourceId};

use crate::body::Body;
use crate::cookie;
use crate::escape::{Escape, decode, decode_query, push_component};
use crate::policy::{Cx, Holder, Scope};

/// A parsed text.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Variable(Variable),
}

#[derive(Clone, Debug, PartialEq)]
enum Variable {
    Path(String),
    Query(String),
    Header(HeaderName),
    Cookie(Box<str>),
    Secret(Holder, Name),
    Claim(Box<str>),
    Application,
    Credential,
    ClientIp,
    RequestId,
    Tenant,
    Api,
    Route,
    Method,
    Host,
}

const NAMES: [&str; 15] = [
    "path.NAME",
    "query.NAME",
    "header.NAME",
    "cookie.NAME",
    "secret.NAME",
    "claim.NAME",
    "application",
    "credential",
    "client.ip",
    "request.id",
    "tenant",
    "api",
    "route",
    "method",
    "host",
];

impl Template {
    /// Parses a text.
    ///
    /// # Errors
    ///
    /// A brace without its partner, a variable that is not known, or a path parameter that the
    /// route does not have.
    pub fn parse(text: &str, scope: Scope<'_>) -> Result<Self, Rejected> {
        let piece = |part: Part<'_>| match part {
            Part::Text(text) => Ok(Piece::Text(text)),
            Part::Variable(name) => Variable::parse(name, scope).map(Piece::Variable),
        };
        let pieces = cut(text)?.into_iter().map(piece).collect::<Result<_, _>>()?;
        Ok(Self { pieces })
    }

    /// The whole text, where it has no variables.
    #[must_use]
    pub fn as_constant(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The secrets that it names.
    #[must_use]
    pub fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        self.pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Variable(Variable::Secret(_, name)) => {
                    Some(ResourceId::new(Kind::Secret, tenant.clone(), name.clone()))
                }
                Piece::Text(_) | Piece::Variable(_) => None,
            })
            .collect()
    }

    /// A text without variables.
    #[must_use]
    pub fn constant(text: String) -> Self {
        Self { pieces: if text.is_empty() { Vec::new() } else { vec![Piece::Text(text)] } }
    }

    /// One text of several, in order.
    #[must_use]
    pub fn concatenated(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        for piece in parts.into_iter().flat_map(|part| part.pieces) {
            match (pieces.last_mut(), piece) {
                (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
                (_, piece) => pieces.push(piece),
            }
        }
        Self { pieces }
    }

    /// The same with what is not variable escaped.
    #[must_use]
    pub fn with_text_escaped(mut self, escape: Escape) -> Self {
        for piece in &mut self.pieces {
            if let Piece::Text(text) = piece {
                let mut escaped = String::with_capacity(text.len());
                escape.push(&mut escaped, text);
                *text = escaped;
            }
        }
        self
    }

    /// What stands before the first variable.
    #[must_use]
    pub fn leading_text(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            Some(Piece::Variable(_)) | None => "",
        }
    }

    /// The text with the same value for every variable, to look at its shape.
    #[must_use]
    pub fn sample(&self, value: &str) -> String {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Variable(_) => value,
        });
        pieces.collect()
    }

    /// The text for one request, with every value escaped for the syntax around it; none where it
    /// is longer than `limit` bytes.
    ///
    /// What a variable takes of a URL is decoded first where it goes into one, so that nothing is
    /// encoded twice.
    #[must_use]
    pub fn render_escaped(
        &self,
        cx: &Cx<'_>,
        request: &Request<Body>,
        escape: Escape,
        limit: usize,
    ) -> Option<String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Variable(variable) => {
                    let value = variable.value(cx, request);
                    match (escape, variable) {
                        (Escape::Url, Variable::Path(_)) => {
                            push_component(&mut text, &decode(&value));
                        }
                        (Escape::Url, Variable::Query(_)) => {
                            push_component(&mut text, &decode_query(&value));
                        }
                        (escape, _) => escape.push(&mut text, &value),
                    }
                }
            }
            if text.len() > limit {
                return None;
            }
        }
        Some(text)
    }

    /// The text for one request. A variable that the request does not have is empty.
    #[must_use]
    pub fn render<'a>(&'a self, cx: &'a Cx<'_>, request: &'a Request<Body>) -> Cow<'a, str> {
        match self.pieces.as_slice() {
            [] => Cow::Borrowed(""),
            [Piece::Text(text)] => Cow::Borrowed(text),
            [Piece::Variable(variable)] => variable.value(cx, request),
            pieces => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(literal) => text.push_str(literal),
                        Piece::Variable(variable) => text.push_str(&variable.value(cx, request)),
                    }
                }
                Cow::Owned(text)
            }
        }
    }
}

impl Variable {
    fn parse(name: &str, scope: Scope<'_>) -> Result<Self, Rejected> {
        let unknown = || {
            Rejected::new(
                "unknown_variable",
                format!(
                    "`{{{}}}` is not a variable; {}",
                    name.escape_debug(),
                    nearest(name, &NAMES)
                ),
            )
        };
        if let Some((family, rest)) = name.split_once('.') {
            return match family {
                "path" => {
                    let parameters = scope.parameters.unwrap_or_default();
                    if !parameters.contains(&rest) {
                        return Err(Rejected::new(
                            "unknown_variable",
                            format!(
                                "`{{{}}}`: the path here has no such parameter; {}",
                                name.escape_debug(),
                                nearest(rest, parameters)
                            ),
                        ));
                    }
                    Ok(Self::Path(rest.to_owned()))
                }
                "query" if !rest.is_empty() => Ok(Self::Query(rest.to_owned())),
                "header" => HeaderName::from_bytes(rest.as_bytes())
                    .map(Self::Header)
                    .map_err(|_bad| unknown()),
                // RFC 6265 §4.1.1: a cookie's name is a token, as a field's is.
                "cookie" => HeaderName::from_bytes(rest.as_bytes())
                    .map(|_token| Self::Cookie(rest.into()))
                    .map_err(|_bad| unknown()),
                "secret" => Name::from_text(rest).map(|name| Self::Secret(scope.holder(), name)),
                "claim" if !rest.is_empty() => Ok(Self::Claim(rest.into())),
                "client" if rest == "ip" => Ok(Self::ClientIp),
                "request" if rest == "id" => Ok(Self::RequestId),
                _ => Err(unknown()),
            };
        }
        match name {
            "application" => Ok(Self::Application),
            "credential" => Ok(Self::Credential),
            "tenant" => Ok(Self::Tenant),
            "api" => Ok(Self::Api),
            "route" => Ok(Self::Route),
            "method" => Ok(Self::Method),
            "host" => Ok(Self::Host),
            _ => Err(unknown()),
        }
    }

    fn value<'a>(&self, cx: &'a Cx<'_>, request: &'a Request<Body>) -> Cow<'a, str> {
        let found = match self {
            Self::Claim(name) => {
                let claims = cx.claims.as_deref();
                return claims.and_then(|claims| claims.text(name)).unwrap_or_default();
            }
            Self::Path(name) => cx.parameters.get(name),
            Self::Query(name) => request.uri().query().and_then(|query| query_value(query, name)),
            Self::Header(name) => request.headers().get(name).and_then(|value| value.to_str().ok()),
            Self::Cookie(name) => cookie::find(request.headers(), name),
            Self::Secret(of, name) => cx.secret(*of, name).map(|secret| secret.expose()),
            Self::Application => cx.identity.as_ref().map(|caller| caller.application.as_str()),
            Self::Credential => cx.identity.as_ref().map(|caller| caller.credential.as_str()),
            Self::ClientIp => Some(&*cx.client.address_text),
            Self::RequestId => Some(cx.request_id),
            Self::Tenant => Some(cx.route.tenant.as_str()),
            Self::Api => Some(cx.route.api.as_str()),
            Self::Route => cx.route.route.as_ref().map(Name::as_str),
            Self::Method => Some(request.method().as_str()),
            Self::Host => request
                .headers()
                .get(http::header::HOST)
                .and_then(|value| value.to_str().ok())
                .or_else(|| request.uri().host()),
        };
        Cow::Borrowed(found.unwrap_or_default())
    }
}

/// The first value of a query parameter, as it stands in the query.
fn query_value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: Scope<'_> = Scope { place: "test", parameters: Some(&["id"]) };

    #[test]
    fn texts_without_variables_are_constant() {
        assert_eq!(Template::parse("a {{b}} c", SCOPE).unwrap().as_constant(), Some("a {b} c"));
        assert_eq!(Template::parse("", SCOPE).unwrap().as_constant(), Some(""));
    }

    #[test]
    fn what_is_not_a_template_is_refused_with_its_reason() {
        for (text, code) in [
            ("{", "invalid_template"),
            ("}", "invalid_template"),
            ("{path.id", "invalid_template"),
            ("{pth.id}", "unknown_variable"),
            ("{path.other}", "unknown_variable"),
            ("{application.name}", "unknown_variable"),
            ("{header.a b}", "unknown_variable"),
            ("{secret.UPPER}", "invalid_name"),
        ] {
            assert_eq!(Template::parse(text, SCOPE).unwrap_err().code, code, "{text}");
        }
    }

    #[test]
    fn secrets_are_named_as_references() {
        let template = Template::parse("Bearer {secret.token}", SCOPE).unwrap();
        let tenant = Name::default_name();
        assert_eq!(
            template.references(&tenant).first().unwrap().to_string(),
            "Secret default/token"
        );
    }
}
