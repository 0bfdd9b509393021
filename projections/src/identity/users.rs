//! The people who may come in. Passwords are nowhere here, not even hashed.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use domain::event::{DecodeError, Recorded};
use domain::identity::plan::Plan;
use domain::identity::role::Role;
use domain::identity::user::{User, UserEvent, user_id};
use domain::identity::username::claim_id;
use domain::metadata::{TenantId, UserId};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Condition, Func, LikeExpr};
use sea_orm::{Order, PaginatorTrait, QueryOrder};

use crate::page::{Page, Paging, page};
use crate::projection::Projection;

/// One person.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users_v2")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    #[sea_orm(indexed)]
    pub tenant: String,
    pub email: String,
    pub username: Option<String>,
    /// The username in lower case: names that differ in case only are one name.
    #[sea_orm(indexed)]
    pub username_claim: Option<String>,
    pub name: Option<String>,
    /// Storage name of the role.
    pub role: String,
    /// Name of the plan; none until one was given.
    pub plan: Option<String>,
    /// The customer whose person the user is.
    pub customer_id: Option<i64>,
    pub is_active: bool,
    /// Whether the user has shown a code that was mailed to the address.
    pub email_verified: bool,
    /// A JSON object.
    pub metadata: String,
    pub last_login_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The role.
    ///
    /// # Errors
    /// When the column does not hold the storage name of one.
    pub fn role(&self) -> Result<Role, DbErr> {
        self.role.parse().map_err(|error| DbErr::Type(format!("users: {error}")))
    }

    /// The plan: the one that was given, else the one of the role.
    ///
    /// # Errors
    /// When a column does not hold a known name.
    pub fn plan(&self) -> Result<Plan, DbErr> {
        match &self.plan {
            Some(name) => Plan::named(name).ok_or_else(|| DbErr::Type(format!("users: no plan {name}"))),
            None => Ok(Plan::of_role(self.role()?)),
        }
    }

    /// The user's id.
    ///
    /// # Errors
    /// When the column does not hold a UUID.
    pub fn user_id(&self) -> Result<UserId, DbErr> {
        self.id.parse().map(UserId).map_err(|error| DbErr::Type(format!("users: {error}")))
    }

    /// The user's tenant.
    ///
    /// # Errors
    /// When the column does not hold a UUID.
    pub fn tenant_id(&self) -> Result<TenantId, DbErr> {
        self.tenant.parse().map(TenantId).map_err(|error| DbErr::Type(format!("users: {error}")))
    }

    /// What to call somebody who may have no username.
    pub fn shown_name(&self) -> &str {
        self.username.as_deref().unwrap_or(&self.email)
    }
}

/// The projection.
pub struct Users;

impl Projection for Users {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = UserEvent;

    const NAME: &'static str = "users";
    const TABLE: &'static str = "users_v2";
    const CONSUMES: &'static [&'static str] = &["user"];

    fn decode(recorded: &Recorded) -> Result<Option<UserEvent>, DecodeError> {
        recorded.decode::<User>()
    }

    fn keys(_: &UserEvent, recorded: &Recorded) -> Vec<String> {
        vec![recorded.aggregate_id.to_string()]
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &UserEvent, recorded: &Recorded) -> Option<Model> {
        let at = recorded.recorded_at;
        match event {
            UserEvent::Registered { email, username, name, role, .. } => Some(Model {
                id: key.clone(),
                tenant: recorded.tenant.to_string(),
                email: email.clone(),
                username: username.clone(),
                username_claim: username.as_deref().map(claim_id),
                name: name.clone(),
                role: role.name().to_owned(),
                plan: None,
                customer_id: None,
                is_active: true,
                email_verified: false,
                metadata: "{}".to_owned(),
                last_login_at: None,
                created_at: at,
                updated_at: at,
                position: recorded.position.cast_signed(),
            }),
            UserEvent::Renamed { to, .. } => row.map(|row| Model {
                username: Some(to.clone()),
                username_claim: Some(claim_id(to)),
                updated_at: at,
                ..row
            }),
            UserEvent::ProfileChanged { name, metadata } => row.map(|row| Model {
                name: name.clone().or(row.name),
                metadata: metadata.as_ref().map_or(row.metadata, |map| Json::from(map.clone()).to_string()),
                updated_at: at,
                ..row
            }),
            UserEvent::RoleChanged { role } => {
                row.map(|row| Model { role: role.name().to_owned(), updated_at: at, ..row })
            }
            UserEvent::PlanChanged { plan } => {
                row.map(|row| Model { plan: Some(plan.name().to_owned()), updated_at: at, ..row })
            }
            UserEvent::CustomerChanged { customer_id } => {
                row.map(|row| Model { customer_id: *customer_id, updated_at: at, ..row })
            }
            UserEvent::Deactivated => row.map(|row| Model { is_active: false, updated_at: at, ..row }),
            UserEvent::Activated => row.map(|row| Model { is_active: true, updated_at: at, ..row }),
            UserEvent::EmailVerified => row.map(|row| Model { email_verified: true, updated_at: at, ..row }),
            UserEvent::Deleted { .. } => None,
            UserEvent::SessionOpened { .. } => row.map(|row| Model { last_login_at: Some(at), ..row }),
            UserEvent::PasswordChanged { .. }
            | UserEvent::SignInFailed { .. }
            | UserEvent::Locked { .. }
            | UserEvent::SessionRefreshed { .. }
            | UserEvent::SessionsClosed { .. } => row,
        }
    }
}

/// Whoever signs in with `login`, an e-mail address or a username, of whatever tenant.
///
/// # Errors
/// What the database said.
pub async fn find_by_login(db: &impl ConnectionTrait, login: &str) -> Result<Option<Model>, DbErr> {
    if login.contains('@') {
        return Entity::find_by_id(user_id(login).to_string()).one(db).await;
    }
    Entity::find().filter(Column::UsernameClaim.eq(claim_id(login.trim()))).order_by_asc(Column::Position).one(db).await
}

/// A user of `tenant`.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, tenant: TenantId, id: UserId) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id.to_string()).filter(Column::Tenant.eq(tenant.to_string())).one(db).await
}

/// Those of `ids` who are users of `tenant`.
///
/// # Errors
/// What the database said.
pub async fn find_all(db: &impl ConnectionTrait, tenant: TenantId, ids: &[String]) -> Result<Vec<Model>, DbErr> {
    let of_tenant = Entity::find().filter(Column::Tenant.eq(tenant.to_string()));
    of_tenant.filter(Column::Id.is_in(ids.iter().map(String::as_str))).all(db).await
}

/// A user of whatever tenant: what a token is checked against.
///
/// # Errors
/// What the database said.
pub async fn find_anywhere(db: &impl ConnectionTrait, id: UserId) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id.to_string()).one(db).await
}

/// What to call these users of `tenant`, by id.
///
/// # Errors
/// What the database said.
pub async fn names(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    ids: &[UserId],
) -> Result<HashMap<String, String>, DbErr> {
    let ids: HashSet<String> = ids.iter().map(ToString::to_string).collect();
    let select = Entity::find().filter(Column::Id.is_in(ids)).filter(Column::Tenant.eq(tenant.to_string()));
    let rows = select.all(db).await?;
    Ok(rows.into_iter().map(|row| (row.id.clone(), row.shown_name().to_owned())).collect())
}

/// How many users a tenant has, and how many of them may come in.
///
/// # Errors
/// What the database said.
pub async fn count(db: &impl ConnectionTrait, tenant: TenantId) -> Result<(u64, u64), DbErr> {
    let of_tenant = Entity::find().filter(Column::Tenant.eq(tenant.to_string()));
    let active = of_tenant.clone().filter(Column::IsActive.eq(true));
    Ok((of_tenant.count(db).await?, active.count(db).await?))
}

/// What a list of users is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// Those of one of these roles; all when empty.
    pub roles: Vec<Role>,
    pub is_active: Option<bool>,
    /// Part of the e-mail address, username or name, in any case.
    pub search: Option<String>,
}

/// The users of a tenant, newest first.
///
/// # Errors
/// What the database said.
pub async fn list(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    filter: &UserFilter,
    paging: Paging,
) -> Result<Page<Model>, DbErr> {
    let mut condition = Condition::all().add(Column::Tenant.eq(tenant.to_string()));
    if !filter.roles.is_empty() {
        condition = condition.add(Column::Role.is_in(filter.roles.iter().map(|role| role.name())));
    }
    if let Some(is_active) = filter.is_active {
        condition = condition.add(Column::IsActive.eq(is_active));
    }
    if let Some(search) = &filter.search {
        condition = condition.add(containing(search));
    }
    page(db, Entity::find().filter(condition), &[(Column::Position, Order::Desc)], paging).await
}

/// Whether a name holds `search`, in any case. SQLite knows the case of ASCII only: beyond that, as it is written.
fn containing(search: &str) -> Condition {
    let (lower, written) = (like(&search.to_lowercase()), like(search));
    [Column::Email, Column::Username, Column::Name].into_iter().fold(Condition::any(), |any, column| {
        let in_any_case = Expr::expr(Func::lower(Expr::col(column))).like(lower.clone());
        any.add(in_any_case).add(Expr::col(column).like(written.clone()))
    })
}

fn like(search: &str) -> LikeExpr {
    let escaped: String =
        search.chars().flat_map(|c| ['\\'].into_iter().filter(move |_| "%_\\".contains(c)).chain([c])).collect();
    LikeExpr::new(format!("%{escaped}%")).escape('\\')
}
