//! How a node gets its certificate: with a join token first, with the certificate itself from then on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tollgate_proto::v1;
use tollgate_proto::v1::enrolment_server::Enrolment;
use tonic::{Request, Response, Status};

use crate::authority::{Authority, AuthorityError, NODE_LIFETIME, NodeCertificate, NodeIdentity};
use crate::cause;
use crate::identity::{JoinError, JoinTokens, trusted_fingerprint};
use crate::store::Store;
use crate::stream::check_known;
use crate::transport::{self, Peer};

/// Nodes that are let in at once; more are told to come again.
const AT_ONCE: usize = 32;
/// Wrong tokens that one address may show within [`WINDOW`].
const WRONG_TOKENS: u32 = 20;
const WINDOW: Duration = Duration::from_mins(1);
/// Addresses that are remembered; beyond it the oldest are forgotten.
const ADDRESSES: usize = 4096;

/// Implements `tollgate.v1.Enrolment`.
#[derive(Clone)]
pub(crate) struct EnrolmentService(Arc<Inner>);

struct Inner {
    store: Store,
    authority: Arc<Authority>,
    tokens: JoinTokens,
    places: Semaphore,
    wrong: WrongTokens,
}

impl EnrolmentService {
    pub(crate) fn new(store: Store, authority: Arc<Authority>, tokens: JoinTokens) -> Self {
        let places = Semaphore::new(AT_ONCE);
        Self(Arc::new(Inner { store, authority, tokens, places, wrong: WrongTokens::default() }))
    }
}

#[tonic::async_trait]
impl Enrolment for EnrolmentService {
    async fn join(
        &self,
        request: Request<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        let inner = &self.0;
        let _place = inner.places.try_acquire().map_err(|_full| {
            Status::resource_exhausted("too many nodes join at once; try again in a moment")
        })?;
        let address = request.extensions().get::<Peer>().map(|peer| peer.address.ip());
        if address.is_some_and(|address| inner.wrong.is_refused(address, Instant::now())) {
            return Err(Status::resource_exhausted(
                "too many wrong join tokens; try again in a minute",
            ));
        }
        let request = request.into_inner();
        let wrong = |status: Status| {
            if let Some(address) = address {
                inner.wrong.add(address, Instant::now());
            }
            status
        };
        if trusted_fingerprint(&request.token) != Some(inner.authority.fingerprint()) {
            return Err(wrong(Status::unauthenticated("the join token is not known here")));
        }
        let identity = NodeIdentity::new(&request.gateway, &request.node)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let now = Timestamp::now();
        // First, so that a key that is none does not use the token up.
        let certificate = inner.issue(&identity, &request.public_key, now)?;
        let redeemed = inner.tokens.redeem(&request.token, identity.gateway(), now).await;
        let token = redeemed.map_err(|error| wrong(join_refused(&error)))?;
        tracing::info!(
            node = identity.node(),
            gateway = identity.gateway(),
            token = token.id,
            "a node has joined"
        );
        inner.hand_over(&identity, certificate, now).await
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        let inner = &self.0;
        let identity = transport::identity(&request)
            .ok_or_else(|| Status::unauthenticated("a node's certificate is needed; join first"))?;
        check_known(&inner.store, &identity).await?;
        let now = Timestamp::now();
        let certificate = inner.issue(&identity, &request.into_inner().public_key, now)?;
        inner.hand_over(&identity, certificate, now).await
    }
}

impl Inner {
    fn issue(
        &self,
        identity: &NodeIdentity,
        public_key: &[u8],
        now: Timestamp,
    ) -> Result<NodeCertificate, Status> {
        self.authority.issue_node(identity, public_key, now, NODE_LIFETIME).map_err(|error| {
            if matches!(error, AuthorityError::PublicKey) {
                return Status::invalid_argument(error.to_string());
            }
            tracing::error!(error = cause(&error), "certify a node");
            Status::internal("the certificate could not be made")
        })
    }

    async fn hand_over(
        &self,
        identity: &NodeIdentity,
        certificate: NodeCertificate,
        now: Timestamp,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        let (gateway, node) = (identity.gateway(), identity.node());
        let written = self.store.node_certified(gateway, node, &certificate.serial, now).await;
        written.map_err(|error| {
            tracing::error!(error = cause(&error), "write down a node's certificate");
            Status::unavailable("the store does not answer; try again")
        })?;
        Ok(Response::new(v1::JoinResponse {
            certificate_chain: certificate.chain.into_iter().map(Into::into).collect(),
            not_after_unix_seconds: certificate.not_after.as_second(),
        }))
    }
}

fn join_refused(error: &JoinError) -> Status {
    match error {
        JoinError::Unknown
        | JoinError::Expired { .. }
        | JoinError::Revoked { .. }
        | JoinError::UsedUp { .. } => Status::unauthenticated(error.to_string()),
        JoinError::OtherGateway { .. } => Status::permission_denied(error.to_string()),
        JoinError::Random(_) | JoinError::Store(_) => {
            tracing::error!(error = cause(error), "redeem a join token");
            Status::unavailable("the store does not answer; try again")
        }
    }
}

/// Who showed wrong tokens, and how many.
#[derive(Default)]
struct WrongTokens(DashMap<IpAddr, (u32, Instant)>);

impl WrongTokens {
    fn is_refused(&self, address: IpAddr, now: Instant) -> bool {
        self.0.get(&address).is_some_and(|counted| {
            let (count, since) = *counted;
            count >= WRONG_TOKENS && now.duration_since(since) < WINDOW
        })
    }

    fn add(&self, address: IpAddr, now: Instant) {
        if self.0.len() >= ADDRESSES {
            self.0.retain(|_, (_, since)| now.duration_since(*since) < WINDOW);
        }
        if self.0.len() >= ADDRESSES {
            self.0.clear();
        }
        let mut counted = self.0.entry(address).or_insert((0, now));
        if now.duration_since(counted.1) >= WINDOW {
            *counted = (0, now);
        }
        counted.0 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_too_many_wrong_tokens_is_refused_for_a_while() {
        let (wrong, now) = (WrongTokens::default(), Instant::now());
        let address = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..WRONG_TOKENS {
            assert!(!wrong.is_refused(address, now));
            wrong.add(address, now);
        }
        assert!(wrong.is_refused(address, now));
        assert!(!wrong.is_refused(IpAddr::from([192, 0, 2, 2]), now));
        assert!(!wrong.is_refused(address, now + WINDOW));
    }
}
