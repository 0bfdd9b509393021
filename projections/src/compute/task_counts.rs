//! How many tasks each user has, by status and type: lists and figures of millions of tasks need not count them.

use domain::compute::task::{Moved, Task, TaskEvent, TaskStatus};
use domain::event::{DecodeError, Recorded};
use domain::metadata::{TenantId, UserId};
use sea_orm::QuerySelect;
use sea_orm::entity::prelude::*;

use crate::projection::Projection;

/// The number of one user's tasks of one type in one status.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "task_counts_v1")]
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
    const TABLE: &'static str = "task_counts_v1";
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
        let before = row.map_or(0, |row| row.tasks);
        Some(Model {
            id: key.clone(),
            tenant: recorded.tenant.to_string(),
            user_id: step.owner.to_string(),
            status: status.to_owned(),
            task_type: step.task_type.clone(),
            tasks: before + i64::from(comes.is_some()) - i64::from(goes.is_some()),
        })
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
    let mut select = Entity::find().filter(Column::Tenant.eq(tenant.to_string()));
    select = select.filter(Column::UserId.eq(user.to_string()));
    if let Some(task_type) = task_type {
        select = select.filter(Column::TaskType.eq(task_type));
    }
    let by_status = by_status(db, select).await?;
    Ok(by_status.iter().filter(|(of, _)| status.is_none_or(|status| of == status)).map(|(_, tasks)| tasks).sum())
}

/// How many tasks of a user wait or run.
///
/// # Errors
/// What the database said.
pub async fn unfinished(db: &impl ConnectionTrait, tenant: TenantId, user: UserId) -> Result<u64, DbErr> {
    // One statement: between two, a task that starts would be counted in both.
    let select = Entity::find().filter(Column::Tenant.eq(tenant.to_string()));
    let by_status = by_status(db, select.filter(Column::UserId.eq(user.to_string()))).await?;
    let unfinished = by_status.iter().filter(|(status, _)| matches!(status.as_str(), "pending" | "running"));
    Ok(unfinished.map(|(_, tasks)| tasks).sum())
}

/// How many tasks a tenant has, by status.
///
/// # Errors
/// What the database said.
pub async fn of_tenant(db: &impl ConnectionTrait, tenant: TenantId) -> Result<Vec<(String, u64)>, DbErr> {
    by_status(db, Entity::find().filter(Column::Tenant.eq(tenant.to_string()))).await
}

async fn by_status(db: &impl ConnectionTrait, select: Select<Entity>) -> Result<Vec<(String, u64)>, DbErr> {
    // Rows, not sums: the two engines give sums of integers in different types.
    let select = select.select_only().columns([Column::Status, Column::Tasks]);
    let rows: Vec<(String, i64)> = select.into_tuple().all(db).await?;
    let mut sums = std::collections::BTreeMap::<String, u64>::new();
    for (status, tasks) in rows {
        *sums.entry(status).or_default() += u64::try_from(tasks).unwrap_or_default();
    }
    Ok(sums.into_iter().collect())
}
/// How many tasks these users have, by user.
///
/// # Errors
/// What the database said.
pub async fn of_users(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    users: &[UserId],
) -> Result<std::collections::HashMap<String, u64>, DbErr> {
    let select = Entity::find().filter(Column::UserId.is_in(users.iter().map(ToString::to_string)));
    let rows = select.filter(Column::Tenant.eq(tenant.to_string())).all(db).await?;
    let mut sums = std::collections::HashMap::new();
    for row in rows {
        *sums.entry(row.user_id).or_default() += row.tasks.unsigned_abs();
    }
    Ok(sums)
}
