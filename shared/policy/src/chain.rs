//! Policies in the order of their running: by phase, within a phase from the outermost level to the
//! innermost, within a level as written.

use std::sync::Arc;

use http::{Request, Response};
use smallvec::SmallVec;

use crate::body::Body;
use crate::policies::{AnyCarry, AnyPolicy};
use crate::policy::{Cx, End, Flow, Phase, Repeat, RouteFacts};
use crate::ports::Ports;
use crate::recorded::Recorded;
use crate::rehearsal::{Before, Did, Step};

/// What a request meets on its way.
#[derive(Default)]
pub struct Chain {
    policies: Box<[Arc<AnyPolicy>]>,
    changes_records: bool,
}

/// What the request halves handed on, in the order in which they ran.
#[derive(Default)]
pub struct Carries {
    carried: SmallVec<[Carried; 4]>,
    /// The caller's own chain, kept for the later halves.
    callers: Option<Arc<Chain>>,
}

struct Carried {
    owner: Owner,
    index: usize,
    carry: AnyCarry,
}

/// Whose policy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The route's, of whatever level.
    Route,
    /// The application's that calls.
    Caller,
}

/// How far the policies of a route, and of its caller, have run.
#[derive(Clone, Copy, Default)]
struct Walk {
    own: usize,
    callers: usize,
}

impl Walk {
    /// Whose turn it is.
    fn next<'a>(
        self,
        own: &'a Chain,
        callers: Option<&'a Chain>,
    ) -> Option<(Owner, usize, &'a Arc<AnyPolicy>)> {
        let of_own = own.policies.get(self.own);
        let of_caller = callers.and_then(|chain| chain.policies.get(self.callers));
        match (of_own, of_caller) {
            (Some(of_own), Some(of_caller)) if of_caller.phase() < of_own.phase() => {
                Some((Owner::Caller, self.callers, of_caller))
            }
            (Some(of_own), _) => Some((Owner::Route, self.own, of_own)),
            (None, Some(of_caller)) => Some((Owner::Caller, self.callers, of_caller)),
            (None, None) => None,
        }
    }

    fn pass(&mut self, owner: Owner) {
        match owner {
            Owner::Route => self.own += 1,
            Owner::Caller => self.callers += 1,
        }
    }
}

impl Chain {
    /// Puts the policies of all levels, the outermost first, into their order.
    pub fn assemble<'a>(levels: impl IntoIterator<Item = &'a [Arc<AnyPolicy>]>) -> Self {
        let mut placed: Vec<(usize, &Arc<AnyPolicy>)> = Vec::new();
        for (level, policies) in levels.into_iter().enumerate() {
            for policy in policies {
                if policy.repeat() == Repeat::Innermost {
                    placed.retain(|(other_level, other)| {
                        *other_level == level || other.name() != policy.name()
                    });
                }
                placed.push((level, policy));
            }
        }
        // Stable: what is equal in phase stays in the order of levels and of writing.
        placed.sort_by_key(|(_, policy)| policy.phase());
        let policies: Box<[_]> = placed.into_iter().map(|(_, policy)| Arc::clone(policy)).collect();
        let changes_records = policies.iter().any(|policy| policy.changes_records());
        Self { policies, changes_records }
    }

    /// The policies, in order.
    #[must_use]
    pub fn policies(&self) -> &[Arc<AnyPolicy>] {
        &self.policies
    }

    /// Whether one of the policies answers the preflights of CORS.
    #[must_use]
    pub fn answers_preflights(&self) -> bool {
        self.policies.iter().any(|policy| policy.answers_preflights())
    }

    /// Whether there is nothing to run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The request half. Once it is known who calls, the caller's own policies take their places
    /// among those that are still to come.
    pub async fn on_request(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
        carries: &mut Carries,
    ) -> Flow<()> {
        self.run(cx, request, carries, Walk::default()).await
    }

    /// The request half from the cache on, for a request that has met what comes before it.
    pub async fn on_refresh(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
        carries: &mut Carries,
    ) -> Flow<()> {
        let before_cache = |chain: &Self| {
            chain.policies.iter().take_while(|policy| policy.phase() < Phase::Cache).count()
        };
        let callers = cx.identity.as_ref().and_then(|caller| caller.chain.as_deref());
        let from = Walk { own: before_cache(self), callers: callers.map_or(0, before_cache) };
        self.run(cx, request, carries, from).await
    }

    async fn run(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
        carries: &mut Carries,
        mut walk: Walk,
    ) -> Flow<()> {
        loop {
            if carries.callers.is_none() {
                carries.callers = cx.identity.as_ref().and_then(|caller| caller.chain.clone());
            }
            let next = walk.next(self, carries.callers.as_deref());
            let Some((owner, index, policy)) = next else { return Flow::Next(()) };
            match policy.on_request(cx, request).await {
                Flow::Next(carry) => carries.carried.push(Carried { owner, index, carry }),
                Flow::Refuse(refusal) => return Flow::Refuse(refusal),
                Flow::Answer(response) => return Flow::Answer(response),
            }
            walk.pass(owner);
        }
    }

    /// The request half with what each policy does, for people who ask what would become of a request.
    /// What comes after a refusal or an answer is not reached.
    pub async fn rehearse(&self, cx: &mut Cx<'_>, request: &mut Request<Body>) -> Vec<Step> {
        let (mut steps, mut walk, mut is_over) = (Vec::new(), Walk::default(), false);
        loop {
            let callers = cx.identity.as_ref().and_then(|caller| caller.chain.clone());
            let next = walk.next(self, callers.as_deref());
            let Some((owner, _, policy)) = next else { return steps };
            let did = if is_over {
                Did::NotReached
            } else if policy.asks_a_service() {
                Did::NotAsked
            } else {
                let before = Before::of(cx, request);
                match policy.on_request(cx, request).await {
                    Flow::Next(_) => Did::Passed(Box::new(before.changes(cx, request))),
                    Flow::Refuse(refusal) => Did::Refused(refusal),
                    Flow::Answer(response) => Did::Answered(response.status()),
                }
            };
            is_over = !matches!(did, Did::Passed(_) | Did::NotAsked);
            steps.push(Step { policy: policy.name(), owner, did });
            walk.pass(owner);
        }
    }

    /// The response half, in the reverse order.
    pub async fn on_response(
        &self,
        carries: &mut Carries,
        cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) {
        let callers = carries.callers.clone();
        for carried in carries.carried.iter_mut().rev() {
            if let Some(policy) = self.owner(callers.as_deref(), carried) {
                policy.on_response(&mut carried.carry, cx, response).await;
            }
        }
    }

    /// Whether one of the policies changes what is written down of a call.
    #[must_use]
    pub fn changes_records(&self) -> bool {
        self.changes_records
    }

    /// Lets the policies change what is written down of a call, in the order of the answers. All of them, also
    /// those that the call did not get to.
    pub fn on_record(&self, route: &RouteFacts, ports: &dyn Ports, recorded: &mut Recorded<'_>) {
        for policy in self.policies.iter().rev() {
            policy.on_record(route, ports, recorded);
        }
    }

    /// How it ended, in the order of the requests.
    pub fn on_end(&self, carries: Carries, end: &End) {
        for carried in carries.carried {
            if let Some(policy) = self.owner(carries.callers.as_deref(), &carried) {
                policy.on_end(carried.carry, end);
            }
        }
    }

    fn owner<'a>(&'a self, callers: Option<&'a Self>, carried: &Carried) -> Option<&'a AnyPolicy> {
        let chain = match carried.owner {
            Owner::Route => self,
            Owner::Caller => callers?,
        };
        chain.policies.get(carried.index).map(|policy| &**policy)
    }
}

/// Whether a policy of this phase can stand at an application: who calls is not known before.
#[must_use]
pub fn runs_after_authentication(phase: Phase) -> bool {
    phase > Phase::Authn
}

/// Whether policies of this phase run after the cache: what it stores has been through them.
#[must_use]
pub fn runs_after_caching(phase: Phase) -> bool {
    phase > Phase::Cache
}
