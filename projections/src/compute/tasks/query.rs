//! What is asked of the tasks.

use domain::metadata::{TenantId, UserId};
use sea_orm::entity::prelude::*;
use sea_orm::{Order, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{Column, Entity, Model, lists};
use crate::compute::task_counts;
use crate::page::{Page, Paging, Stretch};

/// What a list is sorted by. Creation and change go by the log, whose order their times have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortBy {
    #[default]
    Created,
    Updated,
    Priority,
}

/// Which tasks of a user, and in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub status: Option<&'static str>,
    pub task_type: Option<String>,
    pub sort_by: SortBy,
    pub ascending: bool,
}

/// One page of a user's tasks. How many there are is kept, not counted.
///
/// # Errors
/// What the database said.
pub async fn list(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    user: UserId,
    wanted: &Wanted,
    paging: Paging,
) -> Result<Page<Model>, DbErr> {
    let total = task_counts::count(db, tenant, user, wanted.status, wanted.task_type.as_deref()).await?;
    let rows = match Stretch::of(paging, total) {
        None => Vec::new(),
        Some(stretch) => {
            let places = places(db, user, wanted, &stretch).await?;
            let rows = Entity::find().filter(Column::Tenant.eq(tenant.to_string()));
            let rows = rows.filter(Column::UserId.eq(user.to_string())).filter(Column::Position.is_in(places));
            ordered(rows, wanted, false).all(db).await?
        }
    };
    Ok(Page { rows, total, paging })
}

/// The positions of the page's rows, read along an index.
async fn places(
    db: &impl ConnectionTrait,
    user: UserId,
    wanted: &Wanted,
    stretch: &Stretch,
) -> Result<Vec<i64>, DbErr> {
    let are_in_the_list = lists::are_in(&user.to_string(), wanted.status, wanted.task_type.as_deref());
    let select = Entity::find().select_only().column(Column::Position).filter(are_in_the_list);
    let select = ordered(select, wanted, stretch.from_end).offset(stretch.offset).limit(stretch.limit);
    select.into_tuple().all(db).await
}

fn ordered(select: Select<Entity>, wanted: &Wanted, reversed: bool) -> Select<Entity> {
    let order = if wanted.ascending == reversed { Order::Desc } else { Order::Asc };
    let select = match wanted.sort_by {
        SortBy::Created => select,
        SortBy::Updated => select.order_by(Column::Changed, order.clone()),
        SortBy::Priority => select.order_by(Column::Priority, order.clone()),
    };
    select.order_by(Column::Position, order)
}

/// One task of a tenant.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, tenant: TenantId, id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id.to_string()).filter(Column::Tenant.eq(tenant.to_string())).one(db).await
}

/// The head of the line: the highest priority first, in it whoever came first.
///
/// # Errors
/// What the database said.
pub async fn waiting(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    offset: u64,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let line = Entity::find().filter(Column::Tenant.eq(tenant.to_string())).filter(Column::Status.eq("pending"));
    let line = line.order_by_desc(Column::Priority).order_by_asc(Column::Queued);
    line.offset(offset).limit(limit).all(db).await
}

/// The tasks that run on a server.
///
/// # Errors
/// What the database said.
pub async fn running_on(db: &impl ConnectionTrait, server: Uuid) -> Result<Vec<Model>, DbErr> {
    let running = Entity::find().filter(Column::GpuServerId.eq(server.to_string()));
    running.filter(Column::Status.eq("running")).order_by_asc(Column::Position).all(db).await
}
