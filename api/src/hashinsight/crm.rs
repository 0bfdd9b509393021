//! What the resources of HashInsight have in common: whose rows are shown, and how bodies say that a field is empty.

use domain::crm::change::Change;
use domain::identity::role::{Access, Module, access};
use projections::crm::Visible;
use serde::{Deserialize, Deserializer};

use crate::auth::Caller;
use crate::error::ApiError;

/// Those who run the business of `module` see their tenant, everybody else what they created.
pub(super) fn visible(caller: &Caller, module: Module) -> Visible {
    let user = &caller.user;
    match access(user.role, module) {
        Access::Full => Visible::Tenant(user.tenant),
        Access::Read | Access::None => Visible::CreatedBy(user.tenant, user.id),
    }
}

/// A field of a partial update: absent keeps, `null` empties, a value replaces.
pub(super) fn patch<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Change<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map_or(Change::Clear, Change::Set))
}

/// A text; forms send an empty one for a field that was left out.
pub(super) fn text(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// The same in a partial update.
pub(super) fn text_patch(patch: Change<String>) -> Change<String> {
    match patch {
        Change::Set(text) if text.trim().is_empty() => Change::Clear,
        Change::Keep | Change::Clear | Change::Set(_) => patch,
    }
}

/// A word of a body or query that must be one of `words`.
pub(super) fn one_of<T>(
    field: &'static str,
    word: &str,
    parsed: Option<T>,
    words: impl IntoIterator<Item = &'static str>,
) -> Result<T, ApiError> {
    parsed.ok_or_else(|| {
        let words = words.into_iter().collect::<Vec<_>>().join(", ");
        ApiError::field(field, format!("{word:?} is none of {words}"))
    })
}
