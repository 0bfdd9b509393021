//! The own account.

use axum::extract::State;
use chrono::{DateTime, Utc};
use projections::billing::balances;
use projections::compute::task_counts;
use projections::identity::users;
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::envelope::{self, Envelope};
use crate::amount::Amount;
use crate::app::App;
use crate::as_of::Lists;
use crate::auth::passwords::Policy;
use crate::auth::{Caller, SignedIn, own_account};
use crate::error::ApiError;
use crate::extract::Body;

pub(super) fn routes() -> OpenApiRouter<App> {
    let account = OpenApiRouter::new().routes(routes!(get_current_user, update_current_user));
    account.routes(routes!(change_password)).routes(routes!(get_user_stats))
}

/// A user as Owl Factory shows one.
#[derive(Clone, Serialize, ToSchema)]
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
    /// All that were ever submitted.
    total_tasks: u64,
}

#[utoipa::path(get, path = "/api/users/me", operation_id = "get_current_user",
    params(("as_of" = Option<String>, Query)), responses((status = 200, body = Envelope<CurrentUserOut>)))]
async fn get_current_user(lists: Lists, SignedIn(caller): SignedIn) -> Result<Envelope<CurrentUserOut>, ApiError> {
    let db = lists.of(&["users", "balances", "task_counts"]).await?;
    Ok(envelope::ok(shown(&db, &caller).await?))
}

async fn shown(db: &impl ConnectionTrait, caller: &Caller) -> Result<CurrentUserOut, ApiError> {
    let (tenant, id) = (caller.user.tenant, caller.user.id);
    let user = users::find(db, tenant, id).await?;
    let user = UserOut::of(user.ok_or_else(ApiError::not_found)?)?;
    let balance = balances::of(db, tenant, id).await?;
    let (tasks, _) = task_counts::history(db, tenant, id).await?;
    let total_tasks = task_counts::ever(&tasks, &[]);
    Ok(CurrentUserOut { user, balance: Amount(balance), total_tasks })
}

/// What is missing stays as it is.
#[derive(Deserialize, ToSchema)]
struct ProfileBody {
    full_name: Option<String>,
    username: Option<String>,
}

#[utoipa::path(put, path = "/api/users/me", operation_id = "update_current_user", request_body = ProfileBody,
    responses((status = 200, body = Envelope<CurrentUserOut>)))]
async fn update_current_user(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Body(body): Body<ProfileBody>,
) -> Result<Envelope<CurrentUserOut>, ApiError> {
    own_account::change_profile(&app, &caller, body.username, body.full_name).await?;
    Ok(envelope::ok(shown(app.models.read().await, &caller).await?))
}

#[derive(Deserialize, ToSchema)]
struct PasswordBody {
    current_password: String,
    new_password: String,
}

#[utoipa::path(post, path = "/api/users/change-password", operation_id = "change_password",
    request_body = PasswordBody, responses((status = 200, body = Envelope<Value>)))]
async fn change_password(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Body(body): Body<PasswordBody>,
) -> Result<Envelope<Value>, ApiError> {
    let passwords = (body.current_password, body.new_password);
    own_account::change_password(&app, &caller, passwords, Policy::Owl).await?;
    Ok(envelope::ok(Value::Null))
}

/// What the user's tasks came to, those among them that were deleted.
#[derive(Serialize, ToSchema)]
struct UserStatsOut {
    total_tasks: u64,
    completed_tasks: u64,
    /// Failed or timed out.
    failed_tasks: u64,
    /// What tasks cost, refunds taken off.
    total_cost: Amount,
    current_balance: Amount,
    /// When the newest task was submitted.
    last_task_date: Option<DateTime<Utc>>,
}

#[utoipa::path(get, path = "/api/users/stats", operation_id = "get_user_stats",
    responses((status = 200, body = Envelope<UserStatsOut>)))]
async fn get_user_stats(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
) -> Result<Envelope<UserStatsOut>, ApiError> {
    let (db, tenant, id) = (app.models.read().await, caller.user.tenant, caller.user.id);
    let figures = balances::figures(db, tenant, id).await?;
    let (tasks, last_task_date) = task_counts::history(db, tenant, id).await?;
    Ok(envelope::ok(UserStatsOut {
        total_tasks: task_counts::ever(&tasks, &[]),
        completed_tasks: task_counts::ever(&tasks, &["completed"]),
        failed_tasks: task_counts::ever(&tasks, &["failed", "timed_out"]),
        total_cost: Amount(figures.spent),
        current_balance: Amount(figures.balance),
        last_task_date,
    }))
}
