//! Users as administrators see and make them: of every role, and for whoever runs the installation of every tenant.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::identity::plan::Plan;
use domain::identity::role::Role;
use domain::identity::user::{Administrator, Registrar, User, UserCommand};
use domain::metadata::{TenantId, UserId};
use projections::crm::customers;
use projections::identity::tenants;
use projections::identity::users::{self, UserFilter};
use projections::{Page, Paging};
use sea_orm::DbErr;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::envelope::{self, Items, Outcome, outcome};
use crate::app::{App, Server};
use crate::as_of::Lists;
use crate::auth::passwords::Policy;
use crate::auth::registration::{Registration, register};
use crate::auth::{Admin, Caller};
use crate::error::ApiError;
use crate::extract::{Body, Path, Query};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_user, list_users))
        .routes(routes!(change_role))
        .routes(routes!(change_active))
        .routes(routes!(change_plan))
        .routes(routes!(change_customer))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateUserBody {
    email: String,
    password: String,
    role: String,
    username: Option<String>,
    name: Option<String>,
    /// The own tenant when missing.
    tenant_id: Option<Uuid>,
}

#[derive(Serialize, ToSchema)]
struct UserOut {
    id: String,
    tenant_id: String,
    email: String,
    username: Option<String>,
    name: Option<String>,
    role: String,
    /// `free`, `basic` or `pro`.
    plan: &'static str,
    /// The customer whose person the user is.
    customer_id: Option<i64>,
    is_active: bool,
    last_login_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<users::Model> for UserOut {
    type Error = DbErr;

    fn try_from(row: users::Model) -> Result<Self, DbErr> {
        Ok(Self {
            plan: row.plan()?.name(),
            customer_id: row.customer_id,
            id: row.id,
            tenant_id: row.tenant,
            email: row.email,
            username: row.username,
            name: row.name,
            role: row.role,
            is_active: row.is_active,
            last_login_at: row.last_login_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

#[utoipa::path(post, path = "/platform/v1/users", operation_id = "create_user", request_body = CreateUserBody,
    params(("dry_run" = Option<bool>, Query)), responses((status = 201, body = UserOut)))]
async fn create_user(
    State(app): State<App>,
    Admin(caller): Admin,
    Body(body): Body<CreateUserBody>,
) -> Result<Outcome<UserOut>, ApiError> {
    let tenant = tenant(&app, &caller, body.tenant_id).await?;
    let registration = Registration {
        email: body.email,
        username: body.username,
        name: body.name,
        password: body.password,
        role: role(&body.role)?,
        by: Registrar::Role(caller.user.role),
    };
    let id = register(&app, &caller.request.within(tenant), &registration, Policy::Platform).await?;
    outcome(&caller.request, StatusCode::CREATED, shown(&app, tenant, id)).await
}

#[derive(Deserialize)]
struct UsersQuery {
    page: Option<u64>,
    per_page: Option<u64>,
    role: Option<String>,
    is_active: Option<bool>,
    search: Option<String>,
    tenant_id: Option<Uuid>,
}

#[utoipa::path(get, path = "/platform/v1/users", operation_id = "list_users",
    params(("page" = Option<u64>, Query), ("per_page" = Option<u64>, Query), ("role" = Option<String>, Query),
        ("is_active" = Option<bool>, Query), ("search" = Option<String>, Query), ("tenant_id" = Option<Uuid>, Query),
        ("as_of" = Option<String>, Query)),
    responses((status = 200, body = Items<UserOut>)))]
async fn list_users(
    State(app): State<App>,
    lists: Lists,
    Admin(caller): Admin,
    Query(query): Query<UsersQuery>,
) -> Result<Json<Items<UserOut>>, ApiError> {
    let tenant = tenant(&app, &caller, query.tenant_id).await?;
    let roles = query.role.as_deref().map(role).transpose()?.into_iter().collect();
    let filter = UserFilter { roles, is_active: query.is_active, search: query.search };
    let db = lists.of(&["users"]).await?;
    let page = users::list(&db, tenant, &filter, Paging::new(query.page, query.per_page, 50, 200)).await?;
    let rows = page.rows.into_iter().map(UserOut::try_from).collect::<Result<_, _>>()?;
    Ok(Json(envelope::items(Page { rows, total: page.total, paging: page.paging }, |user| user)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RoleBody {
    role: String,
}

#[utoipa::path(put, path = "/platform/v1/users/{id}/role", operation_id = "change_user_role", request_body = RoleBody,
    params(("id" = Uuid, Path), ("dry_run" = Option<bool>, Query)), responses((status = 200, body = UserOut)))]
async fn change_role(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<Uuid>,
    Body(body): Body<RoleBody>,
) -> Result<Outcome<UserOut>, ApiError> {
    let command = UserCommand::ChangeRole { role: role(&body.role)?, by: administrator(&caller) };
    change(&app, &caller, UserId(id), command).await
}

#[derive(Deserialize, ToSchema)]
struct ActiveBody {
    is_active: bool,
}

#[utoipa::path(put, path = "/platform/v1/users/{id}/active", operation_id = "change_user_active",
    request_body = ActiveBody, params(("id" = Uuid, Path), ("dry_run" = Option<bool>, Query)),
    responses((status = 200, body = UserOut)))]
async fn change_active(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<Uuid>,
    Body(body): Body<ActiveBody>,
) -> Result<Outcome<UserOut>, ApiError> {
    let by = administrator(&caller);
    let command = if body.is_active { UserCommand::Activate { by } } else { UserCommand::Deactivate { by } };
    change(&app, &caller, UserId(id), command).await
}

#[derive(Deserialize, ToSchema)]
struct PlanBody {
    /// `free`, `basic` or `pro`.
    plan: String,
}

#[utoipa::path(put, path = "/platform/v1/users/{id}/plan", operation_id = "change_user_plan", request_body = PlanBody,
    params(("id" = Uuid, Path), ("dry_run" = Option<bool>, Query)), responses((status = 200, body = UserOut)))]
async fn change_plan(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<Uuid>,
    Body(body): Body<PlanBody>,
) -> Result<Outcome<UserOut>, ApiError> {
    let names = Plan::ALL.map(Plan::name).join(", ");
    let plan = Plan::named(&body.plan).ok_or_else(|| ApiError::field("plan", format!("must be one of {names}")))?;
    change(&app, &caller, UserId(id), UserCommand::ChangePlan { plan, by: administrator(&caller) }).await
}

#[derive(Deserialize, ToSchema)]
struct CustomerBody {
    /// The number of the customer; null when the user is nobody's person any more.
    #[serde(deserialize_with = "Option::deserialize")]
    customer_id: Option<i64>,
}

#[utoipa::path(put, path = "/platform/v1/users/{id}/customer", operation_id = "change_user_customer",
    request_body = CustomerBody, params(("id" = Uuid, Path), ("dry_run" = Option<bool>, Query)),
    responses((status = 200, body = UserOut)))]
async fn change_customer(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<Uuid>,
    Body(CustomerBody { customer_id }): Body<CustomerBody>,
) -> Result<Outcome<UserOut>, ApiError> {
    if let Some(customer) = customer_id
        && customers::find(app.models.read().await, caller.user.tenant, customer).await?.is_none()
    {
        return Err(ApiError::field("customer_id", "there is no such customer"));
    }
    let command = UserCommand::ChangeCustomer { customer_id, by: administrator(&caller) };
    change(&app, &caller, UserId(id), command).await
}

async fn change(
    server: &Server,
    caller: &Caller,
    id: UserId,
    command: UserCommand,
) -> Result<Outcome<UserOut>, ApiError> {
    server.change::<User>(&caller.request, &id.to_string(), command).await?;
    server.sessions.forget(id);
    outcome(&caller.request, StatusCode::OK, shown(server, caller.user.tenant, id)).await
}

async fn shown(server: &Server, tenant: TenantId, id: UserId) -> Result<UserOut, ApiError> {
    let user = users::find(server.models.read().await, tenant, id).await?;
    Ok(user.ok_or_else(ApiError::not_found)?.try_into()?)
}

/// The tenant that `asked` names; only whoever runs the installation names another one than the own.
async fn tenant(server: &Server, caller: &Caller, asked: Option<Uuid>) -> Result<TenantId, ApiError> {
    let tenant = asked.map_or(caller.user.tenant, TenantId);
    if tenant == caller.user.tenant
        || (caller.installs() && tenants::exists(server.models.read().await, tenant).await?)
    {
        Ok(tenant)
    } else {
        Err(ApiError::not_found())
    }
}

fn role(name: &str) -> Result<Role, ApiError> {
    name.parse().map_err(|error| ApiError::field("role", format!("{error}")))
}

fn administrator(caller: &Caller) -> Administrator {
    Administrator { id: caller.user.id, role: caller.user.role }
}
