//! The way between a client and a server, with a counter of bytes, and slow where a test wants it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Passes connections on to one server, as long as the runtime lives that it was started on.
pub struct Relay {
    address: SocketAddr,
    passed: Arc<Passed>,
}

/// Bytes of both directions.
#[derive(Debug, Default)]
struct Passed {
    to_server: AtomicU64,
    to_client: AtomicU64,
}

/// How many bytes have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    /// From clients to the server.
    pub to_server: u64,
    /// From the server to clients.
    pub to_client: u64,
}

impl Relay {
    /// Starts before a server. Each piece of its answers is held back for `delay`.
    ///
    /// # Errors
    ///
    /// Where no port can be had.
    pub async fn start(server: SocketAddr, delay: Duration) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let passed = Arc::<Passed>::default();
        // A test's runtime drops what runs on it; there is nothing to drain.
        let runtime = tokio::runtime::Handle::current();
        let counted = Arc::clone(&passed);
        runtime.clone().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { continue };
                if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
                    continue;
                }
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (up, down) = (Arc::clone(&counted), Arc::clone(&counted));
                runtime.spawn(async move {
                    pass_on(from_client, to_server, &up.to_server, Duration::ZERO).await;
                });
                runtime.spawn(async move {
                    pass_on(from_server, to_client, &down.to_client, delay).await;
                });
            }
        });
        Ok(Self { address, passed })
    }

    /// Where clients find it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has passed so far.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        Bytes {
            to_server: self.passed.to_server.load(Ordering::Relaxed),
            to_client: self.passed.to_client.load(Ordering::Relaxed),
        }
    }
}

async fn pass_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    passed: &AtomicU64,
    delay: Duration,
) {
    let mut piece = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let Some(piece) = piece.get(..length) else { return };
        if to.write_all(piece).await.is_err() {
            return;
        }
        passed.fetch_add(u64::try_from(length).unwrap_or_default(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_passes_is_counted_each_way() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let relay = Relay::start(server.local_addr().unwrap(), Duration::ZERO).await.unwrap();
        let mut client = TcpStream::connect(relay.address()).await.unwrap();
        client.write_all(b"ask").await.unwrap();
        let (mut accepted, _) = server.accept().await.unwrap();
        let mut asked = [0; 3];
        accepted.read_exact(&mut asked).await.unwrap();
        accepted.write_all(b"answer").await.unwrap();
        drop(accepted);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!((&asked, answer.as_slice()), (b"ask", b"answer".as_slice()));
        assert_eq!(relay.bytes(), Bytes { to_server: 3, to_client: 6 });
    }
}
