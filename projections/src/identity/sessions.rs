//! The ways in that are or were open: one row a session.

use chrono::{DateTime, Utc};
use domain::event::{DecodeError, Recorded};
use domain::identity::user::{CloseReason, User, UserEvent};
use sea_orm::entity::prelude::*;
use uuid::Uuid;

use crate::projection::Projection;

/// One session. Its refresh token is nowhere here, not even hashed.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sessions_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub tenant: String,
    #[sea_orm(indexed)]
    pub user_id: String,
    /// The product it was opened in.
    pub surface: String,
    pub device_info: Option<String>,
    pub opened_at: DateTime<Utc>,
    pub refreshed_at: Option<DateTime<Utc>>,
    pub expires_at: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
    pub close_reason: Option<String>,
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct Sessions;

impl Projection for Sessions {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = UserEvent;

    const NAME: &'static str = "sessions";
    const TABLE: &'static str = "sessions_v1";
    const CONSUMES: &'static [&'static str] = &["user"];

    fn decode(recorded: &Recorded) -> Result<Option<UserEvent>, DecodeError> {
        recorded.decode::<User>()
    }

    fn keys(event: &UserEvent, _: &Recorded) -> Vec<String> {
        match event {
            UserEvent::SessionOpened { session_id, .. } | UserEvent::SessionRefreshed { session_id, .. } => {
                vec![session_id.to_string()]
            }
            UserEvent::SessionsClosed { session_ids, .. } => session_ids.iter().map(Uuid::to_string).collect(),
            UserEvent::Registered { .. }
            | UserEvent::Renamed { .. }
            | UserEvent::ProfileChanged { .. }
            | UserEvent::PasswordChanged { .. }
            | UserEvent::RoleChanged { .. }
            | UserEvent::PlanChanged { .. }
            | UserEvent::CustomerChanged { .. }
            | UserEvent::Deactivated
            | UserEvent::Activated
            | UserEvent::EmailVerified
            | UserEvent::Deleted { .. }
            | UserEvent::SignInFailed { .. }
            | UserEvent::Locked { .. } => vec![],
        }
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &UserEvent, recorded: &Recorded) -> Option<Model> {
        match event {
            UserEvent::SessionOpened { surface, expires_at, device_info, .. } => Some(Model {
                id: key.clone(),
                tenant: recorded.tenant.to_string(),
                user_id: recorded.aggregate_id.to_string(),
                surface: surface.clone(),
                device_info: device_info.clone(),
                opened_at: recorded.recorded_at,
                refreshed_at: None,
                expires_at: *expires_at,
                closed_at: None,
                close_reason: None,
                position: recorded.position.cast_signed(),
            }),
            UserEvent::SessionRefreshed { expires_at, .. } => {
                row.map(|row| Model { refreshed_at: Some(recorded.recorded_at), expires_at: *expires_at, ..row })
            }
            UserEvent::SessionsClosed { reason, .. } => row.map(|row| Model {
                closed_at: Some(recorded.recorded_at),
                close_reason: Some(reason_name(*reason).to_owned()),
                ..row
            }),
            UserEvent::Registered { .. }
            | UserEvent::Renamed { .. }
            | UserEvent::ProfileChanged { .. }
            | UserEvent::PasswordChanged { .. }
            | UserEvent::RoleChanged { .. }
            | UserEvent::PlanChanged { .. }
            | UserEvent::CustomerChanged { .. }
            | UserEvent::Deactivated
            | UserEvent::Activated
            | UserEvent::EmailVerified
            | UserEvent::Deleted { .. }
            | UserEvent::SignInFailed { .. }
            | UserEvent::Locked { .. } => row,
        }
    }
}

fn reason_name(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::SignedOut => "signed_out",
        CloseReason::SignedOutEverywhere => "signed_out_everywhere",
        CloseReason::RefreshReused => "refresh_reused",
        CloseReason::PasswordChanged => "password_changed",
        CloseReason::Deactivated => "deactivated",
        CloseReason::CrowdedOut => "crowded_out",
    }
}

/// One session, open or not, of whatever tenant: what a token is checked against.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id.to_string()).one(db).await
}
