//! The outbox: mails that were asked for, and what became of each. Their texts are not here.

use chrono::{DateTime, Utc};
use domain::event::{DecodeError, Recorded};
use domain::metadata::TenantId;
use domain::platform::mail::{Mail, MailEvent};
use sea_orm::Order;
use sea_orm::entity::prelude::*;

use crate::page::{Page, Paging, page};
use crate::projection::Projection;

/// One mail.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "mails_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    #[sea_orm(indexed)]
    pub tenant: String,
    pub to_address: String,
    pub subject: String,
    /// `waiting`, `sent`, `kept` or `failed`.
    pub status: String,
    pub why: Option<String>,
    pub requested_at: DateTime<Utc>,
    pub settled_at: Option<DateTime<Utc>>,
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct Mails;

impl Projection for Mails {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = MailEvent;

    const NAME: &'static str = "mails";
    const TABLE: &'static str = "mails_v1";
    const CONSUMES: &'static [&'static str] = &["mail"];

    fn decode(recorded: &Recorded) -> Result<Option<MailEvent>, DecodeError> {
        recorded.decode::<Mail>()
    }

    fn keys(_: &MailEvent, recorded: &Recorded) -> Vec<String> {
        vec![recorded.aggregate_id.to_string()]
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &MailEvent, recorded: &Recorded) -> Option<Model> {
        let settled = |status: &str, why: Option<&String>| {
            let (status, why) = (status.to_owned(), why.cloned());
            row.clone().map(|row| Model { status, why, settled_at: Some(recorded.recorded_at), ..row })
        };
        match event {
            MailEvent::Requested { to, subject, .. } => Some(Model {
                id: key.clone(),
                tenant: recorded.tenant.to_string(),
                to_address: to.clone(),
                subject: subject.clone(),
                status: "waiting".to_owned(),
                why: None,
                requested_at: recorded.recorded_at,
                settled_at: None,
                position: recorded.position.cast_signed(),
            }),
            MailEvent::Sent => settled("sent", None),
            MailEvent::Kept => settled("kept", None),
            MailEvent::Failed { why } => settled("failed", Some(why)),
        }
    }
}

/// The mails of a tenant, newest first.
///
/// # Errors
/// What the database said.
pub async fn list(db: &impl ConnectionTrait, tenant: TenantId, paging: Paging) -> Result<Page<Model>, DbErr> {
    let of_tenant = Entity::find().filter(Column::Tenant.eq(tenant.to_string()));
    page(db, of_tenant, &[(Column::Position, Order::Desc)], paging).await
}
