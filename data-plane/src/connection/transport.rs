//! What a client's bytes come over: a socket, or TLS on one.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A stream that ends in a socket.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The socket below, past which nothing is decrypted.
    fn socket(&mut self) -> &mut TcpStream;
}

impl Transport for TcpStream {
    fn socket(&mut self) -> &mut TcpStream {
        self
    }
}

impl Transport for Box<TlsStream<TcpStream>> {
    fn socket(&mut self) -> &mut TcpStream {
        self.get_mut().0
    }
}
