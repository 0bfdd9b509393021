//! The leads, and how far each has come.

use chrono::{DateTime, NaiveDate, Utc};
use domain::crm::lead::{Lead, LeadChanges, LeadDetails, LeadEvent, LeadStatus};
use domain::event::{DecodeError, Recorded};
use domain::metadata::TenantId;
use sea_orm::entity::prelude::*;
use sea_orm::{Order, QueryTrait};

use super::{Caused, Visible, caused, number, rows};
use crate::decimal_text::DecimalText;
use crate::page::{Page, Paging, page};
use crate::projection::Projection;

/// One lead.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "leads_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    #[sea_orm(indexed)]
    pub tenant: String,
    /// The actor.
    pub created_by: String,
    pub name: String,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub company: Option<String>,
    pub source: Option<String>,
    pub next_follow_up: Option<NaiveDate>,
    pub estimated_value: Option<DecimalText>,
    pub interest_level: Option<String>,
    pub notes: Option<String>,
    pub status: String,
    pub lost_reason: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Position of the event that made the row: a stable order.
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct Leads;

impl Projection for Leads {
    type Entity = Entity;
    type Row = Model;
    type Key = i64;
    type Event = Caused<LeadEvent>;

    const NAME: &'static str = "leads";
    const TABLE: &'static str = "leads_v1";
    const CONSUMES: &'static [&'static str] = &["lead"];

    fn decode(recorded: &Recorded) -> Result<Option<Self::Event>, DecodeError> {
        caused::<Lead>(recorded)
    }

    fn keys(_: &Self::Event, recorded: &Recorded) -> Vec<i64> {
        number(recorded)
    }

    fn key(row: &Model) -> i64 {
        row.id
    }

    fn fold(row: Option<Model>, _: &i64, Caused { event, actor }: &Self::Event, recorded: &Recorded) -> Option<Model> {
        match event {
            LeadEvent::Created { id, details } => Some(created(*id, details.clone(), actor, recorded)),
            LeadEvent::Changed { changes } => {
                row.map(|row| Model { updated_at: recorded.recorded_at, ..changed(row, changes.clone()) })
            }
            LeadEvent::StatusChanged { to, lost_reason, .. } => row.map(|row| Model {
                status: to.to_string(),
                lost_reason: lost_reason.clone(),
                updated_at: recorded.recorded_at,
                ..row
            }),
        }
    }
}

fn created(id: i64, details: LeadDetails, actor: &str, recorded: &Recorded) -> Model {
    Model {
        id,
        tenant: recorded.tenant.to_string(),
        created_by: actor.to_owned(),
        name: details.name,
        email: details.email,
        phone: details.phone,
        company: details.company,
        source: details.source,
        next_follow_up: details.next_follow_up,
        estimated_value: details.estimated_value.map(DecimalText),
        interest_level: details.interest_level,
        notes: details.notes,
        status: LeadStatus::New.to_string(),
        lost_reason: None,
        created_at: recorded.recorded_at,
        updated_at: recorded.recorded_at,
        position: recorded.position.cast_signed(),
    }
}

fn changed(mut row: Model, changes: LeadChanges) -> Model {
    row.name = changes.name.unwrap_or(row.name);
    changes.email.apply_to(&mut row.email);
    changes.phone.apply_to(&mut row.phone);
    changes.company.apply_to(&mut row.company);
    changes.source.apply_to(&mut row.source);
    changes.next_follow_up.apply_to(&mut row.next_follow_up);
    changes.estimated_value.map(DecimalText).apply_to(&mut row.estimated_value);
    changes.interest_level.apply_to(&mut row.interest_level);
    changes.notes.apply_to(&mut row.notes);
    row
}

/// The leads that are visible, newest first.
///
/// # Errors
/// What the database said.
pub async fn list(
    db: &impl ConnectionTrait,
    visible: Visible,
    status: Option<LeadStatus>,
    paging: Paging,
) -> Result<Page<Model>, DbErr> {
    let select = rows::<Entity>(visible, Column::Tenant, Column::CreatedBy)
        .apply_if(status, |select, status| select.filter(Column::Status.eq(status.as_str())));
    page(db, select, &[(Column::Position, Order::Desc)], paging).await
}

/// The lead of that number.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, tenant: TenantId, id: i64) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id).filter(Column::Tenant.eq(tenant.to_string())).one(db).await
}
