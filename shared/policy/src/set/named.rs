//! Whether what resources name of each other is there, and fit for what it is named for.

use tollgate_model::credential::Credential;
use tollgate_model::signature::VerificationKey;
use tollgate_model::upstream::{Protocol, Upstream};
use tollgate_model::{Issues, Kind, ResourceId, Spec};

use super::Set;
use crate::chain::runs_after_authentication;
use crate::check::{Checked, Item, Reference};

impl Set {
    /// Whether what is named is there, and can be what it is named for.
    pub(super) fn check_reference(&self, reference: &Reference, issues: &mut Issues) {
        let (at, to) = (reference.at.as_str(), &reference.to);
        let Some(named) = self.get(to) else {
            let problem = format!("there is no {to}; write it, or name another");
            return issues.add(at, "unknown_reference", problem);
        };
        if let Spec::Upstream(upstream) = &named.spec
            && let Some(protocol) = reference.protocol
            && upstream.protocol != protocol
        {
            let given = match protocol {
                Protocol::Http1 => "http1",
                Protocol::Http2 => "http2",
            };
            let problem = format!("{to} must have `protocol: {given}` to be used here");
            issues.add(at, "wrong_protocol", problem);
        }
        let least = reference.least_bytes;
        if let Spec::Secret(secret) = &named.spec
            && secret.value.expose().len() < least
        {
            let problem = format!("{to} holds fewer than {least} bytes; make a longer one");
            issues.add(at, "unfit_secret", problem);
        }
    }

    /// Whether a resource cares about what a secret holds.
    pub(super) fn asks_for_bytes(&self, referrer: &ResourceId, secret: &ResourceId) -> bool {
        self.get(referrer).is_some_and(|checked| {
            let mut references = checked.references.iter();
            references.any(|reference| reference.to == *secret && reference.least_bytes > 0)
        })
    }

    /// Whether a resource cares about what an upstream speaks.
    pub(super) fn asks_for_protocol(&self, referrer: &ResourceId, upstream: &ResourceId) -> bool {
        self.get(referrer).is_some_and(|checked| {
            let mut references = checked.references.iter();
            references.any(|reference| reference.to == *upstream && reference.protocol.is_some())
        })
    }

    /// Whether what listeners show is a server's.
    pub(super) fn check_shown(&self, gateway: &Checked, issues: &mut Issues) {
        for reference in &gateway.references {
            let shown = self.get(&reference.to).map(|checked| &checked.spec);
            if let Some(Spec::Certificate(certificate)) = shown
                && !certificate.facts.is_for_a_host()
            {
                issues.add(
                    reference.at.as_str(),
                    "no_names",
                    format!("{} is for no host; name one that is a server's", reference.to),
                );
            }
        }
    }

    /// Whether the Secret that signatures are checked with can be a key.
    pub(super) fn check_shared_key(
        &self,
        id: &ResourceId,
        credential: &Credential,
        issues: &mut Issues,
    ) {
        let key = credential.signature.as_ref().map(|signature| &*signature.key);
        let Some(VerificationKey::Shared(shared)) = key else { return };
        let secret = ResourceId::new(Kind::Secret, id.tenant.clone(), shared.secret.clone());
        let Some(Spec::Secret(held)) = self.get(&secret).map(|checked| &checked.spec) else {
            return;
        };
        if let Err(problem) = shared.bytes(&held.value) {
            let problem = format!("{secret} {problem}");
            issues.add("/spec/signature/secret", "unfit_secret", problem);
        }
    }

    /// Whether the Secrets that an upstream is told can stand where they are to stand.
    pub(super) fn check_told(&self, checked: &Checked, upstream: &Upstream, issues: &mut Issues) {
        let Some(credentials) = &upstream.credentials else { return };
        for reference in &checked.references {
            let named = self.get(&reference.to).map(|named| &named.spec);
            if let Some(Spec::Secret(secret)) = named
                && !credentials.fits(&secret.value)
            {
                let problem = format!(
                    "{} has characters that cannot stand in a header field, such as a line end",
                    reference.to
                );
                issues.add(reference.at.as_str(), "unfit_secret", problem);
            }
        }
    }

    /// Whether the sets of an application hold only what can stand there.
    pub(super) fn check_sets(&self, checked: &Checked, issues: &mut Issues) {
        for (i, item) in checked.policies.iter().enumerate() {
            let Item::Set(id) = item else { continue };
            let Some(set) = self.get(id) else { continue };
            let early = set.policies.iter().find_map(|item| match item {
                Item::Policy(policy) if !runs_after_authentication(policy.phase()) => Some(policy),
                Item::Policy(_) | Item::Set(_) => None,
            });
            if let Some(policy) = early {
                issues.add(
                    format!("/spec/policies/{i}/policy_set"),
                    "wrong_place",
                    format!(
                        "`{}` of this set runs before it is known who calls; attach it to the API",
                        policy.name()
                    ),
                );
            }
        }
    }

    /// Whether anybody needs what is gone.
    pub(super) fn check_absent(&self, id: &ResourceId, issues: &mut Issues) {
        let mut users: Vec<&ResourceId> = self.resources.referrers(id).collect();
        users.sort();
        if let Some(first) = users.first() {
            let others = users.len() - 1;
            let more = if others > 0 { format!(" and {others} more") } else { String::new() };
            issues.add(
                "",
                "in_use",
                format!("{id} is needed by {first}{more}; change or delete those first"),
            );
        }
    }
}
