//! `tollgate explain METHOD URL`: which route a request would take, which it would not and why, and what each
//! policy would do, as a node says: with its own matcher and its own policies, while nothing comes of it.

use clap::Args;
use http::{HeaderName, HeaderValue, Method, Uri};
use serde_json::{Value, json};

use crate::client::Call;
use crate::failure::{Failure, Outcome};
use crate::session::{Session, parse_name};

/// What `tollgate explain` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Such as GET
    method: String,
    /// Such as <http://api.shop.test/orders/items?all=1>
    url: String,
    /// A header field of the request, such as `x-region: eu`
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// Where the request would come from
    #[arg(long, value_name = "ADDRESS")]
    client_address: Option<String>,
    /// The gateway whose nodes would get it
    #[arg(long, default_value = "default")]
    gateway: String,
}

/// Carries out `tollgate explain`.
pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Outcome, Failure> {
    let question = question(&arguments)?;
    let answer = session.client.call(Call::post(&["explain"], &question)).await?;
    if session.out.is_for_people() {
        print(session, &answer)?;
    } else {
        session.out.value(&answer)?;
    }
    let is_refused = answer.pointer("/ends/as").and_then(Value::as_str) == Some("refused");
    Ok(if is_refused { Outcome::Negative } else { Outcome::Done })
}

fn question(arguments: &Arguments) -> Result<Value, Failure> {
    let usage = |text: String| Failure::Usage(text);
    let method = arguments.method.to_ascii_uppercase();
    if Method::from_bytes(method.as_bytes()).is_err() {
        return Err(usage(format!("`{}` is not a method", arguments.method)));
    }
    let url: Uri = arguments
        .url
        .parse()
        .map_err(|error| usage(format!("`{}` is not a URL: {error}", arguments.url)))?;
    if url.scheme().is_none() || url.authority().is_none() {
        let url = &arguments.url;
        return Err(usage(format!("`{url}` is not whole; give it as http://HOST/PATH")));
    }
    let mut headers = Vec::new();
    for field in &arguments.headers {
        let parsed = field.split_once(':').and_then(|(name, value)| {
            let (name, value) = (name.trim(), value.trim());
            HeaderName::from_bytes(name.as_bytes()).ok()?;
            HeaderValue::from_str(value).ok()?;
            Some(json!({ "name": name, "value": value }))
        });
        headers.push(parsed.ok_or_else(|| {
            usage(format!("`{field}` is not a header field; give `NAME: VALUE`"))
        })?);
    }
    Ok(json!({
        "gateway": parse_name(&arguments.gateway)?,
        "method": method,
        "url": arguments.url,
        "headers": headers,
        "client_address": arguments.client_address,
    }))
}

fn print(session: &Session, answer: &Value) -> Result<(), Failure> {
    let routes = answer["routes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let line = |row: &Value| {
        let verdict = row["because"].as_str().unwrap_or("wins").to_owned();
        let api = format!("{}/{}", text(row, "tenant"), text(row, "api"));
        vec![verdict, api, text(row, "route"), text(row, "place"), text(row, "path")]
    };
    session.out.table(
        &["VERDICT", "API", "ROUTE", "PLACE", "PATH"],
        routes.iter().map(line).collect(),
        "no API is published at this host and path",
    )?;
    let steps = routes.iter().find_map(|row| row["steps"].as_array());
    if let Some(steps) = steps.filter(|steps| !steps.is_empty()) {
        session.out.line("")?;
        let rows = steps.iter().map(|step| vec![text(step, "policy"), does(step), effects(step)]);
        session.out.table(&["POLICY", "DOES", ""], rows.collect(), "")?;
    }
    session.out.line("")?;
    session.out.line(&end(&answer["ends"]))?;
    session.out.note(&format!(
        "as node {} says, at revision {}; nothing was counted or sent",
        text(answer, "node"),
        answer["revision"]
    ));
    Ok(())
}

/// What a policy does, and whose it is where that is not the route's.
fn does(step: &Value) -> String {
    let of = if text(step, "of") == "application" { " (the application's)" } else { "" };
    format!("{}{of}", text(step, "does"))
}

fn effects(step: &Value) -> String {
    let mut effects = Vec::new();
    if let Some(status) = step["status"].as_u64() {
        effects.push(format!("{status} {}", text(step, "code")).trim_end().to_owned());
    }
    if let Some(detail) = step["detail"].as_str() {
        effects.push(detail.to_owned());
    }
    if let Some(caller) = step.get("caller") {
        let (application, credential) = (text(caller, "application"), text(caller, "credential"));
        effects.push(format!("{application} calls, with credential {credential}"));
    }
    for (field, says) in
        [("path", "path "), ("host", "host "), ("upstream", "to upstream "), ("cache", "")]
    {
        if let Some(value) = step[field].as_str() {
            effects.push(format!("{says}{value}"));
        }
    }
    if step["query"].is_string() {
        effects.push("another query".to_owned());
    }
    for (field, says) in [("mirrors", "a copy to"), ("sets", "sets"), ("removes", "takes off")] {
        let names: Vec<&str> =
            step[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !names.is_empty() {
            effects.push(format!("{says} {}", names.join(", ")));
        }
    }
    effects.join("; ")
}

fn end(ends: &Value) -> String {
    match text(ends, "as").as_str() {
        "refused" => {
            let status = ends["status"].as_u64().map(|status| format!(" {status}"));
            let (code, detail) = (text(ends, "code"), text(ends, "detail"));
            let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
            format!("refused:{} {code}{detail}", status.unwrap_or_default())
        }
        "answered" => format!("answered by {} with {}", text(ends, "by"), ends["status"]),
        "forwarded" => {
            let endpoints = ends["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
            let endpoints = endpoints.iter().map(|endpoint| {
                let is_well = endpoint["well"] == Value::Bool(true);
                let state = if is_well { "" } else { " (not well)" };
                format!("{}{state}", text(endpoint, "endpoint"))
            });
            format!("goes to {}", endpoints.collect::<Vec<_>>().join(", "))
        }
        _ => "it belongs to another tenant".to_owned(),
    }
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}
