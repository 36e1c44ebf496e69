//! The base of each signature is written out by hand here, line by line, and not by the code that is tested.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use tollgate_model::secret::SecretText;
use tollgate_model::signature::{KeyId, SignatureProof};
use tollgate_model::{Name, parse};
use tollgate_testkit::tokens::code_of;

use crate::Body;
use crate::policy::Caller;
use crate::support::{Met, World, caller, chain, name, request, yaml};

// The body of a request.
mod bodies;
// What is refused.
mod refusals;
// What is sent again.
mod replays;
// The examples of the RFC.
mod rfc;
// What goes through.
mod signatures;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const REFUSED: Option<(u16, &str)> = Some((401, "unauthenticated"));

/// What is signed of [`request`], as identifiers and values.
const LINES: [(&str, &str); 4] = [
    ("\"@method\"", "GET"),
    ("\"@authority\"", "api.shop.test"),
    ("\"@path\"", "/items/7"),
    ("\"@query\"", "?color=red&color=blue"),
];
/// Made now, with the key `one`.
const NOW_ONE: &str = ";created=1700000000;keyid=\"one\"";

fn proof(text: &str) -> SignatureProof {
    parse::value(&yaml(text)).unwrap()
}

/// A world in which an application has a key.
fn know(mut world: World, text: &str, mut caller: Caller) -> World {
    let proof = proof(text);
    caller.verification_key = Some(proof.key);
    let key = KeyId::lookup_key(&caller.tenant, proof.key_id.as_str());
    world.proofs.insert(key, Arc::new(caller));
    world
}

/// A world in which `web-shop` has the key `one`, a secret.
fn world() -> World {
    let mut world = World::default();
    let secret = (Name::default_name(), name("signing"));
    world.secrets.insert(secret, SecretText::new(SECRET.to_owned()));
    know(world, "{key_id: one, secret: signing}", caller("web-shop", "first"))
}

/// `label=(…)…` of the lines, and the base that is signed.
fn base(label: &str, lines: &[(&str, &str)], parameters: &str) -> (String, String) {
    let identifiers: Vec<&str> = lines.iter().map(|(identifier, _)| *identifier).collect();
    let input = format!("({}){parameters}", identifiers.join(" "));
    let mut base: String =
        lines.iter().map(|(identifier, value)| format!("{identifier}: {value}\n")).collect();
    base.push_str(&format!("\"@signature-params\": {input}"));
    (format!("{label}={input}"), base)
}

/// `label=:…:` of a signature.
fn bytes_of(label: &str, signature: &[u8]) -> String {
    format!("{label}=:{}:", STANDARD.encode(signature))
}

/// Both fields of a signature with the secret.
fn signed(lines: &[(&str, &str)], parameters: &str) -> [(&'static str, String); 2] {
    let (input, base) = base("sig1", lines, parameters);
    let signature = bytes_of("sig1", &code_of(SECRET.as_bytes(), base.as_bytes()));
    [("signature-input", input), ("signature", signature)]
}

/// [`request`] with these fields.
fn with_fields(fields: &[(&'static str, String)]) -> Request<Body> {
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    request(&fields)
}

/// A POST of the same target with a body and its digest, and a signature over all of it.
fn posted(body: Body, digest: &str, policy_lines: &[(&str, &str)]) -> Request<Body> {
    let mut lines = vec![("\"@method\"", "POST")];
    lines.extend(&LINES[1..]);
    lines.extend(policy_lines);
    let mut builder = Request::post("http://api.shop.test/items/7?color=red&color=blue")
        .header("content-digest", digest);
    for (name, value) in signed(&lines, NOW_ONE) {
        builder = builder.header(name, value);
    }
    builder.body(body).unwrap()
}

fn sha256(body: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
    bytes_of("sha-256", digest.as_ref())
}

async fn meet(policy: &str, request: Request<Body>) -> Met {
    world().exchange(&chain(&[policy]), request).await
}

fn full(text: &'static str) -> Body {
    Body::from(Bytes::from_static(text.as_bytes()))
}
