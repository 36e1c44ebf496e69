//! What is signed: the values of a request's parts, as the caller sent them (RFC 9421 §2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, Request, Version, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sfv::{Dictionary, FieldType as _, Item, ItemSerializer, List, ListSerializer, Parser};

use super::component::{Component, Form, Structure};
use super::fault::Fault;
use super::fields::Input;
use crate::body::Body;
use crate::escape::decode_query;

/// All but what a form leaves as it is (URL Standard, `application/x-www-form-urlencoded` percent-encode set).
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// How many bytes of a request are read for its signatures, all together: each component reads the part
/// that it names, and one part may be named many times.
const MAX_READ_BYTES: usize = 256 << 10;

/// A request whose parts are asked for.
pub(super) struct Message<'a> {
    request: &'a Request<Body>,
    scheme: &'static str,
    left_bytes: usize,
}

impl<'a> Message<'a> {
    pub(super) fn of(request: &'a Request<Body>, scheme: &'static str) -> Self {
        Self { request, scheme, left_bytes: MAX_READ_BYTES }
    }

    /// The request itself.
    pub(super) fn request(&self) -> &'a Request<Body> {
        self.request
    }

    /// The signature base (§2.5).
    pub(super) fn base(
        &mut self,
        input: &Input,
        components: &[Component],
    ) -> Result<String, Fault> {
        let mut base = String::with_capacity(512);
        for (identifier, component) in input.components.iter().zip(components) {
            let of_name = ItemSerializer::with_buffer(&mut base).bare_item(&*identifier.name);
            of_name.parameters(&identifier.parameters).finish().push_str(": ");
            let begins = base.len();
            self.push_value(component, &mut base).ok_or(Fault::Absent)?;
            // §2.5: no value has a line end, and all of them are ASCII.
            let value = base.get(begins..).unwrap_or_default();
            if !value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
                return Err(Fault::Absent);
            }
            base.push('\n');
        }
        base.push_str("\"@signature-params\": ");
        let mut list = ListSerializer::with_buffer(&mut base);
        let mut members = list.inner_list();
        for identifier in &input.components {
            members.bare_item(&*identifier.name).parameters(&identifier.parameters);
        }
        members.finish().parameters(&input.parameters);
        Ok(base)
    }

    /// Appends the value of a component; none where the request has not got it.
    fn push_value(&mut self, component: &Component, base: &mut String) -> Option<()> {
        let request = self.request;
        let uri = request.uri();
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        match component {
            Component::Method => base.push_str(request.method().as_str()),
            Component::Scheme => base.push_str(self.scheme),
            Component::Authority => base.push_str(&self.authority()?),
            Component::TargetUri => {
                self.read(target.len())?;
                let authority = self.authority()?;
                base.extend([self.scheme, "://", &authority, target]);
            }
            Component::RequestTarget => {
                self.read(target.len())?;
                // HTTP/2 sends the parts of a URI apart; in HTTP/1 they are there in the absolute form.
                if uri.scheme().is_some() && request.version() != Version::HTTP_2 {
                    base.push_str(&uri.to_string());
                } else {
                    base.push_str(target);
                }
            }
            Component::Path => {
                self.read(uri.path().len())?;
                base.push_str(uri.path());
            }
            Component::Query => {
                let query = uri.query().unwrap_or_default();
                self.read(query.len())?;
                base.extend(["?", query]);
            }
            Component::QueryParam(name) => {
                let query = uri.query().unwrap_or_default();
                self.read(query.len())?;
                base.push_str(&query_parameter(query, name)?);
            }
            Component::Field { name, form } => return self.push_field(name, form, base),
        }
        Some(())
    }

    fn push_field(&mut self, name: &HeaderName, form: &Form, base: &mut String) -> Option<()> {
        let lines = self.request.headers().get_all(name).iter();
        self.read(self.request.headers().get_all(name).iter().map(HeaderValue::len).sum())?;
        self.request.headers().get(name)?;
        if *form == Form::Binary {
            for (at, line) in lines.enumerate() {
                let separator = if at == 0 { "" } else { ", " };
                let encoded = STANDARD.encode(line.as_bytes().trim_ascii());
                base.extend([separator, ":", &encoded, ":"]);
            }
            return Some(());
        }
        // RFC 9113 §8.2.3: HTTP/2 may send the pieces of `cookie` apart.
        let is_split = *name == header::COOKIE && self.request.version() == Version::HTTP_2;
        let separator = if is_split { "; " } else { ", " };
        let mut whole = String::new();
        for (at, line) in lines.enumerate() {
            whole.push_str(if at == 0 { "" } else { separator });
            whole.push_str(line.to_str().ok()?.trim_matches([' ', '\t']));
        }
        match form {
            Form::Plain | Form::Binary => base.push_str(&whole),
            Form::Structured(structure) => base.push_str(&strict(&whole, *structure)?),
            Form::Member(key) => base.push_str(&member(&whole, key)?),
        }
        Some(())
    }

    /// Counts what is read.
    fn read(&mut self, bytes: usize) -> Option<()> {
        self.left_bytes = self.left_bytes.checked_sub(bytes)?;
        Some(())
    }

    /// Host and port in the one form that they are signed in (§2.2.3).
    fn authority(&self) -> Option<String> {
        let field = self.request.headers().get(header::HOST);
        let host = match field {
            Some(field) => field.to_str().ok()?,
            None => self.request.uri().authority()?.as_str(),
        };
        let own_port = if self.scheme == "https" { ":443" } else { ":80" };
        let host = host.strip_suffix(own_port).unwrap_or(host);
        (!host.is_empty()).then(|| host.to_ascii_lowercase())
    }
}

/// The value of a query's parameter (§2.2.8): decoded as a form and encoded again, so that it has one
/// spelling. None where it is not there, or there more than once.
fn query_parameter(query: &str, name: &str) -> Option<String> {
    let mut values = query.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (form_encoded(key) == name).then_some(value)
    });
    let value = values.next()?;
    values.next().is_none().then(|| form_encoded(value))
}

fn form_encoded(text: &str) -> String {
    let decoded = decode_query(text);
    percent_encode(String::from_utf8_lossy(&decoded).as_bytes(), FORM).to_string()
}

/// A structured field in its strict form; none where it is not one, or an empty one.
fn strict(text: &str, structure: Structure) -> Option<String> {
    let parser = Parser::new(text);
    match structure {
        Structure::Item => parser.parse::<Item>().ok().map(|item| item.serialize()),
        Structure::List => parser.parse::<List>().ok()?.serialize(),
        Structure::Dictionary => parser.parse::<Dictionary>().ok()?.serialize(),
    }
}

/// One member of a dictionary in its strict form.
fn member(text: &str, key: &str) -> Option<String> {
    let mut dictionary = Parser::new(text).parse::<Dictionary>().ok()?;
    let member = dictionary.swap_remove(key)?;
    vec![member].serialize()
}
