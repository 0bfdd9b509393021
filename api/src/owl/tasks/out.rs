//! A task as Owl Factory shows one.

use chrono::{DateTime, Utc};
use commands::{CommandError, Receipt};
use domain::compute::task::{Task, TaskStatus};
use projections::compute::tasks;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::amount::Amount;
use crate::error::ApiError;

/// A task that was just submitted.
#[derive(Serialize, ToSchema)]
pub(super) struct NewTaskOut {
    id: String,
    title: String,
    status: String,
    progress: f64,
    created_at: DateTime<Utc>,
}

impl NewTaskOut {
    /// Made from the receipt, because the read model may lag: a client that gets no task back would submit a second one.
    pub(super) fn of(id: Uuid, submitted: &Receipt<Task>) -> Result<Self, ApiError> {
        let task = submitted.state.known().map_err(CommandError::Refused)?;
        let created_at = submitted.recorded.first().ok_or_else(ApiError::not_found)?.recorded_at;
        let (title, status) = (task.request.title.clone(), task.status.as_str().to_owned());
        Ok(Self { id: id.to_string(), title, status, progress: 0.0, created_at })
    }
}

/// A task, whole.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct TaskOut {
    id: String,
    user_id: String,
    title: String,
    description: Option<String>,
    task_type: String,
    status: String,
    progress: f64,
    priority: i64,
    gpu_server_id: Option<String>,
    #[schema(value_type = Object)]
    config: Value,
    #[schema(value_type = Object)]
    result: Value,
    error_message: Option<String>,
    cost: Amount,
    /// Minutes.
    estimated_duration: Option<i64>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<tasks::Model> for TaskOut {
    fn from(row: tasks::Model) -> Self {
        let json = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| json!({}));
        let timed_out = (row.status == TaskStatus::TimedOut.as_str()).then(|| why_timed_out(&row).to_owned());
        Self {
            config: json(&row.config),
            result: json(row.result.as_deref().unwrap_or("{}")),
            cost: row.cost.into(),
            id: row.id,
            user_id: row.user_id,
            title: row.title,
            description: row.description,
            task_type: row.task_type,
            status: row.status,
            progress: row.progress,
            priority: row.priority,
            gpu_server_id: row.gpu_server_id,
            error_message: row.error_message.map(in_chinese).or(timed_out),
            estimated_duration: row.estimated_duration,
            started_at: row.started_at,
            completed_at: row.completed_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

fn why_timed_out(row: &tasks::Model) -> &'static str {
    if row.started_at.is_some() { "任务执行超时" } else { "任务等待超时，未能开始执行" }
}

/// What the platform itself says of a failure; what a program said stays as it is.
fn in_chinese(error: String) -> String {
    if error == "insufficient balance" { "余额不足".to_owned() } else { error }
}
