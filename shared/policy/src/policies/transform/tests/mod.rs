//! Bodies through the policy, both ways.

mod formats;
mod hostile;
mod messages;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;
use tollgate_model::Issues;

use super::config::{Config, Format, Pipeline};
use super::fault::Fault;
use crate::body::Body;
use crate::chain::Carries;
use crate::policy::Flow;
use crate::support::{Met, World, chain, yaml};

/// What `transform: {request: …}` makes of a body.
async fn sent(side: &str, content_type: &str, body: &[u8]) -> Met {
    let request = Request::post("/orders?color=red")
        .header("content-type", content_type)
        .header("content-length", body.len())
        .body(Body::from(Bytes::copy_from_slice(body)))
        .unwrap();
    let policy = format!("transform: {{request: {side}}}");
    World::default().exchange(&chain(&[&policy]), request).await
}

/// What `transform: {response: …}` makes of an answer to a request.
async fn answered(
    side: &str,
    mut request: Request<Body>,
    answer: Response<Body>,
) -> Response<Body> {
    let world = World::default();
    let chain = chain(&[&format!("transform: {{response: {side}}}")]);
    let (mut carries, mut cx, mut answer) = (Carries::default(), world.cx(), answer);
    let flow = chain.on_request(&mut cx, &mut request, &mut carries).await;
    assert!(matches!(flow, Flow::Next(())));
    chain.on_response(&mut carries, &mut cx, &mut answer).await;
    answer
}

fn bytes(body: &Body) -> &[u8] {
    match body {
        Body::Full(bytes) => bytes,
        Body::Empty => b"",
        Body::Stream(_) => panic!("it is still to be read"),
    }
}

fn text(body: &Body) -> &str {
    std::str::from_utf8(bytes(body)).unwrap()
}

/// One side, made.
fn pipeline(side: &str) -> Pipeline {
    let config: Config = tollgate_model::parse::value(&yaml(&format!("request: {side}"))).unwrap();
    let mut issues = Issues::default();
    let pipeline = Pipeline::compile(config.request.unwrap(), "", &mut issues);
    pipeline.unwrap_or_else(|| panic!("{side}: {issues}"))
}

/// What one side makes of a body, without a message around it.
fn changed(side: &str, from: Format, body: &[u8]) -> Result<String, Fault> {
    let changed = pipeline(side).change(from, body, Some(&Value::Null))?;
    Ok(String::from_utf8(changed.to_vec()).unwrap())
}
