//! The users of the tenant, as administrators list and change them.

use axum::extract::State;
use commands::CommandContext;
use domain::Decider;
use domain::billing::balance::{Adjustment, Balance, BalanceCommand};
use domain::identity::role::Role;
use domain::identity::user::{Administrator, User, UserCommand, UserError};
use domain::metadata::UserId;
use projections::Paging;
use projections::billing::balances;
use projections::compute::task_counts;
use projections::identity::users::{self, UserFilter};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::super::envelope::{self, Envelope, ListEnvelope};
use super::super::users::UserOut;
use crate::amount::Amount;
use crate::app::{App, Server};
use crate::as_of::Lists;
use crate::auth::{Admin, Caller};
use crate::error::ApiError;
use crate::extract::{Body, Path, Query};

/// Why a balance was changed when the administrator says nothing else.
const REASON: &str = "管理员调整余额";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_users)).routes(routes!(update_user))
}

#[derive(Deserialize)]
struct UsersQuery {
    page: Option<u64>,
    page_size: Option<u64>,
    role: Option<String>,
    #[serde(default, deserialize_with = "in_any_case")]
    is_active: Option<bool>,
    search: Option<String>,
}

/// `true` or `false`. Python writes them with a capital.
fn in_any_case<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?.map(|word| word.to_ascii_lowercase());
    word.map(|word| word.parse().map_err(de::Error::custom)).transpose()
}

/// A user, and what the user has.
#[derive(Clone, Serialize, ToSchema)]
struct ManagedUserOut {
    #[serde(flatten)]
    user: UserOut,
    balance: Amount,
    total_tasks: u64,
}

#[utoipa::path(get, path = "/api/admin/users", operation_id = "list_users",
    params(("page" = Option<u64>, Query), ("page_size" = Option<u64>, Query), ("role" = Option<String>, Query),
        ("is_active" = Option<bool>, Query), ("search" = Option<String>, Query), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = ListEnvelope<ManagedUserOut>)))]
async fn list_users(
    lists: Lists,
    Admin(caller): Admin,
    Query(query): Query<UsersQuery>,
) -> Result<ListEnvelope<ManagedUserOut>, ApiError> {
    let roles = query.role.as_deref().filter(|role| !role.is_empty()).map(roles).transpose()?.unwrap_or_default();
    let search = query.search.filter(|search| !search.trim().is_empty());
    let filter = UserFilter { roles, is_active: query.is_active, search };
    let (db, tenant) = (lists.of(&["users", "balances", "task_counts"]).await?, caller.user.tenant);
    let page = users::list(&db, tenant, &filter, Paging::new(query.page, query.page_size, 20, 100)).await?;
    let ids = page.rows.iter().map(users::Model::user_id).collect::<Result<Vec<_>, _>>()?;
    let balances = balances::of_users(&db, tenant, &ids).await?;
    let tasks = task_counts::of_users(&db, tenant, &ids).await?;
    let (total, paging) = (page.total, page.paging);
    let rows = page.rows.into_iter().map(|row| {
        let balance = Amount(balances.get(&row.id).copied().unwrap_or_default());
        let total_tasks = tasks.get(&row.id).copied().unwrap_or_default();
        Ok(ManagedUserOut { user: UserOut::of(row)?, balance, total_tasks })
    });
    let rows = rows.collect::<Result<Vec<_>, ApiError>>()?;
    Ok(envelope::page(projections::Page { rows, total, paging }, |user| user))
}

/// The roles that Owl Factory shows as `word`.
fn roles(word: &str) -> Result<Vec<Role>, ApiError> {
    let roles: Vec<Role> = Role::ALL.into_iter().filter(|role| role.in_owl() == word).collect();
    if roles.is_empty() { Err(no_role()) } else { Ok(roles) }
}

fn no_role() -> ApiError {
    ApiError::field("role", "必须是 user、admin 或 super_admin")
}

/// What is missing stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserBody {
    role: Option<String>,
    is_active: Option<bool>,
    balance: Option<Amount>,
    /// Why the balance is changed.
    reason: Option<String>,
}

#[utoipa::path(put, path = "/api/admin/users/{user_id}", operation_id = "update_user",
    params(("user_id" = Uuid, Path)), request_body = UserBody,
    responses((status = 200, body = Envelope<ManagedUserOut>)))]
async fn update_user(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<Uuid>,
    Body(body): Body<UserBody>,
) -> Result<Envelope<ManagedUserOut>, ApiError> {
    let id = UserId(id);
    let target = users::find(app.models.read().await, caller.user.tenant, id).await?.ok_or_else(ApiError::not_found)?;
    let changes = Changes::of(&body, &caller, &target)?;
    changes.rehearse(&app, &caller, id).await?;
    changes.make(&app, &caller, id).await?;
    Ok(envelope::ok(shown(&app, &caller, id).await?))
}

/// Commands that belong together. Each has its purpose: what is as it was is no command, so a repeated request may give
/// fewer of them than the first.
struct Changes {
    of_user: Vec<(&'static str, UserCommand)>,
    of_balance: Option<BalanceCommand>,
}

const ROLE: &str = "role";
const IS_ACTIVE: &str = "is_active";
const BALANCE: &str = "balance";

impl Changes {
    fn of(body: &UserBody, caller: &Caller, target: &users::Model) -> Result<Self, ApiError> {
        let present = target.role()?;
        let by = Administrator { id: caller.user.id, role: caller.user.role };
        let mut of_user = Vec::new();
        if let Some(word) = body.role.as_deref().filter(|word| *word != present.in_owl()) {
            of_user.push((ROLE, UserCommand::ChangeRole { role: role(word)?, by }));
        }
        if let Some(is_active) = body.is_active.filter(|is_active| *is_active != target.is_active) {
            let command = if is_active { UserCommand::Activate { by } } else { UserCommand::Deactivate { by } };
            of_user.push((IS_ACTIVE, command));
        }
        if body.balance.is_some_and(|balance| balance.0 < Decimal::ZERO) {
            return Err(ApiError::field("balance", "余额不能小于0"));
        }
        let of_balance = body.balance.map(|balance| BalanceCommand::Adjust {
            adjustment: Adjustment::To(balance.0),
            reason: body.reason.clone().unwrap_or_else(|| REASON.to_owned()),
            by: caller.user.id,
        });
        if of_balance.is_some() && !by.role.manages(present) {
            return Err(commands::CommandError::Refused(UserError::RoleNotTheirs { role: present }).into());
        }
        Ok(Self { of_user, of_balance })
    }

    /// Finds out whether every one of them would be carried out, so that none is when one is refused.
    async fn rehearse(&self, server: &Server, caller: &Caller, id: UserId) -> Result<(), ApiError> {
        for (purpose, command) in &self.of_user {
            give::<User>(server, caller, id, command.clone(), rehearsal(caller, purpose)).await?;
        }
        if let Some(command) = &self.of_balance {
            give::<Balance>(server, caller, id, command.clone(), rehearsal(caller, BALANCE)).await?;
        }
        Ok(())
    }

    async fn make(self, server: &Server, caller: &Caller, id: UserId) -> Result<(), ApiError> {
        for (purpose, command) in self.of_user {
            give::<User>(server, caller, id, command, caller.request.command_for(purpose)).await?;
        }
        if let Some(command) = self.of_balance {
            give::<Balance>(server, caller, id, command, caller.request.command_for(BALANCE)).await?;
        }
        server.settled(&caller.request).await;
        server.sessions.forget(id);
        Ok(())
    }
}

/// It has the key of the command itself: what was done before under that key is not decided anew.
fn rehearsal(caller: &Caller, purpose: &str) -> CommandContext {
    CommandContext { dry_run: true, ..caller.request.command_for(purpose) }
}

async fn give<A: Decider>(
    server: &Server,
    caller: &Caller,
    id: UserId,
    command: A::Command,
    context: CommandContext,
) -> Result<(), ApiError> {
    let receipt = server.bus.execute::<A>(&id.to_string(), command, &context).await?;
    if !context.dry_run {
        caller.request.reached(receipt.position);
    }
    Ok(())
}

fn role(word: &str) -> Result<Role, ApiError> {
    match word {
        "user" => Ok(Role::User),
        "admin" => Ok(Role::Admin),
        "super_admin" => Ok(Role::Owner),
        _ => Err(no_role()),
    }
}

async fn shown(server: &Server, caller: &Caller, id: UserId) -> Result<ManagedUserOut, ApiError> {
    let (db, tenant) = (server.models.read().await, caller.user.tenant);
    let user = users::find(db, tenant, id).await?.ok_or_else(ApiError::not_found)?;
    let balance = Amount(balances::of(db, tenant, id).await?);
    let total_tasks = task_counts::ever(&task_counts::history(db, tenant, id).await?.0, &[]);
    Ok(ManagedUserOut { user: UserOut::of(user)?, balance, total_tasks })
}
