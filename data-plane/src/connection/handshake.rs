//! A TLS handshake: bounded in time, counted, and what it tells of the client.

use std::rc::Rc;
use std::sync::Arc;

use rustls::HandshakeKind;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tollgate_model::certificate::Facts;
use tollgate_model::gateway::Limits;
use tollgate_policy::policy::ClientCertificate;

use super::stream;
use crate::core::Core;
use crate::fault::Fault;
use crate::peer::TlsFacts;
use crate::tls::ListenerTls;

/// A connection after its handshake.
pub(super) struct Secured {
    /// In its own memory: it moves from hand to hand.
    pub(super) stream: Box<TlsStream<TcpStream>>,
    pub(super) facts: TlsFacts,
    /// Whether HTTP/2 was agreed on (RFC 7301).
    pub(super) is_http2: bool,
}

/// Shakes hands; none where that fails or takes longer than a head may.
pub(super) async fn shake_hands(
    core: &Rc<Core>,
    tls: &ListenerTls,
    stream: TcpStream,
    limits: &Limits,
) -> Option<Secured> {
    let shaken = tokio::time::timeout(limits.head_time.get(), shake(core, tls, stream)).await;
    match shaken {
        Ok(Some(secured)) => {
            core.metrics.tls_handshakes.add(1);
            if secured.stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
                core.metrics.tls_resumed.add(1);
            }
            Some(secured)
        }
        Ok(None) | Err(_) => {
            core.metrics.tls_failures.add(1);
            None
        }
    }
}

async fn shake(core: &Rc<Core>, tls: &ListenerTls, stream: TcpStream) -> Option<Secured> {
    let mut first = [0_u8; 1];
    let length = stream.peek(&mut first).await.ok()?;
    // A record of TLS begins with its type, of which none is a letter: this is a method's first.
    if length == 1 && first.iter().all(u8::is_ascii_uppercase) {
        stream::end_with(core, stream, Fault::TLS_REQUIRED).await;
        return None;
    }
    let stream = match TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream).await {
        Ok(stream) => Box::new(stream),
        Err(error) => {
            tracing::debug!(%error, "shake hands with a client");
            return None;
        }
    };
    let (_, connection) = stream.get_ref();
    let is_http2 = connection.alpn_protocol() == Some(b"h2");
    let client = connection.peer_certificates().and_then(<[_]>::first);
    let client = client.and_then(|certificate| Facts::of(certificate)).map(ClientCertificate::new);
    let server_name = connection.server_name();
    let facts = TlsFacts {
        shown: Arc::clone(tls.shown_for(server_name)),
        server_name: server_name.map(Box::from),
        client,
    };
    Some(Secured { stream, facts, is_http2 })
}
