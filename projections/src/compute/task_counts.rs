//! How many tasks each user has, and ever had, by status and type: lists and figures of millions of tasks need not count
//! them. Lists show the tasks that there are; what users are told of their past does not shrink when they delete some.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use domain::compute::task::{Moved, Task, TaskEvent, TaskStatus};
use domain::event::{DecodeError, Recorded};
use domain::metadata::{TenantId, UserId};
use sea_orm::QuerySelect;
use sea_orm::entity::prelude::*;

use crate::projection::Projection;

/// The number of one user's tasks of one type in one status.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "task_counts_v2")]
pub struct Model {
    /// `<user>/<status>/<type>`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    #[sea_orm(indexed)]
    pub tenant: String,
    #[sea_orm(indexed)]
    pub user_id: String,
    pub status: String,
    pub task_type: String,
    pub tasks: i64,
    /// Those that were in this status when they were deleted.
    pub deleted: i64,
    /// When the newest of its tasks was submitted; in the row of those that wait, where each begins.
    pub last_submitted_at: Option<DateTime<Utc>>,
}

/// The figures of a status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// The tasks that there are.
    pub present: u64,
    /// With those that were deleted.
    pub ever: u64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct TaskCounts;

impl Projection for TaskCounts {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = Step;

    const NAME: &'static str = "task_counts";
    const TABLE: &'static str = "task_counts_v2";
    const CONSUMES: &'static [&'static str] = &["task"];

    fn decode(recorded: &Recorded) -> Result<Option<Step>, DecodeError> {
        Ok(recorded.decode::<Task>()?.and_then(Step::of))
    }

    fn keys(step: &Step, _: &Recorded) -> Vec<String> {
        [step.from, step.to].into_iter().flatten().map(|status| step.key(status)).collect()
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, step: &Step, recorded: &Recorded) -> Option<Model> {
        let comes = step.to.filter(|status| step.key(status) == *key);
        let goes = step.from.filter(|status| step.key(status) == *key);
        let status = comes.or(goes)?;
        let row = row.unwrap_or_else(|| none(key, status, step, recorded));
        let (is_new, is_deleted) = (step.from.is_none(), step.to.is_none());
        Some(Model {
            tasks: row.tasks + i64::from(comes.is_some()) - i64::from(goes.is_some()),
            deleted: row.deleted + i64::from(is_deleted),
            last_submitted_at: if is_new { Some(recorded.recorded_at) } else { row.last_submitted_at },
            ..row
        })
    }
}

fn none(key: &str, status: &str, step: &Step, recorded: &Recorded) -> Model {
    Model {
        id: key.to_owned(),
        tenant: recorded.tenant.to_string(),
        user_id: step.owner.to_string(),
        status: status.to_owned(),
        task_type: step.task_type.clone(),
        tasks: 0,
        deleted: 0,
        last_submitted_at: None,
    }
}

/// A task that moves from one status to another.
pub struct Step {
    owner: UserId,
    task_type: String,
    /// None for a fresh task.
    from: Option<&'static str>,
    /// None for one that was deleted.
    to: Option<&'static str>,
}

impl Step {
    fn key(&self, status: &str) -> String {
        format!("{}/{status}/{}", self.owner, self.task_type)
    }

    fn of(event: TaskEvent) -> Option<Self> {
        let (moved, to) = match event {
            TaskEvent::Submitted { owner, request, .. } => {
                let to = Some(TaskStatus::Pending.as_str());
                return Some(Self { owner, task_type: request.task_type, from: None, to });
            }
            TaskEvent::Started { .. } | TaskEvent::Progressed { .. } => return None,
            TaskEvent::Leased { moved, .. } => (moved, Some(TaskStatus::Leased)),
            TaskEvent::Requeued { moved, .. } | TaskEvent::Retried { moved, .. } => (moved, Some(TaskStatus::Pending)),
            TaskEvent::Completed { moved, .. } => (moved, Some(TaskStatus::Completed)),
            TaskEvent::Failed { moved, .. } | TaskEvent::Stopped { moved, .. } => (moved, Some(TaskStatus::Failed)),
            TaskEvent::TimedOut { moved, .. } => (moved, Some(TaskStatus::TimedOut)),
            TaskEvent::Cancelled { moved, .. } => (moved, Some(TaskStatus::Cancelled)),
            TaskEvent::Deleted { moved, .. } => (moved, None),
        };
        let Moved { owner, task_type, from } = moved;
        Some(Self { owner, task_type, from: Some(from.as_str()), to: to.map(TaskStatus::as_str) })
    }
}

/// How many tasks a user has; of one status or type where it is given.
///
/// # Errors
/// What the database said.
pub async fn count(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    user: UserId,
    status: Option<&str>,
    task_type: Option<&str>,
) -> Result<u64, DbErr> {
    let mut select = of_user(tenant, user);
    if let Some(task_type) = task_type {
        select = select.filter(Column::TaskType.eq(task_type));
    }
    let by_status = by_status(db, select).await?;
    let wanted = by_status.iter().filter(|(of, _)| status.is_none_or(|status| *of == status));
    Ok(wanted.map(|(_, count)| count.present).sum())
}

/// How many tasks of a user wait or run.
///
/// # Errors
/// What the database said.
pub async fn unfinished(db: &impl ConnectionTrait, tenant: TenantId, user: UserId) -> Result<u64, DbErr> {
    // One statement: between two, a task that starts would be counted in both.
    let by_status = by_status(db, of_user(tenant, user)).await?;
    let unfinished = by_status.iter().filter(|(status, _)| matches!(status.as_str(), "pending" | "running"));
    Ok(unfinished.map(|(_, count)| count.present).sum())
}

/// How many tasks a tenant has, by status.
///
/// # Errors
/// What the database said.
pub async fn of_tenant(db: &impl ConnectionTrait, tenant: TenantId) -> Result<BTreeMap<String, Count>, DbErr> {
    by_status(db, Entity::find().filter(Column::Tenant.eq(tenant.to_string()))).await
}

/// What a user's tasks come to, and when the newest of them was submitted.
///
/// # Errors
/// What the database said.
pub async fn history(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    user: UserId,
) -> Result<(BTreeMap<String, Count>, Option<DateTime<Utc>>), DbErr> {
    let rows = of_user(tenant, user).all(db).await?;
    let last_submitted_at = rows.iter().filter_map(|row| row.last_submitted_at).max();
    Ok((sums(rows.into_iter().map(|row| (row.status, row.tasks, row.deleted))), last_submitted_at))
}

/// How many tasks these users ever had, by user.
///
/// # Errors
/// What the database said.
pub async fn of_users(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    users: &[UserId],
) -> Result<HashMap<String, u64>, DbErr> {
    let select = Entity::find().filter(Column::UserId.is_in(users.iter().map(ToString::to_string)));
    let rows = select.filter(Column::Tenant.eq(tenant.to_string())).all(db).await?;
    let mut sums = HashMap::new();
    for row in rows {
        *sums.entry(row.user_id).or_default() += (row.tasks + row.deleted).unsigned_abs();
    }
    Ok(sums)
}

/// How many tasks there ever were in these statuses; in all of them when none is named.
pub fn ever(counts: &BTreeMap<String, Count>, statuses: &[&str]) -> u64 {
    let wanted = counts.iter().filter(|(status, _)| statuses.is_empty() || statuses.contains(&status.as_str()));
    wanted.map(|(_, count)| count.ever).sum()
}

fn of_user(tenant: TenantId, user: UserId) -> Select<Entity> {
    Entity::find().filter(Column::Tenant.eq(tenant.to_string())).filter(Column::UserId.eq(user.to_string()))
}

async fn by_status(db: &impl ConnectionTrait, select: Select<Entity>) -> Result<BTreeMap<String, Count>, DbErr> {
    // Rows, not sums: the two engines give sums of integers in different types.
    let select = select.select_only().columns([Column::Status, Column::Tasks, Column::Deleted]);
    Ok(sums(select.into_tuple::<(String, i64, i64)>().all(db).await?))
}

fn sums(rows: impl IntoIterator<Item = (String, i64, i64)>) -> BTreeMap<String, Count> {
    let mut sums = BTreeMap::<String, Count>::new();
    for (status, tasks, deleted) in rows {
        let count = sums.entry(status).or_default();
        count.present += u64::try_from(tasks).unwrap_or_default();
        count.ever += u64::try_from(tasks + deleted).unwrap_or_default();
    }
    sums
}
