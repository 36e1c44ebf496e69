//! A node without a control plane, and clients that hide nothing.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

mod client;
pub(crate) mod dns;
pub(crate) mod frames;
mod node;
pub(crate) mod tls;

pub(crate) use client::{Answer, Http1, Http2, SendBody, Wire, collected, full, request};
pub(crate) use node::{API_KEY, TestNode};

/// How long a thing may take on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what must come.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it comes within 20 s")
}

/// Waits until something holds.
pub(crate) async fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    soon(async {
        loop {
            match ask() {
                Some(answer) => return answer,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await
}

/// The API `shop` below `/` on any host, with the upstream `backend`, each with more lines of YAML.
pub(crate) fn published(backend: SocketAddr, upstream: &str, api: &str) -> String {
    format!(
        "kind: Upstream\nname: backend\nspec:\n  endpoints: [{{url: 'http://{backend}'}}]\n  {upstream}\n---\n\
         kind: Api\nname: shop\nspec:\n  base_path: /\n  upstream: backend\n  {api}\n"
    )
}

/// The same without more.
pub(crate) fn plainly(backend: SocketAddr) -> String {
    published(backend, "", "")
}
