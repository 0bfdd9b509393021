//! The own account.

use axum::extract::State;
use chrono::{DateTime, Utc};
use projections::billing::balances;
use projections::identity::users;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::envelope::{self, Envelope};
use crate::amount::Amount;
use crate::app::App;
use crate::auth::SignedIn;
use crate::error::ApiError;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_current_user))
}

/// A user as Owl Factory shows one.
#[derive(Serialize, ToSchema)]
pub(super) struct UserOut {
    id: String,
    email: String,
    username: String,
    full_name: Option<String>,
    role: &'static str,
    is_active: bool,
    created_at: DateTime<Utc>,
    last_login: Option<DateTime<Utc>>,
}

impl UserOut {
    /// # Errors
    /// When the row holds a role that there is not.
    pub(super) fn of(row: users::Model) -> Result<Self, ApiError> {
        Ok(Self {
            username: row.shown_name().to_owned(),
            role: row.role()?.in_owl(),
            id: row.id,
            email: row.email,
            full_name: row.name,
            is_active: row.is_active,
            created_at: row.created_at,
            last_login: row.last_login_at,
        })
    }
}

#[derive(Serialize, ToSchema)]
struct CurrentUserOut {
    #[serde(flatten)]
    user: UserOut,
    balance: Amount,
    /// Nobody has tasks yet: they come with the task queue.
    total_tasks: u64,
}

#[utoipa::path(get, path = "/api/users/me", operation_id = "get_current_user",
    responses((status = 200, body = Envelope<CurrentUserOut>)))]
async fn get_current_user(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
) -> Result<Envelope<CurrentUserOut>, ApiError> {
    let user = users::find(&app.models.read, caller.user.tenant, caller.user.id).await?;
    let user = UserOut::of(user.ok_or_else(ApiError::not_found)?)?;
    let balance = balances::of(&app.models.read, caller.user.tenant, caller.user.id).await?;
    Ok(envelope::ok(CurrentUserOut { user, balance: Amount(balance), total_tasks: 0 }))
}
