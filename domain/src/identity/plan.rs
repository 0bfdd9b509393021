//! Subscription plans: how much of what is rationed a user gets.

use serde::{Deserialize, Serialize};

use super::role::Role;

/// What a user has subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    Free,
    Basic,
    Pro,
}

impl Plan {
    /// Every plan, smallest first.
    pub const ALL: [Self; 3] = [Self::Free, Self::Basic, Self::Pro];

    /// The storage name, which requests and answers use as well.
    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Basic => "basic",
            Self::Pro => "pro",
        }
    }

    /// The plan of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plan| plan.name() == name)
    }

    /// The plan of a user who was never given one: those who run sites are no subscribers, so nothing is kept from them.
    pub fn of_role(role: Role) -> Self {
        match role {
            Role::Owner | Role::Admin | Role::MiningSiteOwner => Self::Pro,
            Role::Client | Role::Customer | Role::Guest | Role::User | Role::Readonly => Self::Free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_stored_names_are_the_same_and_read_back() {
        for plan in Plan::ALL {
            assert_eq!(serde_json::to_value(plan).unwrap(), plan.name());
            assert_eq!(Plan::named(plan.name()), Some(plan));
        }
        assert_eq!(Plan::named("gold"), None);
    }
}
