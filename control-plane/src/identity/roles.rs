//! Roles, and what each may do.

use std::fmt;

use crate::store::Scope;

/// What someone may do; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Changes the configuration too.
    Editor,
    /// Decides who else may.
    Admin,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Look at the configuration, its history or a status.
    Read,
    /// Change the configuration.
    Write,
    /// Make and revoke tokens.
    Administer,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// What stands in the history.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Where they may do it; `None`: everywhere.
    pub tenant: Option<String>,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Editor, Self::Admin];

    /// The word in the store, in answers and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }

    /// The role of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Action {
    fn least_role(self) -> Role {
        match self {
            Self::Read => Role::Viewer,
            Self::Write => Role::Editor,
            Self::Administer => Role::Admin,
        }
    }
}

impl Actor {
    /// Whether they may do it to what the tenant owns or, with [`Scope::Platform`], to what belongs to
    /// no tenant or to all.
    #[must_use]
    pub fn may(&self, action: Action, scope: Scope<'_>) -> bool {
        let is_within = match (&self.tenant, scope) {
            (None, _) => true,
            (Some(_), Scope::Platform) => false,
            (Some(own), Scope::Tenant(other)) => own == other,
        };
        is_within && self.role >= action.least_role()
    }

    /// All that they may see.
    #[must_use]
    pub fn scope(&self) -> Scope<'_> {
        self.tenant.as_deref().map_or(Scope::Platform, Scope::Tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_may_what_the_roles_before_it_may_and_only_in_its_tenant() {
        let actions = [Action::Read, Action::Write, Action::Administer];
        for (role, allowed) in [(Role::Viewer, 1), (Role::Editor, 2), (Role::Admin, 3)] {
            let actor = |tenant: Option<&str>| Actor {
                name: "a".to_owned(),
                role,
                tenant: tenant.map(str::to_owned),
            };
            for (i, action) in actions.into_iter().enumerate() {
                let may = i < allowed;
                assert_eq!(actor(None).may(action, Scope::Platform), may);
                assert_eq!(actor(None).may(action, Scope::Tenant("shop")), may);
                assert_eq!(actor(Some("shop")).may(action, Scope::Tenant("shop")), may);
                assert!(!actor(Some("shop")).may(action, Scope::Tenant("other")));
                assert!(!actor(Some("shop")).may(action, Scope::Platform));
            }
            assert_eq!(Role::from_word(role.as_str()), Some(role));
        }
    }
}
