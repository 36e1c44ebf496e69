//! A scripted admin server, and the built command run against it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// `GET /api/v1/nodes?limit=5`.
    pub(crate) line: String,
    /// Header fields by name.
    pub(crate) headers: HashMap<String, String>,
    /// Null where there was none.
    pub(crate) body: Value,
}

struct Answer {
    status: u16,
    media_type: &'static str,
    body: String,
}

#[derive(Default)]
struct Script {
    /// By method and path; the last one of several stays.
    answers: HashMap<String, Vec<Answer>>,
    received: Vec<Received>,
}

/// An admin server that answers as it was told and keeps what it was asked.
pub(crate) struct FakeAdmin {
    script: Arc<Mutex<Script>>,
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl FakeAdmin {
    /// A server that knows nobody but `whoami`, an administrator of all tenants.
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = script.clone();
        runtime.spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let script = shared.clone();
                let service =
                    hyper::service::service_fn(move |request| answer(request, script.clone()));
                connections.spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        let admin = Self { script, address, _runtime: runtime };
        admin.on("GET /whoami", 200, r#"{"name": "root", "role": "admin", "tenant": null}"#);
        admin
    }

    /// From now on `whoami` is an editor of this tenant.
    pub(crate) fn belongs_to(&self, tenant: &str) {
        self.script.lock().unwrap().answers.remove("GET /api/v1/whoami");
        self.on(
            "GET /whoami",
            200,
            &format!(r#"{{"name": "bot", "role": "editor", "tenant": "{tenant}"}}"#),
        );
    }

    /// Answers `METHOD /path` (below `/api/v1`) with JSON. Told twice, it answers the second time with the second.
    pub(crate) fn on(&self, line: &str, status: u16, body: &str) {
        let media_type = if status < 400 { "application/json" } else { "application/problem+json" };
        self.on_as(line, status, media_type, body);
    }

    /// As [`FakeAdmin::on`], with a media type.
    pub(crate) fn on_as(&self, line: &str, status: u16, media_type: &'static str, body: &str) {
        let key = line.replacen(" /", " /api/v1/", 1);
        let answer = Answer { status, media_type, body: body.to_owned() };
        self.script.lock().unwrap().answers.entry(key).or_default().push(answer);
    }

    /// Everything that was asked.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.script.lock().unwrap().received.clone()
    }

    /// The bodies of what was posted to a path below `/api/v1`.
    pub(crate) fn posted(&self, path: &str) -> Vec<Value> {
        let begin = format!("POST /api/v1{path}");
        self.received()
            .into_iter()
            .filter(|request| request.line.starts_with(&begin))
            .map(|request| request.body)
            .collect()
    }

    /// Its address, as `--server` takes it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn answer(
    request: Request<Incoming>,
    script: Arc<Mutex<Script>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let key = format!("{} {}", request.method(), request.uri().path());
    let line = format!("{} {}", request.method(), request.uri());
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    let mut script = script.lock().unwrap();
    script.received.push(Received { line, headers, body });
    let (status, media_type, body) = match script.answers.get_mut(&key) {
        Some(answers) if answers.len() > 1 => {
            let answer = answers.remove(0);
            (answer.status, answer.media_type, answer.body)
        }
        Some(answers) => (answers[0].status, answers[0].media_type, answers[0].body.clone()),
        None => (
            404,
            "application/problem+json",
            format!(
                r#"{{"title": "Not Found", "status": 404, "detail": "there is no {key}", "code": "not_found"}}"#
            ),
        ),
    };
    let response = Response::builder().status(status).header("content-type", media_type);
    Ok(response.body(Full::new(Bytes::from(body))).unwrap())
}

/// The command with a home of its own and nothing else in its environment.
pub(crate) struct Tollgate {
    /// What stands for `~/.config`.
    pub(crate) home: tempfile::TempDir,
    server: Option<String>,
}

/// How a run ended.
pub(crate) struct Run {
    /// The exit status.
    pub(crate) status: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Tollgate {
    /// Without server, token and contexts.
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), server: None }
    }

    /// With server and token in the environment.
    pub(crate) fn at(admin: &FakeAdmin) -> Self {
        Self { server: Some(admin.url()), ..Self::new() }
    }

    /// The command, to be run in any way.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command
            .args(arguments)
            .env_clear()
            .env("XDG_CONFIG_HOME", self.home.path())
            .current_dir(self.home.path());
        if let Some(server) = &self.server {
            command.env("TOLLGATE_SERVER", server).env("TOLLGATE_TOKEN", "tga_test");
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs the command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.finish(self.command(arguments).output().unwrap())
    }

    /// Runs the command with a text on standard input.
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Run {
        let path = self.home.path().join("input");
        std::fs::write(&path, input).unwrap();
        let mut command = self.command(arguments);
        command.stdin(std::fs::File::open(path).unwrap());
        self.finish(command.output().unwrap())
    }

    /// Puts a file into the folder that the command runs in.
    pub(crate) fn file(&self, name: &str, text: &str) {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or_else(|| Path::new(""))).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Reads what a run left, with the server's address taken out: its port is another one each time.
    pub(crate) fn finish(&self, output: Output) -> Run {
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            match &self.server {
                Some(server) => text.replace(server, "http://SERVER"),
                None => text,
            }
        };
        Run {
            status: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Run {
    /// Standard output of a run that did what it was asked.
    pub(crate) fn done(self) -> String {
        assert_eq!(self.status, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Both outputs and the exit status, for a snapshot.
    pub(crate) fn all(&self) -> String {
        format!(
            "{}-- standard error --\n{}-- exit status {} --\n",
            self.stdout, self.stderr, self.status
        )
    }
}
