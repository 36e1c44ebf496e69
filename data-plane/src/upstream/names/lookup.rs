//! A question for the addresses of a name, by the system's files as they are at that time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
    ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How soon a change of `/etc/hosts` is seen: what stands there says nothing of how long it is good.
const HOSTS_TTL: Duration = Duration::from_secs(5);

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// `/etc/hosts`, then the servers in `/etc/resolv.conf`.
    System,
    /// One server, at whatever port; for tests.
    Server(SocketAddr),
}

/// Asks.
pub(super) struct Lookup {
    resolver: Resolver,
    /// What asks servers, and the configuration that it was made of.
    kept: Mutex<Option<(Vec<u8>, TokioResolver)>>,
}

/// An answer.
pub(super) struct Found {
    pub(super) addresses: Vec<IpAddr>,
    /// How long it is good, as it says itself.
    pub(super) ttl: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("no answer in time")]
    TooSlow,
    #[error("the system's configuration cannot be read")]
    Configuration(#[from] io::Error),
    #[error(transparent)]
    Lookup(#[from] NetError),
}

/// What the system says.
struct Files {
    resolv_conf: io::Result<Vec<u8>>,
    hosts: io::Result<Hosts>,
}

impl Lookup {
    pub(super) fn new(resolver: Resolver) -> Self {
        Self { resolver, kept: Mutex::default() }
    }

    /// The addresses of a name: those of version 4, or where it has none, of version 6.
    pub(super) async fn addresses(&self, name: &str) -> Result<Found, Failed> {
        let resolver = match self.resolver {
            Resolver::Server(address) => self.kept_or(Vec::new(), |_| Ok(of_server(address)))?,
            Resolver::System => {
                let files = spawn_blocking(Files::read).await.map_err(io::Error::other)?;
                if let Some(addresses) = files.addresses(name) {
                    return Ok(Found { addresses, ttl: HOSTS_TTL });
                }
                self.kept_or(files.resolv_conf?, |text| parse_resolv_conf(text))?
            }
        };
        let answer = resolver.lookup_ip(name).await?;
        let ttl = answer.valid_until().saturating_duration_since(Instant::now().into_std());
        Ok(Found { addresses: answer.iter().collect(), ttl })
    }

    /// What asks by a configuration: that of the last time, where it has not changed.
    fn kept_or(
        &self,
        configuration: Vec<u8>,
        read: impl FnOnce(&[u8]) -> Result<(ResolverConfig, ResolverOpts), NetError>,
    ) -> Result<TokioResolver, Failed> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, resolver)) = &*kept
            && *of == configuration
        {
            return Ok(resolver.clone());
        }
        let (servers, mut options) = read(&configuration)?;
        // When it is asked is decided by who asks.
        options.cache_size = 0;
        // Where a node has no way by version 6, half of the calls would fail.
        options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_with_config(servers, provider);
        let resolver = builder.with_options(options).build()?;
        *kept = Some((configuration, resolver.clone()));
        Ok(resolver)
    }
}

fn of_server(address: SocketAddr) -> (ResolverConfig, ResolverOpts) {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    let server = NameServerConfig::new(address.ip(), true, connections.to_vec());
    let mut options = ResolverOpts::default();
    options.timeout = Duration::from_secs(1);
    (ResolverConfig::from_parts(None, Vec::new(), vec![server]), options)
}

impl Files {
    fn read() -> Self {
        Self { resolv_conf: std::fs::read(RESOLV_CONF), hosts: Hosts::from_system() }
    }

    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let (hosts, name) = (self.hosts.as_ref().ok()?, Name::from_utf8(name).ok()?);
        [RecordType::A, RecordType::AAAA].into_iter().find_map(|sort| {
            let found = hosts.lookup_static_host(&Query::query(name.clone(), sort))?;
            let addresses: Vec<IpAddr> =
                found.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
            (!addresses.is_empty()).then_some(addresses)
        })
    }
}
