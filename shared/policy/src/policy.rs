//! The contract: what an operator writes, and what a request meets.

use std::borrow::Cow;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use deserr::Deserr;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use schemars::JsonSchema;
use tollgate_model::path::BasePath;
use tollgate_model::secret::SecretText;
use tollgate_model::signature::VerificationKey;
use tollgate_model::upstream::Protocol;
use tollgate_model::{Issue, Issues, Name, ResourceId};

use crate::body::Body;
use crate::chain::Chain;
use crate::claims::Claims;
pub use crate::claims::ClientCertificate;
use crate::jose::KeySource;
use crate::onward::Onward;
use crate::ports::Ports;
use crate::recorded::Recorded;
use crate::stored::Caching;

/// Where in a request's travel a policy runs. The order of the variants is the order of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Turns away what needs no identity to be judged.
    Guard,
    /// Finds out who calls.
    Authn,
    /// Decides whether they may.
    Authz,
    /// Counts.
    RateLimit,
    /// Chooses the upstream.
    Target,
    /// Answers from memory.
    Cache,
    /// Changes the request and the response.
    Transform,
}

/// What happens where one policy is attached at several levels (gateway, tenant, API, route, application).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// All of them run, the outermost level first.
    All,
    /// Only those of the innermost level run.
    Innermost,
}

/// Where a policy value is attached; what its compilation may know.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// A stable name of the place, such as `Api/default/orders/routes/item/1`. It does not change
    /// with the configuration's content, so counters under it survive an edit.
    pub place: &'a str,
    /// The parameters of the route's path; none where the place has no path of its own.
    pub parameters: Option<&'a [&'a str]>,
}

impl Scope<'_> {
    /// Whether it is a gateway's, which serves every tenant.
    #[must_use]
    pub fn is_of_gateway(&self) -> bool {
        self.place.starts_with("Gateway/")
    }

    /// Whose the secrets and upstreams are that are named here.
    #[must_use]
    pub fn holder(&self) -> Holder {
        if self.is_of_gateway() { Holder::Operators } else { Holder::CalledTenant }
    }
}

/// Whose secrets and upstreams a policy names: never those of a tenant that it does not belong to, though
/// they may have the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The tenant's whose API is called. What stands anywhere but at a gateway runs for that tenant alone.
    CalledTenant,
    /// The tenant `default`'s, in which gateways live.
    Operators,
}

static OPERATORS: LazyLock<Name> = LazyLock::new(Name::default_name);

impl Holder {
    /// The tenant, for a call of this route.
    #[must_use]
    pub fn tenant(self, route: &RouteFacts) -> &Name {
        match self {
            Self::CalledTenant => &route.tenant,
            Self::Operators => &OPERATORS,
        }
    }
}

/// One policy. A value of it is immutable; whatever must outlive a configuration change (counters,
/// key sets) lives behind [`Ports`], never in the policy.
pub trait Policy: Sized + Send + Sync + 'static {
    /// What the operator writes. Unknown fields are refused.
    type Config: Deserr<Issues> + JsonSchema;
    /// What the request half hands to the later halves; `()` where there is nothing to hand.
    type Carry: 'static;

    /// In snake case; also the folder's name.
    const NAME: &'static str;
    /// When it runs.
    const PHASE: Phase;
    /// What several of it do together.
    const REPEAT: Repeat;
    /// Markdown; its fenced examples are compiled by a test.
    const MANUAL: &'static str;
    /// Whether it answers the preflights of CORS. They belong to the route that takes the method that they
    /// ask for, where that has such a policy.
    const ANSWERS_PREFLIGHTS: bool = false;
    /// Whether a service elsewhere decides. It is not asked where nothing is to come of a request.
    const ASKS_A_SERVICE: bool = false;

    /// Turns a configuration into a policy that cannot fail on account of its configuration.
    ///
    /// # Errors
    ///
    /// Every fault, with pointers into the configuration.
    fn compile(config: Self::Config, scope: Scope<'_>) -> Result<Self, Issues>;

    /// A name that no other policy of the same list may have, such as that of a counter.
    fn own_name(&self) -> Option<&str> {
        None
    }

    /// Resources of the same tenant that must be there for it to run.
    fn references(&self, _tenant: &Name) -> Vec<ResourceId> {
        Vec::new()
    }

    /// What the upstreams among those resources must speak; none: anything.
    fn upstream_protocol(&self) -> Option<Protocol> {
        None
    }

    /// How many bytes the value of a Secret must have that it names; 0: any will do.
    fn least_bytes(&self, _secret: &ResourceId) -> usize {
        0
    }

    /// Keys that are elsewhere and that it needs; they are fetched before the first request comes.
    fn key_source(&self) -> Option<&KeySource> {
        None
    }

    /// Takes off a request the fields that it alone may set, so that no caller makes them up.
    fn take_off_own_fields(&self, _headers: &mut HeaderMap) {}

    /// Meets the request on its way in.
    fn on_request(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<Self::Carry>>;

    /// Meets the response on its way out, in the reverse order of the requests; also a refusal by
    /// a later policy and a fault of the upstream.
    fn on_response(
        &self,
        _carry: &mut Self::Carry,
        _cx: &mut Cx<'_>,
        _response: &mut Response<Body>,
    ) -> impl Future<Output = ()> {
        async {}
    }

    /// Whether it changes what is written down of a call.
    fn changes_records(&self) -> bool {
        false
    }

    /// Changes what is written down of a call, whether or not the call got as far as to this policy. Only
    /// where somebody keeps records.
    fn on_record(&self, _route: &RouteFacts, _ports: &dyn Ports, _recorded: &mut Recorded<'_>) {}

    /// Hears how it ended, once, even where the client went away. Must not wait.
    fn on_end(&self, _carry: Self::Carry, _end: &End) {}
}

/// What a policy decided about a request.
#[derive(Debug)]
pub enum Flow<C> {
    /// Go on; hand this to the later halves.
    Next(C),
    /// Turn it away.
    Refuse(Box<Refusal>),
    /// Answer in the upstream's place.
    Answer(Box<Response<Body>>),
}

/// Why a request is turned away; rendered in one place, by the data plane.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// A stable name for programs, such as `rate_limited`.
    pub code: &'static str,
    /// One sentence for the caller. Nothing of the inside stands in it.
    pub detail: Cow<'static, str>,
    /// Fields that the answer carries beside the usual ones.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether nothing was sent that could be judged, of those who find out who calls: then another
    /// way to prove it may be tried. What was sent and is wrong is refused for good.
    pub lacks_credential: bool,
    /// What is wrong with the message, fault by fault. The caller is told of a request's (4xx); of an
    /// answer's (5xx) the log alone, and at the level *debug*.
    pub issues: Vec<Issue>,
}

/// Marks an answer that the gateway made of a [`Refusal`]: it is none of the upstream's.
#[derive(Clone, Copy, Debug)]
pub struct IsRefusal;

impl Refusal {
    /// A refusal without fields of its own.
    #[must_use]
    pub fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            headers: Vec::new(),
            lacks_credential: false,
            issues: Vec::new(),
        }
    }

    /// The same where nothing was sent that could be judged.
    #[must_use]
    pub fn lacking_credential(mut self) -> Self {
        self.lacks_credential = true;
        self
    }

    /// The same with what is wrong in detail.
    #[must_use]
    pub fn because_of(mut self, issues: Vec<Issue>) -> Self {
        self.issues = issues;
        self
    }

    /// The same with one more field.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Puts it in an answer's place, for a policy that refuses what came back. It is rendered when
    /// the policies that are still to come have added their fields.
    pub fn replace(mut self, response: &mut Response<Body>) {
        *response = Response::new(Body::Empty);
        *response.status_mut() = self.status;
        for (name, value) in std::mem::take(&mut self.headers) {
            response.headers_mut().append(name, value);
        }
        response.extensions_mut().insert(Box::new(self));
    }

    /// The refusal that stands in an answer's place.
    pub fn take_from(response: &mut Response<Body>) -> Option<Box<Self>> {
        response.extensions_mut().remove()
    }

    /// The same as what a policy returns.
    #[must_use]
    pub fn into_flow<C>(self) -> Flow<C> {
        Flow::Refuse(Box::new(self))
    }
}

/// What one policy may learn of the request beside the message itself, and from the policies before it.
pub struct Cx<'a> {
    /// Microseconds since 1970-01-01 when the request came.
    pub now_unix_micros: u64,
    /// Where it comes from.
    pub client: &'a Client,
    /// The certificate that the peer proved itself with, verified by its listener.
    pub certificate: Option<&'a ClientCertificate>,
    /// The route that it matched.
    pub route: &'a RouteFacts,
    /// The parameters of the route's path in this request.
    pub parameters: &'a dyn Parameters,
    /// `x-request-id`.
    pub request_id: &'a str,
    /// `http` or `https`: how this request came over its last hop.
    pub scheme: &'static str,
    /// Who calls; set by a policy of [`Phase::Authn`].
    pub identity: Option<Arc<Caller>>,
    /// What is proven of the caller beside that; set by a policy of [`Phase::Authn`].
    pub claims: Option<Arc<Claims>>,
    /// Where the request goes on to.
    pub onward: Onward,
    /// What the cache did, and what it asks for.
    pub cache: Caching,
    /// The code that the first limit would have refused it with that only watches.
    pub shadowed: Option<&'static str>,
    /// The world.
    pub ports: &'a dyn Ports,
}

impl Cx<'_> {
    /// The value of a Secret that a policy names.
    #[must_use]
    pub fn secret(&self, of: Holder, name: &Name) -> Option<&SecretText> {
        self.ports.secret(of.tenant(self.route), name)
    }
}

/// Where a request comes from.
#[derive(Clone, Debug)]
pub struct Client {
    /// The client's address, as far as named peers are trusted to tell.
    pub address: IpAddr,
    /// The same as text.
    pub address_text: Box<str>,
}

/// The values of the route's path parameters; made only when a policy asks.
pub trait Parameters {
    /// The value of a parameter, as it stands in the path.
    fn get(&self, name: &str) -> Option<&str>;
}

/// A path without parameters.
impl Parameters for () {
    fn get(&self, _name: &str) -> Option<&str> {
        None
    }
}

/// What is known of a route beside its policies.
#[derive(Clone, Debug)]
pub struct RouteFacts {
    /// Who owns the API.
    pub tenant: Name,
    /// The API's name.
    pub api: Name,
    /// The route's name; none for an API that has no routes of its own.
    pub route: Option<Name>,
    /// The path below which the API lives.
    pub base_path: BasePath,
}

/// Who calls: an application with one of its credentials.
pub struct Caller {
    /// Who owns the application.
    pub tenant: Name,
    /// The application's name.
    pub application: Name,
    /// The credential's name; the application's own where something other than a Credential proved it.
    pub credential: Name,
    /// The groups that the application belongs to.
    pub groups: Box<[Name]>,
    /// From when on the credential is refused, in microseconds since 1970-01-01.
    pub expires_at_unix_micros: Option<i64>,
    /// Whether application or credential is switched off.
    pub is_disabled: bool,
    /// What the credential's signatures are checked with; none where it is something else.
    pub verification_key: Option<Arc<VerificationKey>>,
    /// The application's own policies; none where it has none.
    pub chain: Option<Arc<Chain>>,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// The status that was sent.
    pub status: StatusCode,
    /// Whether the response went out to its last byte.
    pub is_complete: bool,
}
