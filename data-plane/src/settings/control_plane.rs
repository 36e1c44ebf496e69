//! The address of a control plane.

use std::fmt;
use std::str::FromStr;

use http::Uri;

use super::Unfit;

const DEFAULT_GRPC_PORT: u16 = 9081;

/// The address of one control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlane {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port of its gRPC.
    pub port: u16,
}

impl FromStr for ControlPlane {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let unfit =
            || Unfit("give the address of a control plane, such as https://control-plane:9081");
        let uri: Uri = text.trim().parse().map_err(|_error| unfit())?;
        if uri.scheme_str() != Some("https") || uri.path() != "/" || uri.query().is_some() {
            return Err(unfit());
        }
        let authority = uri.authority().ok_or_else(unfit)?;
        if authority.as_str().contains('@') {
            return Err(unfit());
        }
        let port = if authority.as_str() == authority.host() {
            DEFAULT_GRPC_PORT
        } else {
            authority.port_u16().ok_or_else(unfit)?
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || port == 0 {
            return Err(unfit());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for ControlPlane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "https://[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "https://{}:{}", self.host, self.port)
        }
    }
}
