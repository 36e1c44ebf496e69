//! The admin API over HTTP: one call, its answer or the reason why there is none.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, IF_MATCH};
use reqwest::{Method, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tollgate_model::secret::SecretText;

use crate::failure::{Failure, Problem};

/// How long an answer may take, beyond what the call itself asks the server to wait.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A client of one control plane.
pub(crate) struct Client {
    http: reqwest::Client,
    server: Url,
    token: Option<SecretText>,
}

/// One call: method, path below `/api/v1`, and what goes with it.
pub(crate) struct Call<'a> {
    method: Method,
    path: &'a [&'a str],
    query: Vec<(&'static str, String)>,
    body: Option<&'a Value>,
    if_match: Option<u64>,
    patience: Duration,
}

impl<'a> Call<'a> {
    /// Reads. `path` is in segments; each is encoded on its own.
    #[must_use]
    pub(crate) fn get(path: &'a [&'a str]) -> Self {
        Self::new(Method::GET, path)
    }

    /// Sends a body.
    #[must_use]
    pub(crate) fn post(path: &'a [&'a str], body: &'a Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::POST, path) }
    }

    /// Puts a resource at its address.
    #[must_use]
    pub(crate) fn put(path: &'a [&'a str], body: &'a Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::PUT, path) }
    }

    /// Takes away.
    #[must_use]
    pub(crate) fn delete(path: &'a [&'a str]) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: &'a [&'a str]) -> Self {
        let patience = Duration::ZERO;
        Self { method, path, query: Vec::new(), body: None, if_match: None, patience }
    }

    /// Adds a query parameter where it has a value.
    #[must_use]
    pub(crate) fn query(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// Goes through only where the resource is at this version.
    #[must_use]
    pub(crate) fn if_match(mut self, version: Option<u64>) -> Self {
        self.if_match = version;
        self
    }

    /// Has the server wait for the nodes, at most so long.
    #[must_use]
    pub(crate) fn wait(self, wait: Option<Duration>) -> Self {
        let Some(limit) = wait else { return self };
        let mut call = self
            .query("wait", Some("applied"))
            .query("timeout", Some(format!("{}ms", limit.as_millis())));
        call.patience = limit;
        call
    }
}

impl Client {
    /// A client of the control plane at `server`. Nothing is sent yet.
    pub(crate) fn new(server: Url, token: Option<SecretText>) -> Result<Self, Failure> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            // A redirect would carry the call, and maybe the token, to an address nobody named.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")));
        if server.scheme() == "http" {
            // The system's certificates are not needed then, and a small image may have none.
            builder = builder.tls_certs_only([]);
        }
        if is_this_machine(&server) {
            builder = builder.no_proxy();
        }
        let failed = |source| Failure::Transport { server: display(&server), source };
        let http = builder.build().map_err(failed)?;
        Ok(Self { http, server, token })
    }

    /// The server's address, as it is printed.
    #[must_use]
    pub(crate) fn server(&self) -> String {
        display(&self.server)
    }

    /// Makes a call and reads the answer; null where it has no body.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Value, Failure> {
        let limit = ANSWER_LIMIT.saturating_add(call.patience);
        let mut request = self
            .http
            .request(call.method, self.address(call.path))
            .timeout(limit)
            .header(ACCEPT, "application/json")
            .query(&call.query);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        if let Some(version) = call.if_match {
            request = request.header(IF_MATCH, format!("\"{version}\""));
        }
        if let Some(body) = call.body {
            request = request.json(body);
        }
        let broken = |error| self.broken(error, limit);
        let response = request.send().await.map_err(broken)?;
        let head = Head::of(&response);
        let body = response.bytes().await.map_err(broken)?;
        self.read(&head, &body)
    }

    /// Makes a call and reads the answer into a type.
    pub(crate) async fn call_for<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, Failure> {
        self.typed(&self.call(call).await?)
    }

    /// Reads a value of an answer into a type.
    pub(crate) fn typed<T: DeserializeOwned>(&self, value: &Value) -> Result<T, Failure> {
        T::deserialize(value).map_err(|error| self.not_admin_api(error.to_string()))
    }

    /// All items of a list, page by page, at most `limit`.
    pub(crate) async fn list(
        &self,
        path: &[&str],
        query: &[(&'static str, Option<String>)],
        limit: usize,
    ) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = limit.saturating_sub(items.len()).min(500);
            let mut call =
                Call::get(path).query("limit", Some(page)).query("cursor", cursor.clone());
            for (name, value) in query {
                call = call.query(name, value.as_ref());
            }
            let mut answer = self.call(call).await?;
            let Some(Value::Array(found)) = answer.get_mut("items").map(Value::take) else {
                return Err(self.not_admin_api("a list without items".to_owned()));
            };
            let is_empty = found.is_empty();
            items.extend(found);
            items.truncate(limit);
            let next = answer.get("next").and_then(|next| match next {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
            });
            if next.is_none() || next == cursor || is_empty || items.len() >= limit {
                return Ok(items);
            }
            cursor = next;
        }
    }

    fn address(&self, path: &[&str]) -> Url {
        let mut address = self.server.clone();
        if let Ok(mut segments) = address.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        address
    }

    fn read(&self, head: &Head, body: &[u8]) -> Result<Value, Failure> {
        if head.status.is_success() {
            if body.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(body)
                .map_err(|error| self.not_admin_api(format!("{head}: {error}")));
        }
        let problem = serde_json::from_slice::<Problem>(body).ok().filter(|_| head.is_json());
        match problem {
            Some(mut problem) if !problem.title.is_empty() || problem.detail.is_some() => {
                problem.status = head.status.as_u16();
                Err(Failure::Problem(Box::new(problem)))
            }
            _ => Err(self.not_admin_api(head.to_string())),
        }
    }

    fn broken(&self, error: reqwest::Error, limit: Duration) -> Failure {
        // The address stands in the message already.
        let source = error.without_url();
        let server = self.server();
        if source.is_connect() {
            return if is_refusal(&source) || source.is_timeout() {
                Failure::NoServer { server, source }
            } else {
                Failure::Transport { server, source }
            };
        }
        if source.is_timeout() {
            return Failure::TooSlow { server, limit_secs: limit.as_secs() };
        }
        Failure::Transport { server, source }
    }

    fn not_admin_api(&self, detail: String) -> Failure {
        Failure::NotAdminApi { server: self.server(), detail }
    }
}

/// Status and media type of an answer.
struct Head {
    status: StatusCode,
    media_type: String,
}

impl Head {
    fn of(response: &Response) -> Self {
        let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type =
            media_type.and_then(|text| text.split(';').next()).unwrap_or("no content type");
        Self { status: response.status(), media_type: media_type.trim().to_owned() }
    }

    fn is_json(&self) -> bool {
        self.media_type == "application/json" || self.media_type.ends_with("+json")
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} with {}", self.status, self.media_type)
    }
}

/// Reads the address of an admin API.
pub(crate) fn parse_server(text: &str) -> Result<Url, Failure> {
    let refuse = |why: &str| {
        Failure::Usage(format!("`{text}` {why}; give a URL such as http://127.0.0.1:9080"))
    };
    let url = Url::parse(text).map_err(|_not_a_url| refuse("is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(refuse("does not begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::Usage(
            "a server's address has no user in it; give the token with --token".to_owned(),
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("has a query or a fragment"));
    }
    Ok(url)
}

fn display(server: &Url) -> String {
    server.as_str().trim_end_matches('/').to_owned()
}

fn is_this_machine(server: &Url) -> bool {
    let host = server.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Whether nothing listens there, in the words of the system.
fn is_refusal(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<std::io::Error>() {
            return matches!(
                error.kind(),
                std::io::ErrorKind::ConnectionRefused
                    | std::io::ErrorKind::HostUnreachable
                    | std::io::ErrorKind::NetworkUnreachable
            );
        }
        cause = inner.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_folder_and_its_segments_are_encoded() {
        let client = Client::new(parse_server("http://a.test/gate/").unwrap(), None).unwrap();
        let address = client.address(&["tokens", "a/b ?"]);
        assert_eq!(address.as_str(), "http://a.test/gate/api/v1/tokens/a%2Fb%20%3F");
    }

    #[test]
    fn what_is_no_address_is_wrong_usage() {
        for text in
            ["", "127.0.0.1:9080", "localhost:9080", "ftp://a", "http://u:p@a", "http://a?x=1"]
        {
            let failure = parse_server(text).unwrap_err();
            assert_eq!(failure.exit_status(), 2, "{text}");
            assert!(!failure.to_string().contains("u:p"), "{failure}");
        }
    }
}
