//! A whole control plane on ports of its own, and calls to its admin API.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tollgate_control_plane::fanout::StreamLimits;
use tollgate_control_plane::{ControlPlane, RunError, Settings};
use tollgate_model::secret::SecretText;

/// The token of the platform's first administrator.
pub(crate) const ROOT: &str = "tga-for-tests-only";

/// A control plane that runs; stopped when it is dropped.
pub(crate) struct Plane {
    pub(crate) settings: Settings,
    pub(crate) grpc: std::net::SocketAddr,
    server: String,
    http: reqwest::Client,
    stopping: CancellationToken,
    running: JoinSet<Result<(), RunError>>,
}

/// An answer of the admin API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

pub(crate) fn settings(folder: &std::path::Path) -> Settings {
    Settings {
        admin: ([127, 0, 0, 1], 0).into(),
        grpc: ([127, 0, 0, 1], 0).into(),
        grpc_name: Vec::new(),
        database: None,
        data: folder.to_owned(),
        master_key_file: None,
        master_key: None,
        admin_token: Some(SecretText::new(ROOT.to_owned())),
        stream: StreamLimits::default(),
    }
}

impl Plane {
    pub(crate) async fn start(settings: Settings) -> anyhow::Result<Self> {
        let plane = ControlPlane::start(settings.clone()).await?;
        let server = format!("http://{}", plane.admin_address());
        let (grpc, stopping) = (plane.grpc_address(), CancellationToken::new());
        let mut running = JoinSet::new();
        running.spawn(plane.run(stopping.clone()));
        let http =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { settings, grpc, server, http, stopping, running })
    }

    /// Stops it, as SIGTERM does.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Settings> {
        self.stopping.cancel();
        self.running.join_next().await.context("it runs")???;
        Ok(self.settings.clone())
    }

    /// Calls the admin API as the platform's administrator.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.call_as(Some(ROOT), method, path, body).await
    }

    pub(crate) async fn call_as(
        &self,
        token: Option<&str>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let mut request = self.request(method, path);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        send(request).await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.server))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }
}

pub(crate) async fn send(request: reqwest::RequestBuilder) -> Answer {
    read(request.send().await.unwrap()).await.unwrap()
}

/// Reads an answer whole; none where the connection ended before that.
pub(crate) async fn read(response: reqwest::Response) -> Option<Answer> {
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.ok()?;
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Some(Answer { status, headers, text, body })
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// The document of an upstream.
pub(crate) fn upstream(url: &str) -> Value {
    serde_json::json!({ "spec": { "endpoints": [{ "url": url }] } })
}
