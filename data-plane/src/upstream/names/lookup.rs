//! Questions for what a name stands for, by the system's files as they are at that time.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
    ResolverOpts,
};
use hickory_resolver::lookup::Lookup as Records;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{DNSClass, Name, RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::service::{self, Record, Server, Unusable};

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How soon a change of `/etc/hosts` is seen: what stands there says nothing of how long it is good.
const HOSTS_TTL: Duration = Duration::from_secs(5);
/// How long a question may take, over all servers and search domains; for the targets of a service, all of their
/// questions together.
const LOOKUP_LIMIT: Duration = Duration::from_secs(15);
/// The most questions for targets of one service that are under way.
const MOST_AT_ONCE: usize = 8;
/// The most aliases that are followed from the name of a service.
const MOST_ALIASES: usize = 8;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// `/etc/hosts`, then the servers in `/etc/resolv.conf`.
    System,
    /// One server, at whatever port; for tests.
    Server(SocketAddr),
}

/// How much was asked: for addresses of a name, for the records of a service, for addresses of each of its targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// With an answer that can be used.
    pub answered: u64,
    /// Without one.
    pub failed: u64,
}

/// Asks.
pub(super) struct Lookup {
    resolver: Resolver,
    /// What asks servers, and the configuration that it was made of.
    kept: Mutex<Option<(Vec<u8>, TokioResolver)>>,
    answered: AtomicU64,
    failed: AtomicU64,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) what: T,
    /// How long it is good, as it says itself.
    pub(super) ttl: Duration,
}

impl<T> Found<T> {
    pub(super) fn map<U>(self, as_other: impl FnOnce(T) -> U) -> Found<U> {
        Found { what: as_other(self.what), ttl: self.ttl }
    }
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
    #[error("it has no SRV records")]
    NoRecords,
    #[error("more than {MOST_ALIASES} aliases lead on from it")]
    TooManyAliases,
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The others are used, if there are any.
    #[error("{lacking} of its {all} SRV records lead to no address")]
    Targets { lacking: usize, all: usize },
}

/// What the system says.
struct Files {
    resolv_conf: io::Result<Vec<u8>>,
    hosts: io::Result<Hosts>,
}

/// Where the targets of a service are looked up, and until when.
struct Sources {
    hosts: Option<Hosts>,
    resolver: TokioResolver,
    limit: Instant,
}

impl Lookup {
    pub(super) fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            kept: Mutex::default(),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    pub(super) fn lookups(&self) -> Lookups {
        Lookups {
            answered: self.answered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// The addresses of a name: those of version 4, or where it has none, of version 6.
    pub(super) async fn addresses(&self, name: &str) -> Result<Found<Vec<IpAddr>>, Failed> {
        let asking = async {
            let (hosts, resolver) = self.read().await?;
            match hosts.and_then(|hosts| in_hosts(&hosts, name)) {
                Some(found) => Ok(found),
                None => Ok(by_servers(&resolver?, name).await?),
            }
        };
        self.counted(Instant::now() + LOOKUP_LIMIT, asking).await
    }

    /// The servers of a service, in order; none where it is decidedly not available.
    pub(super) async fn service(&self, name: &str) -> Result<Found<Vec<Server>>, Failed> {
        let asking = async {
            let (hosts, resolver) = self.read().await?;
            let resolver = resolver?;
            let found = records(&resolver, name).await?;
            Ok((hosts, resolver, found))
        };
        let asked = self.counted(Instant::now() + LOOKUP_LIMIT, asking).await?;
        let (hosts, resolver, Found { what: records, mut ttl }) = asked;
        let sources = Sources { hosts, resolver, limit: Instant::now() + LOOKUP_LIMIT };
        let targets: BTreeSet<Box<str>> =
            records.iter().map(|record| record.target.clone()).collect();
        let asking = stream::iter(targets).map(|target| self.target(&sources, target));
        let mut answers = asking.buffer_unordered(MOST_AT_ONCE);
        let mut known: HashMap<Box<str>, Vec<IpAddr>> = HashMap::new();
        while let Some((target, answer)) = answers.next().await {
            let Some(found) = answer else { continue };
            ttl = ttl.min(found.ttl);
            known.insert(target, found.what);
        }
        let server = |record: Record| {
            let addresses = known.get(&record.target).cloned();
            Server { record, addresses }
        };
        Ok(Found { what: records.into_iter().map(server).collect(), ttl })
    }

    /// The addresses of one target of a service; none where nobody answered.
    async fn target(
        &self,
        sources: &Sources,
        target: Box<str>,
    ) -> (Box<str>, Option<Found<Vec<IpAddr>>>) {
        // It is a whole name: no search domain is appended.
        let name = format!("{target}.");
        let asking = async {
            match sources.hosts.as_ref().and_then(|hosts| in_hosts(hosts, &name)) {
                Some(found) => Ok(found),
                None => Ok(by_servers(&sources.resolver, &name).await?),
            }
        };
        let answer = match self.counted(sources.limit, asking).await {
            Ok(found) => Some(found),
            // It is said that there are none.
            Err(Failed::Lookup(error)) if error.is_no_records_found() => {
                Some(Found { what: Vec::new(), ttl: Duration::MAX })
            }
            Err(_no_answer) => None,
        };
        (target, answer)
    }

    /// Bounds a question in time, and counts it.
    async fn counted<T>(
        &self,
        limit: Instant,
        asking: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, Failed> {
        let answer = timeout_at(limit, asking).await.unwrap_or(Err(Failed::TooSlow));
        let counter = if answer.is_ok() { &self.answered } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        answer
    }

    /// Where is looked: the file of hosts, and who asks servers.
    async fn read(&self) -> Result<(Option<Hosts>, Result<TokioResolver, Failed>), Failed> {
        match self.resolver {
            Resolver::Server(address) => {
                Ok((None, self.kept_or(Vec::new(), |_| Ok(of_server(address)))))
            }
            Resolver::System => {
                let files = spawn_blocking(Files::read).await.map_err(io::Error::other)?;
                let resolver = match files.resolv_conf {
                    Ok(text) => self.kept_or(text, |text| parse_resolv_conf(text)),
                    Err(error) => Err(error.into()),
                };
                Ok((files.hosts.ok(), resolver))
            }
        }
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
}

fn in_hosts(hosts: &Hosts, name: &str) -> Option<Found<Vec<IpAddr>>> {
    let name = Name::from_utf8(name).ok()?;
    [RecordType::A, RecordType::AAAA].into_iter().find_map(|sort| {
        let found = hosts.lookup_static_host(&Query::query(name.clone(), sort))?;
        let addresses: Vec<IpAddr> =
            found.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
        (!addresses.is_empty()).then_some(Found { what: addresses, ttl: HOSTS_TTL })
    })
}

async fn by_servers(resolver: &TokioResolver, name: &str) -> Result<Found<Vec<IpAddr>>, NetError> {
    let answer = resolver.lookup_ip(name).await?;
    let ttl = answer.valid_until().saturating_duration_since(Instant::now().into_std());
    Ok(Found { what: answer.iter().collect(), ttl })
}

/// The SRV records of a service, or of what it is an alias of. The resolver follows targets in the place of aliases.
async fn records(resolver: &TokioResolver, name: &str) -> Result<Found<Vec<Record>>, Failed> {
    let mut name = Name::from_ascii(name).map_err(NetError::from)?;
    let mut ttl = Duration::MAX;
    for _ in 0..=MOST_ALIASES {
        let missing = match resolver.lookup(name.clone(), RecordType::SRV).await {
            Ok(answer) => {
                let (records, own_ttl) = owned(&answer, &name, as_service);
                if !records.is_empty() {
                    let records = service::read(&records)?;
                    return Ok(Found { what: records, ttl: ttl.min(own_ttl) });
                }
                Failed::NoRecords
            }
            Err(error) if error.is_no_records_found() => error.into(),
            Err(error) => return Err(error.into()),
        };
        let Ok(answer) = resolver.lookup(name.clone(), RecordType::CNAME).await else {
            return Err(missing);
        };
        let (aliases, own_ttl) = owned(&answer, &name, as_alias);
        let Some(alias) = aliases.into_iter().next() else { return Err(missing) };
        (name, ttl) = (alias, ttl.min(own_ttl));
    }
    Err(Failed::TooManyAliases)
}

fn as_service(data: &RData) -> Option<SRV> {
    if let RData::SRV(srv) = data { Some(srv.clone()) } else { None }
}

fn as_alias(data: &RData) -> Option<Name> {
    if let RData::CNAME(alias) = data { Some(alias.0.clone()) } else { None }
}

/// What an answer says of the name that was asked for, to which a search domain may have been appended, and of no
/// other; and how long that is good.
fn owned<T>(answer: &Records, asked: &Name, read: fn(&RData) -> Option<T>) -> (Vec<T>, Duration) {
    let question = answer.message().queries.first().map(Query::name);
    let is_asked = |question: &&Name| {
        let mut labels = question.iter();
        let begins = asked
            .iter()
            .all(|label| labels.next().is_some_and(|other| other.eq_ignore_ascii_case(label)));
        begins && (!asked.is_fqdn() || labels.next().is_none())
    };
    let Some(owner) = question.filter(is_asked) else { return (Vec::new(), Duration::MAX) };
    let is_own = |name: &Name, class: DNSClass| class == DNSClass::IN && name == owner;
    let own = answer.answers().iter().filter(|record| is_own(&record.name, record.dns_class));
    let mut ttl = Duration::MAX;
    let own = own.filter_map(|record| {
        let data = read(&record.data)?;
        ttl = ttl.min(Duration::from_secs(record.ttl.into()));
        Some(data)
    });
    (own.collect(), ttl)
}
