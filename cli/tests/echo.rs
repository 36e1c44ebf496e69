//! `tollgate echo` over HTTP/1.1 and HTTP/2.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

struct Echo {
    child: Child,
    address: String,
}

impl Echo {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["echo", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("echo listens on http://").unwrap().to_owned();
        Self { child, address }
    }

    fn terminate(&mut self) -> std::process::ExitStatus {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_request_is_answered_with_itself() {
    let echo = Echo::start();
    let mut stream = TcpStream::connect(&echo.address).unwrap();
    stream.write_all(b"POST /a/b?x=1 HTTP/1.1\r\nhost: h.test\r\nx-a: 1\r\nx-a: 2\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (body["method"].as_str(), body["path"].as_str(), body["query"].as_str()),
        (Some("POST"), Some("/a/b"), Some("x=1"))
    );
    assert_eq!(
        (body["headers"]["host"].as_str(), body["body"].as_str()),
        (Some("h.test"), Some("hi"))
    );
    assert_eq!(body["headers"]["x-a"], serde_json::json!(["1", "2"]));
    assert_eq!(body["listen"], echo.address);
}

#[tokio::test]
async fn http2_is_spoken_by_prior_knowledge_and_wishes_are_granted() {
    let echo = Echo::start();
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap();
    let url = format!("http://{}/x?status=503&delay_ms=5&bytes=100000", echo.address);
    let answer = client.get(&url).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (503, http::Version::HTTP_2));
    assert_eq!(answer.bytes().await.unwrap().len(), 100_000);
    let answer = client.get(format!("http://{}/x?status=204", echo.address)).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.bytes().await.unwrap().len()), (204, 0));
    let answer = client.get(format!("http://{}/x?status=1", echo.address)).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 400);
    let long = vec![b'a'; 200_000];
    let answer: Value = client
        .post(format!("http://{}/x", echo.address))
        .body(long)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        (answer["body"].as_str().map(str::len), answer["body_bytes"].as_u64()),
        (Some(65_536), Some(200_000))
    );
}

#[test]
fn it_ends_when_it_is_told_to() {
    let mut echo = Echo::start();
    // An idle connection does not hold it up.
    let _idle = TcpStream::connect(&echo.address).unwrap();
    assert!(echo.terminate().success());
}

#[test]
fn a_port_in_use_is_named() {
    let echo = Echo::start();
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["echo", "--listen", &echo.address])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with(&format!("error: listen on {}: ", echo.address)), "{stderr}");
}
