//! The lists that a task stands in: those of its user that somebody can ask for.
//!
//! A page far from both ends of a list is reached by passing over rows of an index. So that these are few bytes each,
//! and that no row is passed over which the list does not show, each list has a number, and an index for each order.

use sea_orm::Condition;
use sea_orm::entity::prelude::*;
use sha2::{Digest, Sha256};

use super::Column;

/// The numbers of the four lists that a task stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lists {
    pub of_user: i64,
    pub of_status: i64,
    pub of_type: i64,
    pub of_status_and_type: i64,
}

impl Lists {
    /// The lists of a user's task with this status and type.
    pub fn of(user: &str, status: &str, task_type: &str) -> Self {
        Self {
            of_user: number(user, None, None),
            of_status: number(user, Some(status), None),
            of_type: number(user, None, Some(task_type)),
            of_status_and_type: number(user, Some(status), Some(task_type)),
        }
    }
}

/// All tasks in one list.
pub(super) fn are_in(user: &str, status: Option<&str>, task_type: Option<&str>) -> Condition {
    let column = match (status, task_type) {
        (None, None) => Column::OfUser,
        (Some(_), None) => Column::OfStatus,
        (None, Some(_)) => Column::OfType,
        (Some(_), Some(_)) => Column::OfStatusAndType,
    };
    Condition::all().add(column.eq(number(user, status, task_type)))
}

/// 64 bits that nobody can make two lists have, although users name types: what is shown is compared once more, so a
/// list that shared its number would show less than its own, never another's.
fn number(user: &str, status: Option<&str>, task_type: Option<&str>) -> i64 {
    let mut hash = Sha256::new();
    for part in [Some(user), status, task_type] {
        // With the length, so that no end of one part is the beginning of the next.
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        hash.update(length.to_be_bytes());
        hash.update(part.unwrap_or_default());
    }
    let first: [u8; 8] = std::array::from_fn({
        let digest = hash.finalize();
        move |place| digest[place]
    });
    i64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_has_a_number_of_its_own() {
        let numbers = |lists: Lists| [lists.of_user, lists.of_status, lists.of_type, lists.of_status_and_type];
        let ones = numbers(Lists::of("user", "failed", "training"));
        let others = numbers(Lists::of("user", "failedt", "raining"));
        let mut all = [ones, others].concat();
        all.sort_unstable();
        all.dedup();
        // Both have one list of the user.
        assert_eq!(all.len(), 7);
    }
}
