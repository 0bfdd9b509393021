//! Lists of customer relations.

pub mod customers;
pub mod deals;
pub mod leads;

use domain::aggregate::Decider;
use domain::event::{DecodeError, Recorded};
use domain::metadata::{TenantId, UserId};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryTrait, Select};

/// Whose rows a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visible {
    /// All of the tenant.
    Tenant(TenantId),
    /// What this user of the tenant created.
    CreatedBy(TenantId, UserId),
}

impl Visible {
    fn tenant(self) -> String {
        match self {
            Self::Tenant(tenant) | Self::CreatedBy(tenant, _) => tenant.to_string(),
        }
    }

    /// The actor whose rows alone are shown.
    fn actor(self) -> Option<String> {
        match self {
            Self::Tenant(_) => None,
            Self::CreatedBy(_, user) => Some(format!("user:{user}")),
        }
    }
}

/// The rows of a list that are visible. Every list of the CRM keeps the tenant and who created a row in columns.
fn rows<E: EntityTrait>(visible: Visible, tenant: E::Column, created_by: E::Column) -> Select<E> {
    let select = E::find().filter(tenant.eq(visible.tenant()));
    select.apply_if(visible.actor(), |select, actor| select.filter(created_by.eq(actor)))
}

/// An event and who caused it.
pub struct Caused<E> {
    pub event: E,
    /// As in the metadata: `user:<id>`, `process:<name>`.
    pub actor: String,
}

fn caused<A: Decider>(recorded: &Recorded) -> Result<Option<Caused<A::Event>>, DecodeError> {
    let Some(event) = recorded.decode::<A>()? else { return Ok(None) };
    Ok(Some(Caused { event, actor: recorded.metadata()?.actor.into_owned() }))
}

/// The number that names a stream of the CRM.
fn number(recorded: &Recorded) -> Vec<i64> {
    recorded.aggregate_id.parse().into_iter().collect()
}
