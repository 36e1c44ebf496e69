//! The list: adding a policy is its folder and one line here.

use std::sync::Arc;

use http::{HeaderMap, Request, Response};
use serde_json::Value;
use tollgate_model::issue::nearest;
use tollgate_model::upstream::Protocol;
use tollgate_model::{Issue, Issues, Name, ResourceId};

use crate::body::Body;
use crate::jose::KeySource;
use crate::policy::{Cx, End, Flow, Phase, Policy, Repeat, RouteFacts, Scope};
use crate::ports::Ports;
use crate::recorded::Recorded;

/// What is known of a policy without an instance of it.
pub struct Entry {
    /// Its name in documents.
    pub name: &'static str,
    /// When it runs.
    pub phase: Phase,
    /// What several of it do together.
    pub repeat: Repeat,
    /// Its manual, in Markdown.
    pub manual: &'static str,
    /// The JSON schema of its configuration.
    pub schema: fn() -> schemars::Schema,
}

/// Writes the modules, the enums over all policies and their dispatch.
macro_rules! policies {
    ($($module:ident :: $policy:ident),+ $(,)?) => {
        $(#[doc = concat!("The policy `", stringify!($module), "`.")] pub mod $module;)+

        /// Any policy.
        pub enum AnyPolicy {
            $(#[doc = concat!("`", stringify!($module), "`.")] $policy($module::$policy),)+
        }

        /// What any policy hands from its request half to its later ones.
        pub enum AnyCarry {
            $(#[doc = concat!("Of `", stringify!($module), "`.")] $policy(<$module::$policy as Policy>::Carry),)+
        }

        /// Every policy, in the order of this file.
        pub const CATALOG: &[Entry] = &[$(Entry {
            name: <$module::$policy as Policy>::NAME,
            phase: <$module::$policy as Policy>::PHASE,
            repeat: <$module::$policy as Policy>::REPEAT,
            manual: <$module::$policy as Policy>::MANUAL,
            schema: || schemars::schema_for!(<$module::$policy as Policy>::Config),
        }),+];

        impl AnyPolicy {
            /// Compiles a policy by its name.
            ///
            /// # Errors
            ///
            /// Every fault, with pointers into the configuration; an unknown name at the root.
            pub fn compile(name: &str, config: &Value, scope: Scope<'_>) -> Result<Self, Issues> {
                match name {
                    $(<$module::$policy as Policy>::NAME => {
                        let config = tollgate_model::parse::value(config)?;
                        <$module::$policy as Policy>::compile(config, scope).map(Self::$policy)
                    })+
                    _ => Err(unknown(name)),
                }
            }

            /// Its name in documents.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$policy(_) => <$module::$policy as Policy>::NAME,)+ }
            }

            /// When it runs.
            #[must_use]
            pub fn phase(&self) -> Phase {
                match self { $(Self::$policy(_) => <$module::$policy as Policy>::PHASE,)+ }
            }

            /// What several of it do together.
            #[must_use]
            pub fn repeat(&self) -> Repeat {
                match self { $(Self::$policy(_) => <$module::$policy as Policy>::REPEAT,)+ }
            }

            /// See [`Policy::ANSWERS_PREFLIGHTS`].
            #[must_use]
            pub fn answers_preflights(&self) -> bool {
                match self { $(Self::$policy(_) => <$module::$policy as Policy>::ANSWERS_PREFLIGHTS,)+ }
            }

            /// See [`Policy::ASKS_A_SERVICE`].
            #[must_use]
            pub fn asks_a_service(&self) -> bool {
                match self { $(Self::$policy(_) => <$module::$policy as Policy>::ASKS_A_SERVICE,)+ }
            }

            /// See [`Policy::own_name`].
            #[must_use]
            pub fn own_name(&self) -> Option<&str> {
                match self { $(Self::$policy(policy) => policy.own_name(),)+ }
            }

            /// Resources of its tenant that must be there for it to run.
            #[must_use]
            pub fn references(&self, tenant: &Name) -> Vec<ResourceId> {
                match self { $(Self::$policy(policy) => policy.references(tenant),)+ }
            }

            /// See [`Policy::upstream_protocol`].
            #[must_use]
            pub fn upstream_protocol(&self) -> Option<Protocol> {
                match self { $(Self::$policy(policy) => policy.upstream_protocol(),)+ }
            }

            /// See [`Policy::least_bytes`].
            #[must_use]
            pub fn least_bytes(&self, secret: &ResourceId) -> usize {
                match self { $(Self::$policy(policy) => policy.least_bytes(secret),)+ }
            }

            /// See [`Policy::key_source`].
            #[must_use]
            pub fn key_source(&self) -> Option<&KeySource> {
                match self { $(Self::$policy(policy) => policy.key_source(),)+ }
            }

            /// See [`Policy::take_off_own_fields`].
            pub fn take_off_own_fields(&self, headers: &mut HeaderMap) {
                match self { $(Self::$policy(policy) => policy.take_off_own_fields(headers),)+ }
            }

            /// See [`Policy::on_request`].
            pub async fn on_request(&self, cx: &mut Cx<'_>, request: &mut Request<Body>) -> Flow<AnyCarry> {
                match self {
                    $(Self::$policy(policy) => match policy.on_request(cx, request).await {
                        Flow::Next(carry) => Flow::Next(AnyCarry::$policy(carry)),
                        Flow::Refuse(refusal) => Flow::Refuse(refusal),
                        Flow::Answer(response) => Flow::Answer(response),
                    },)+
                }
            }

            /// See [`Policy::on_response`].
            pub async fn on_response(&self, carry: &mut AnyCarry, cx: &mut Cx<'_>, response: &mut Response<Body>) {
                match (self, carry) {
                    $((Self::$policy(policy), AnyCarry::$policy(carry)) => policy.on_response(carry, cx, response).await,)+
                    // A carry always meets the policy that made it: both come from one index.
                    _ => {}
                }
            }

            /// See [`Policy::changes_records`].
            #[must_use]
            pub fn changes_records(&self) -> bool {
                match self { $(Self::$policy(policy) => policy.changes_records(),)+ }
            }

            /// See [`Policy::on_record`].
            pub fn on_record(&self, route: &RouteFacts, ports: &dyn Ports, recorded: &mut Recorded<'_>) {
                match self { $(Self::$policy(policy) => policy.on_record(route, ports, recorded),)+ }
            }

            /// See [`Policy::on_end`].
            pub fn on_end(&self, carry: AnyCarry, end: &End) {
                match (self, carry) {
                    $((Self::$policy(policy), AnyCarry::$policy(carry)) => policy.on_end(carry, end),)+
                    _ => {}
                }
            }
        }
    };
}

policies! {
    ip_access::IpAccess,
    cors::Cors,
    body_size::BodySize,
    api_key::ApiKey,
    basic_auth::BasicAuth,
    jwt::Jwt,
    mtls_identity::MtlsIdentity,
    hmac::Hmac,
    any_of::AnyOf,
    acl::Acl,
    external_auth::ExternalAuth,
    authorize::Authorize,
    rate_limit::RateLimit,
    quota::Quota,
    concurrency::Concurrency,
    split::Split,
    cache::Cache,
    validate::Validate,
    headers::Headers,
    decompress::Decompress,
    transform::Transform,
    compress::Compress,
    mask::Mask,
    query::Query,
    rewrite::Rewrite,
    redirect::Redirect,
    respond::Respond,
    mirror::Mirror,
    fault::Fault,
}

// The state of a request grows with this, once a policy.
const _: () = assert!(size_of::<AnyCarry>() <= 64);

/// Finds what is known of a policy.
#[must_use]
pub fn entry(name: &str) -> Option<&'static Entry> {
    CATALOG.iter().find(|entry| entry.name == name)
}

fn unknown(name: &str) -> Issues {
    let mut known: Vec<&str> = CATALOG.iter().map(|entry| entry.name).collect();
    known.push("policy_set");
    Issues::one(Issue::new(
        "",
        "unknown_policy",
        format!("`{name}` is not a policy; {}", nearest(name, &known)),
    ))
}

/// A compiled policy, shared by every chain that runs it.
pub type Shared = Arc<AnyPolicy>;
