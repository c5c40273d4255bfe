//! Who calls, and what they may.

use std::sync::Arc;

use crate::model::ids::Tenant;

/// What a caller may do: bits, as they are stored with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scopes(pub i16);

impl Scopes {
    /// Create, send, change and report on messages; contacts, activities, tickets.
    pub const SEND: Self = Self(1);
    /// Get, find, watch, explain.
    pub const READ: Self = Self(2);
    /// Everything, also keys and providers.
    pub const ADMIN: Self = Self(4);
    /// All of them.
    pub const ALL: Self = Self(7);

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether these scopes hold the other one: ADMIN holds every one.
    pub const fn allow(self, needed: Self) -> bool {
        self.0 & Self::ADMIN.0 != 0 || self.0 & needed.0 == needed.0
    }

    /// The names, for a sentence: `SEND`, `SEND and READ`.
    pub fn names(self) -> String {
        let all = [(Self::SEND, "SEND"), (Self::READ, "READ"), (Self::ADMIN, "ADMIN")];
        let names: Vec<_> =
            all.iter().filter(|(bit, _)| self.0 & bit.0 != 0).map(|(_, name)| *name).collect();
        names.join(" and ")
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose data the call sees.
    pub tenant: Tenant,
    /// The name in `created_by` and in events: `user_local`, `apikey_...`.
    pub actor: Arc<str>,
    /// What it may do.
    pub scopes: Scopes,
    /// Without a key, on the machine itself.
    pub local: bool,
}

impl Caller {
    /// A caller on the machine itself, of a server that asks for no keys there.
    pub fn local() -> Self {
        Self { tenant: Tenant::default(), actor: "user_local".into(), scopes: Scopes::ALL, local: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_holds_every_scope() {
        assert!(Scopes::ADMIN.allow(Scopes::SEND) && Scopes::ADMIN.allow(Scopes::READ));
        assert!(Scopes::SEND.allow(Scopes::SEND) && !Scopes::SEND.allow(Scopes::READ));
        assert!(!Scopes::SEND.with(Scopes::READ).allow(Scopes::ADMIN));
        assert_eq!(Scopes::SEND.with(Scopes::READ).names(), "SEND and READ");
    }
}
