#![doc = include_str!("MANUAL.md")]

use std::future::Future;
use std::sync::Arc;

use deserr::Deserr;
use http::{HeaderValue, Request, StatusCode, header};
use schemars::JsonSchema;
use tollgate_model::Issues;
use tollgate_model::credential::CertificateProof;

use crate::body::Body;
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Whether calls without a certificate go on, without an identity. Default false. One that is not
    /// known is refused all the same.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub optional: bool,
    /// Whether a Credential must name the certificate. Default required.
    #[deserr(default)]
    #[schemars(with = "Option<CredentialNeed>")]
    pub credential: CredentialNeed,
}

/// Whether something must be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase")]
pub enum CredentialNeed {
    /// It must.
    #[default]
    Required,
    /// It may be missing.
    Optional,
}

/// Finds out by a client's certificate which application calls.
pub struct MtlsIdentity {
    is_optional: bool,
    credential: CredentialNeed,
}

impl Policy for MtlsIdentity {
    type Config = Config;
    type Carry = ();

    const NAME: &'static str = "mtls_identity";
    const PHASE: Phase = Phase::Authn;
    const REPEAT: Repeat = Repeat::Innermost;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, _scope: Scope<'_>) -> Result<Self, Issues> {
        Ok(Self { is_optional: config.optional, credential: config.credential })
    }

    fn on_request(
        &self,
        cx: &mut Cx<'_>,
        _request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<()>> {
        std::future::ready(self.meet(cx))
    }
}

impl MtlsIdentity {
    fn meet(&self, cx: &mut Cx<'_>) -> Flow<()> {
        let Some(certificate) = cx.certificate else {
            return match self.is_optional {
                true => Flow::Next(()),
                false => {
                    refusal("no client certificate was shown").lacking_credential().into_flow()
                }
            };
        };
        let tenant = &cx.route.tenant;
        let caller = CertificateProof::keys(&certificate.facts, tenant)
            .find_map(|key| cx.ports.caller_of_proof(tenant, &key));
        match (caller, self.credential) {
            (Some(caller), _) => {
                let now = i64::try_from(cx.now_unix_micros).unwrap_or(i64::MAX);
                if caller.is_disabled {
                    return refuse("the client certificate is switched off");
                }
                if caller.expires_at_unix_micros.is_some_and(|end| end <= now) {
                    return refuse("the client certificate is not taken any more");
                }
                cx.identity = Some(caller);
            }
            (None, CredentialNeed::Required) => {
                return refuse("the client certificate is not known");
            }
            (None, CredentialNeed::Optional) => {}
        }
        cx.claims.get_or_insert_with(|| Arc::clone(&certificate.claims));
        Flow::Next(())
    }
}

fn refuse<C>(detail: &'static str) -> Flow<C> {
    refusal(detail).into_flow()
}

fn refusal(detail: &'static str) -> Refusal {
    // RFC 9110 §15.5.2 wants a challenge; no scheme is registered for certificates.
    Refusal::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
        .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("mTLS"))
}

#[cfg(test)]
mod tests;
