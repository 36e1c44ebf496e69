//! Facts of one connection's other end, and what upstreams are told of it.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header};
use tollgate_model::gateway::Network;
use tollgate_policy::policy::{Client, ClientCertificate};

use crate::route::HostName;
use crate::tls::Shown;

use crate::tunnel::Tunnel;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");

/// The other end of a connection.
pub struct Peer {
    /// As the socket says.
    pub client: Client,
    address_field: HeaderValue,
    /// `for=` of [RFC 7239 §4], ready to be written.
    forwarded_for: Box<str>,
    /// What follows the last answer, where that switched protocols.
    tunnel: RefCell<Option<Tunnel>>,
    /// The host that was named last and the `forwarded` field for it: connections seldom change hosts. The host is a copy:
    /// its value would keep all that was read with it for as long as the connection lasts.
    forwarded: RefCell<Option<(Box<[u8]>, HeaderValue)>>,
    tls: Option<Box<TlsFacts>>,
}

/// What a TLS handshake told.
pub struct TlsFacts {
    /// The certificate that the client was shown.
    pub shown: Arc<Shown>,
    /// The host that it asked for.
    pub server_name: Option<Box<str>>,
    /// Its own certificate, which an authority of the listener's vouches for.
    pub client: Option<ClientCertificate>,
}

impl Peer {
    /// The peer of a connection.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let ip = address.ip().to_canonical();
        let text = ip.to_string();
        let forwarded_for =
            if ip.is_ipv6() { format!("for=\"[{text}]\"") } else { format!("for={text}") };
        Self {
            // The text of an address is visible ASCII.
            address_field: HeaderValue::from_str(&text)
                .unwrap_or(HeaderValue::from_static("unknown")),
            client: Client { address: ip, address_text: text.into_boxed_str() },
            forwarded_for: forwarded_for.into_boxed_str(),
            tunnel: RefCell::new(None),
            forwarded: RefCell::new(None),
            tls: None,
        }
    }

    /// Leaves the connection to a tunnel, once the answer under way is written.
    pub fn switch(&self, tunnel: Tunnel) {
        *self.tunnel.borrow_mut() = Some(tunnel);
    }

    /// What the connection is left to.
    pub fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.borrow_mut().take()
    }

    /// The peer of a connection over TLS.
    #[must_use]
    pub fn secured(address: SocketAddr, tls: TlsFacts) -> Self {
        Self { tls: Some(Box::new(tls)), ..Self::new(address) }
    }

    /// The certificate that the peer proved itself with.
    #[must_use]
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.tls.as_ref()?.client.as_ref()
    }

    /// Whether a request over HTTP/2 is for a host that this connection was not made for: clients
    /// share one among the hosts of its certificate (RFC 9113 §9.1.1), and no others.
    #[must_use]
    pub fn is_misdirected<B>(&self, request: &Request<B>) -> bool {
        let Some(tls) = &self.tls else { return false };
        let Some(asked) = tls.server_name.as_deref() else { return false };
        if request.version() != Version::HTTP_2 {
            return false;
        }
        let field = || request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let Some(host) = request.uri().authority().map(Authority::as_str).or_else(field) else {
            return false;
        };
        let host = HostName::parse(host);
        let is_asked = HostName::parse(asked).as_str() == host.as_str();
        !is_asked && !tls.shown.facts.covers(host.as_str())
    }

    /// How requests come over this connection: `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    fn scheme_field(&self) -> HeaderValue {
        if self.tls.is_some() { HTTPS } else { HTTP }
    }

    /// The client behind trusted proxies: the last address of `x-forwarded-for` that is not
    /// trusted itself. None where the peer is not trusted: then it is the client.
    #[must_use]
    pub fn client_behind(&self, headers: &HeaderMap, trusted: &[Network]) -> Option<Client> {
        let is_trusted = |ip: &IpAddr| trusted.iter().any(|network| network.0.contains(ip));
        if trusted.is_empty() || !is_trusted(&self.client.address) {
            return None;
        }
        let mut addresses: Vec<IpAddr> = Vec::new();
        for value in headers.get_all(X_FORWARDED_FOR) {
            for text in value.to_str().ok()?.split(',') {
                addresses.push(text.trim().parse::<IpAddr>().ok()?.to_canonical());
            }
        }
        let address =
            addresses.iter().rev().find(|ip| !is_trusted(ip)).or_else(|| addresses.first())?;
        Some(Client { address: *address, address_text: address.to_string().into_boxed_str() })
    }

    /// Writes what the upstream is told: `x-forwarded-*`, `forwarded` (RFC 7239) and `via`
    /// (RFC 9110 §7.6.3). What an untrusted peer said of itself goes; a trusted one's is continued.
    pub fn tell(
        &self,
        headers: &mut HeaderMap,
        host: Option<HeaderValue>,
        is_trusted: bool,
        via: HeaderValue,
    ) {
        if is_trusted {
            self.continue_list(headers);
        } else {
            headers.insert(X_FORWARDED_FOR, self.address_field.clone());
            headers.insert(X_FORWARDED_PROTO, self.scheme_field());
        }
        if let Some(host) = host {
            let forwarded = self.forwarded(&host);
            if is_trusted && headers.contains_key(header::FORWARDED) {
                headers.append(header::FORWARDED, forwarded);
            } else {
                headers.insert(header::FORWARDED, forwarded);
            }
            if !is_trusted || !headers.contains_key(&X_FORWARDED_HOST) {
                headers.insert(X_FORWARDED_HOST, host);
            }
        }
        headers.append(header::VIA, via);
    }

    fn continue_list(&self, headers: &mut HeaderMap) {
        let mut list: Vec<u8> = Vec::new();
        for value in headers.get_all(X_FORWARDED_FOR) {
            list.extend_from_slice(value.as_bytes());
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(self.address_field.as_bytes());
        if let Ok(value) = HeaderValue::from_bytes(&list) {
            headers.insert(X_FORWARDED_FOR, value);
        }
        headers.entry(X_FORWARDED_PROTO).or_insert_with(|| self.scheme_field());
    }

    fn forwarded(&self, host: &HeaderValue) -> HeaderValue {
        if let Some((known, forwarded)) = &*self.forwarded.borrow()
            && **known == *host.as_bytes()
        {
            return forwarded.clone();
        }
        let quoted = host.to_str().unwrap_or_default().replace(['"', '\\'], "");
        let text = format!("{};host=\"{quoted}\";proto={}", self.forwarded_for, self.scheme());
        let forwarded =
            HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("for=unknown"));
        *self.forwarded.borrow_mut() = Some((host.as_bytes().into(), forwarded.clone()));
        forwarded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(entries: &[(HeaderName, &str)]) -> HeaderMap {
        entries.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn networks(texts: &[&str]) -> Vec<Network> {
        use tollgate_model::FromText;
        texts.iter().map(|text| Network::from_text(text).unwrap()).collect()
    }

    fn peer(address: &str) -> Peer {
        Peer::new(address.parse().unwrap())
    }

    #[test]
    fn an_untrusted_peers_word_about_itself_is_replaced() {
        let mut fields =
            headers(&[(X_FORWARDED_FOR, "1.2.3.4"), (header::FORWARDED, "for=1.2.3.4")]);
        let host = HeaderValue::from_static("api.test");
        peer("192.0.2.7:1").tell(
            &mut fields,
            Some(host),
            false,
            HeaderValue::from_static("1.1 tollgate"),
        );
        assert_eq!(fields[X_FORWARDED_FOR], "192.0.2.7");
        assert_eq!(fields[header::FORWARDED], "for=192.0.2.7;host=\"api.test\";proto=http");
        assert_eq!(fields[X_FORWARDED_HOST], "api.test");
        assert_eq!(fields[header::VIA], "1.1 tollgate");
    }

    #[test]
    fn a_trusted_peers_list_is_continued() {
        let mut fields = headers(&[(X_FORWARDED_FOR, "1.2.3.4"), (X_FORWARDED_PROTO, "https")]);
        peer("10.0.0.1:1").tell(&mut fields, None, true, HeaderValue::from_static("1.1 tollgate"));
        assert_eq!(fields[X_FORWARDED_FOR], "1.2.3.4, 10.0.0.1");
        assert_eq!(fields[X_FORWARDED_PROTO], "https");
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_trusted() {
        let trusted = networks(&["10.0.0.0/8"]);
        let fields = headers(&[(X_FORWARDED_FOR, "6.6.6.6, 203.0.113.9, 10.0.0.2")]);
        let client = peer("10.0.0.1:1").client_behind(&fields, &trusted).unwrap();
        assert_eq!(&*client.address_text, "203.0.113.9");
        assert!(peer("192.0.2.7:1").client_behind(&fields, &trusted).is_none());
        let broken = headers(&[(X_FORWARDED_FOR, "not an address")]);
        assert!(peer("10.0.0.1:1").client_behind(&broken, &trusted).is_none());
    }
}
