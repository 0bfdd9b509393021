//! The life of a strategy.

use serde::{Deserialize, Serialize};

/// Where a strategy is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StrategyStatus {
    /// Never activated.
    Draft,
    Active,
    Paused,
    /// For good.
    Stopped,
    /// Active, but its last order was refused.
    Warning,
    /// Its orders cannot be carried out; it does not trade.
    Error,
}

impl StrategyStatus {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Draft, Self::Active, Self::Paused, Self::Stopped, Self::Warning, Self::Error];

    /// The word clients use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// Whether its owner may bring it from this status to another.
    pub fn may_become(self, to: Self) -> bool {
        match self {
            Self::Draft => to == Self::Active,
            Self::Active => matches!(to, Self::Paused | Self::Stopped),
            Self::Paused | Self::Error => matches!(to, Self::Active | Self::Stopped),
            Self::Warning => matches!(to, Self::Active | Self::Paused | Self::Stopped),
            Self::Stopped => false,
        }
    }

    /// Whether cycles are run.
    pub fn may_trade(self) -> bool {
        matches!(self, Self::Active | Self::Warning)
    }

    /// The status to go to after an order: `trouble` is `None` for one that was carried out, and says of a refused
    /// one whether the next will be refused as well. A strategy that was paused or stopped in the meantime stays so.
    pub(crate) fn after_order(self, trouble: Option<bool>) -> Option<Self> {
        let to = match trouble {
            None => Self::Active,
            Some(false) => Self::Warning,
            Some(true) => Self::Error,
        };
        (self.may_trade() && to != self).then_some(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_from_status_to_status() {
        let ways: Vec<String> = StrategyStatus::ALL
            .into_iter()
            .map(|from| {
                let to: Vec<&str> = StrategyStatus::ALL
                    .into_iter()
                    .filter(|to| from.may_become(*to))
                    .map(StrategyStatus::as_str)
                    .collect();
                format!("{} -> {}", from.as_str(), to.join(" "))
            })
            .collect();
        let expected = [
            "draft -> active",
            "active -> paused stopped",
            "paused -> active stopped",
            "stopped -> ",
            "warning -> active paused stopped",
            "error -> active stopped",
        ];
        assert_eq!(ways, expected);
    }

    #[test]
    fn orders_move_only_strategies_that_trade() {
        assert_eq!(StrategyStatus::Active.after_order(Some(false)), Some(StrategyStatus::Warning));
        assert_eq!(StrategyStatus::Warning.after_order(Some(false)), None);
        assert_eq!(StrategyStatus::Warning.after_order(None), Some(StrategyStatus::Active));
        assert_eq!(StrategyStatus::Active.after_order(Some(true)), Some(StrategyStatus::Error));
        assert_eq!(StrategyStatus::Stopped.after_order(Some(true)), None);
    }
}
