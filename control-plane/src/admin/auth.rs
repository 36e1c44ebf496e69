//! Who asks, and whether they may.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, header};
use jiff::Timestamp;
use tollgate_model::{FromText, Kind, Name, ResourceId};

use super::Admin;
use super::problem::AdminError;
use crate::identity::{Action, Actor};
use crate::live::LiveState;
use crate::store::Scope;

/// An administrator or a program whose token works.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Actor);

impl FromRequestParts<Admin> for Caller {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, admin: &Admin) -> Result<Self, AdminError> {
        let token = bearer(&parts.headers)?;
        let actor = admin.tokens().verify(token, Timestamp::now()).await?;
        actor.map(Self).ok_or(AdminError::Unauthenticated("the token does not work; log in again"))
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, AdminError> {
    let refused = AdminError::Unauthenticated("give a token: `Authorization: Bearer tga_…`");
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return Err(refused) };
    let text = value.to_str().ok().and_then(|text| text.split_once(' '));
    match text {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(refused),
    }
}

impl Caller {
    pub(crate) fn actor(&self) -> &Actor {
        &self.0
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// The tenant that they are confined to.
    pub(crate) fn tenant(&self) -> Option<Name> {
        self.0.tenant.as_deref().and_then(|tenant| Name::from_text(tenant).ok())
    }

    pub(crate) fn scope(&self) -> Scope<'_> {
        self.0.scope()
    }

    /// Whether they see what this tenant owns.
    pub(crate) fn sees(&self, tenant: &str) -> bool {
        self.0.may(Action::Read, Scope::Tenant(tenant))
    }

    /// Whether they see resources of this kind of this tenant.
    pub(crate) fn sees_kind(&self, kind: &str, tenant: &str) -> bool {
        let is_platform = Kind::from_name(kind).is_none_or(Kind::is_platform);
        if is_platform { self.0.tenant.is_none() } else { self.sees(tenant) }
    }

    /// Lets through who may do this to resources of this kind of this tenant. What they may not even see
    /// is, to them, not there.
    pub(crate) fn may(
        &self,
        action: Action,
        kind: Kind,
        tenant: &Name,
        state: &LiveState,
    ) -> Result<(), AdminError> {
        let is_there =
            *tenant == Name::default_name() || state.get(&ResourceId::of_tenant(tenant)).is_some();
        if !self.sees(tenant.as_str()) || !is_there {
            return Err(AdminError::no_resource(format_args!("tenant `{tenant}`")));
        }
        if !kind.is_platform() {
            return self.may_within(action, Scope::Tenant(tenant.as_str()));
        }
        if *tenant != Name::default_name() || self.0.tenant.is_some() {
            let kinds = kind.plural();
            return Err(AdminError::no_resource(format_args!(
                "address for {kinds} of tenant `{tenant}`"
            )));
        }
        let needed = if action == Action::Write { Action::Administer } else { action };
        self.may_within(needed, Scope::Platform)
    }

    /// As [`Caller::may`], for a write to one resource that may make its tenant known, too.
    pub(crate) fn may_write(&self, id: &ResourceId) -> Result<(), AdminError> {
        let (action, scope) = if id.kind.is_platform() {
            (Action::Administer, Scope::Platform)
        } else {
            (Action::Write, Scope::Tenant(id.tenant.as_str()))
        };
        if !self.sees_kind(id.kind.name(), id.tenant.as_str()) {
            return Err(AdminError::no_resource(format_args!("{id} that this token may write")));
        }
        self.may_within(action, scope)
    }

    /// Lets through who may do this to the platform.
    pub(crate) fn may_platform(&self, action: Action) -> Result<(), AdminError> {
        if self.0.tenant.is_some() {
            return Err(AdminError::no_resource("such address"));
        }
        self.may_within(action, Scope::Platform)
    }

    /// Lets through who may do this to what they see.
    pub(crate) fn may_own(&self, action: Action) -> Result<(), AdminError> {
        self.may_within(action, self.0.scope())
    }

    fn may_within(&self, action: Action, scope: Scope<'_>) -> Result<(), AdminError> {
        if self.0.may(action, scope) {
            return Ok(());
        }
        let needed = match action {
            Action::Read => "viewer",
            Action::Write => "editor",
            Action::Administer => "admin",
        };
        let role = self.0.role;
        Err(AdminError::Forbidden(format!("the token has the role {role}; this needs {needed}")))
    }
}
