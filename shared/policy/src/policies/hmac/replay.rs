//! Whether a signature was used before: a limit of one use for each, over the time in which it is good.

use std::sync::Arc;
use std::time::Duration;

use blake3::Hash;

use super::config::Config;
use super::fault::Fault;
use crate::limit::{Definition, Enforcement, OnFailure};
use crate::policy::{Cx, Scope};
use crate::ports::{Take, Taken};

/// No window of a limit is shorter.
const SHORTEST: Duration = Duration::from_secs(1);

/// What remembers the signatures that were used.
pub(super) struct Guard(Definition);

/// What a signature is remembered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(Hash);

impl Guard {
    pub(super) fn new(config: &Config, scope: Scope<'_>) -> Self {
        // Two policies of one list look at different signatures, if they are of use.
        let tag = config.tag.as_deref().unwrap_or_default();
        let label = config.label.as_deref().unwrap_or_default();
        // From its first use, which may be before `created`, until it is too old.
        let good_for = config.max_age().saturating_add(config.leeway()).max(SHORTEST);
        Self(Definition {
            id: Arc::from(format!("{}/used/{label}/{tag}", scope.place)),
            limit: 1,
            window: good_for.into(),
            enforcement: Enforcement::Exact,
            // Of a limit of one, the share of each node is one.
            on_failure: OnFailure::LocalShare,
            is_settled: false,
        })
    }

    /// Uses a signature, which can be done once.
    pub(super) async fn spend(&self, cx: &Cx<'_>, mark: Mark) -> Result<(), Fault> {
        let take = Take {
            definition: &self.0,
            tenant: &cx.route.tenant,
            subject: &mark.0.to_hex(),
            cost: 1,
            now_unix_micros: cx.now_unix_micros,
        };
        let decision = match cx.ports.counters().take(take) {
            Taken::Now(decision) => decision,
            Taken::Wait(decision) => decision.await,
        };
        if decision.is_admitted { Ok(()) } else { Err(Fault::Replayed) }
    }
}

impl Mark {
    /// Of the nonce, which a caller uses once; without one, of all that is signed. Never of the signature's
    /// bytes: of one of ECDSA, whoever has seen it makes another that is as good.
    pub(super) fn of(key_id: &str, nonce: Option<&str>, base: &str) -> Self {
        let (kind, text) = nonce.map_or(("base", base), |nonce| ("nonce", nonce));
        let mut hasher = blake3::Hasher::new_derive_key("tollgate 2026 used request signature");
        // A key id and the kinds have no such byte in them, so that no two marks run together.
        for part in [key_id, "\0", kind, "\0", text] {
            hasher.update(part.as_bytes());
        }
        Self(hasher.finalize())
    }
}
