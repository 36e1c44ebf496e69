//! The port of the admin API: HTTP/1.1, with every wait and every number bounded.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cause;

/// Connections at once; more wait in the system's queue.
const CONNECTIONS: usize = 1024;
/// From the first byte of a request to the end of its header; also how long an idle connection stays.
const HEADER_LIMIT: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the end. Requests under way are finished.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    tasks: &TaskTracker,
    stopping: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, stopping) = (router.clone(), stopping.clone());
                tasks.spawn(async move {
                    connection(stream, router, stopping).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(error = cause(&error), "accept an admin connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, stopping: CancellationToken) {
    // Without it an answer may wait 40 ms for an acknowledgement; with a broken connection nothing helps.
    drop(stream.set_nodelay(true));
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = cause(&error), "serve an admin connection");
    }
}
