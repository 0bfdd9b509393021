//! Tasks as their owners list them, and the line that servers are given tasks from.

mod bill;
mod lists;
mod query;

use chrono::{DateTime, Utc};
use domain::compute::scheduling::{Needs, Waiting};
use domain::compute::task::{Task, TaskEvent, TaskStatus};
use domain::event::{DecodeError, Recorded};
use rust_decimal::Decimal;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Index, IndexCreateStatement};

use crate::decimal_text::DecimalText;
use crate::projection::Projection;

pub use bill::Booking;
pub use lists::Lists;
pub use query::{SortBy, Wanted, find, list, running_on, waiting};

/// One task.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "tasks_v3")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub tenant: String,
    pub user_id: String,
    pub title: String,
    pub description: Option<String>,
    pub task_type: String,
    /// `pending`, `running`, `completed`, `failed`, `cancelled` or `timed_out`.
    pub status: String,
    /// Percent.
    pub progress: f64,
    pub priority: i64,
    /// The server that it runs on, or ran on last.
    #[sea_orm(indexed)]
    pub gpu_server_id: Option<String>,
    pub lease: i64,
    /// What it needs: GPUs, and memory in GB.
    pub gpus: i64,
    pub memory_gb: DecimalText,
    /// JSON.
    pub config: String,
    /// JSON.
    pub result: Option<String>,
    pub error_message: Option<String>,
    /// What all its runs cost so far.
    pub cost: DecimalText,
    /// What the runs before the last one cost.
    pub earlier_cost: DecimalText,
    /// What the ledger took for the last run.
    pub paid: DecimalText,
    /// Minutes.
    pub estimated_duration: Option<i64>,
    pub started_at: Option<DateTime<Utc>>,
    pub completed_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Its place in line among those of its priority: the event that put it there.
    pub queued: i64,
    /// Position of the event that made the row: a stable order.
    #[sea_orm(indexed)]
    pub position: i64,
    /// Position of the event that changed it last.
    pub changed: i64,
    /// The numbers of its [`Lists`].
    pub of_user: i64,
    pub of_status: i64,
    pub of_type: i64,
    pub of_status_and_type: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// What it needs of a server, and since when it waits for one, while it does.
    pub fn waiting(&self) -> Waiting {
        let needs = Needs { gpus: u32::try_from(self.gpus).unwrap_or_default(), memory_gb: self.memory_gb.0 };
        // Nothing happens to a task in line.
        Waiting { needs, since: self.updated_at }
    }
}

/// The projection.
pub struct Tasks;

/// What it understands of the log.
#[derive(Debug)]
pub enum Change {
    Task(TaskEvent),
    Booked(Booking),
}

impl Projection for Tasks {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = Change;

    const NAME: &'static str = "tasks";
    const TABLE: &'static str = "tasks_v3";
    const CONSUMES: &'static [&'static str] = &["task", "balance"];

    fn decode(recorded: &Recorded) -> Result<Option<Change>, DecodeError> {
        match recorded.decode::<Task>()? {
            Some(event) => Ok(Some(Change::Task(event))),
            None => Ok(Booking::read(recorded)?.map(Change::Booked)),
        }
    }

    fn keys(change: &Change, recorded: &Recorded) -> Vec<String> {
        match change {
            Change::Task(_) => vec![recorded.aggregate_id.to_string()],
            Change::Booked(booking) => vec![booking.run.task_id.to_string()],
        }
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, change: &Change, recorded: &Recorded) -> Option<Model> {
        match (row, change) {
            (_, Change::Task(event @ TaskEvent::Submitted { .. })) => submitted(key, event, recorded),
            (Some(row), Change::Task(event)) => moved(row, event, recorded).map(listed),
            (Some(row), Change::Booked(booking)) => Some(bill::booked(row, booking)),
            (None, _) => None,
        }
    }

    /// Each list is read along an index of its own in each order, so that only the rows of the page are read.
    fn indexes() -> Vec<IndexCreateStatement> {
        use Column::{Changed, OfStatus, OfStatusAndType, OfType, OfUser, Position, Priority, Queued, Status, Tenant};
        let of = |name: &str, columns: &[Column]| {
            let mut index = Index::create();
            index.name(format!("idx-{}-{name}", Self::TABLE)).table(Entity);
            for column in columns {
                index.col(*column);
            }
            index
        };
        let mut indexes = vec![of("line", &[Tenant, Status, Priority, Queued])];
        for (list, column) in
            [("user", OfUser), ("status", OfStatus), ("type", OfType), ("status-type", OfStatusAndType)]
        {
            indexes.push(of(list, &[column, Position]));
            indexes.push(of(&format!("{list}-changed"), &[column, Changed, Position]));
            indexes.push(of(&format!("{list}-priority"), &[column, Priority, Position]));
        }
        indexes
    }
}

fn submitted(key: &str, event: &TaskEvent, recorded: &Recorded) -> Option<Model> {
    let TaskEvent::Submitted { owner, request, needs, .. } = event else { return None };
    let (user, status) = (owner.to_string(), TaskStatus::Pending.as_str());
    let Lists { of_user, of_status, of_type, of_status_and_type } = Lists::of(&user, status, &request.task_type);
    Some(Model {
        id: key.to_owned(),
        tenant: recorded.tenant.to_string(),
        user_id: user,
        title: request.title.clone(),
        description: request.description.clone(),
        task_type: request.task_type.clone(),
        status: status.to_owned(),
        progress: 0.0,
        priority: i64::from(request.priority),
        gpu_server_id: None,
        lease: 0,
        gpus: i64::from(needs.gpus),
        memory_gb: needs.memory_gb.into(),
        config: request.config.to_string(),
        result: None,
        error_message: None,
        cost: DecimalText::default(),
        earlier_cost: DecimalText::default(),
        paid: DecimalText::default(),
        estimated_duration: request.estimated_minutes.map(i64::from),
        started_at: None,
        completed_at: None,
        created_at: recorded.recorded_at,
        updated_at: recorded.recorded_at,
        queued: recorded.position.cast_signed(),
        position: recorded.position.cast_signed(),
        changed: recorded.position.cast_signed(),
        of_user,
        of_status,
        of_type,
        of_status_and_type,
    })
}

/// The row in the lists of its status.
fn listed(row: Model) -> Model {
    let Lists { of_user, of_status, of_type, of_status_and_type } =
        Lists::of(&row.user_id, &row.status, &row.task_type);
    Model { of_user, of_status, of_type, of_status_and_type, ..row }
}

fn moved(row: Model, event: &TaskEvent, recorded: &Recorded) -> Option<Model> {
    let at = recorded.recorded_at;
    let row = Model { updated_at: at, changed: recorded.position.cast_signed(), ..row };
    let over = |status: TaskStatus, run_cost: Option<Decimal>| {
        let row = Model { status: status.as_str().to_owned(), completed_at: Some(at), ..row.clone() };
        // A task that ends in line ends no run.
        match run_cost {
            Some(cost) => bill::billed(row, cost),
            None => row,
        }
    };
    Some(match event {
        // The first event of a stream is folded without a row.
        TaskEvent::Submitted { .. } => row,
        TaskEvent::Leased { server_id, lease, .. } => Model {
            status: TaskStatus::Leased.as_str().to_owned(),
            gpu_server_id: Some(server_id.to_string()),
            lease: i64::from(*lease),
            progress: 0.0,
            ..bill::begun(row)
        },
        TaskEvent::Started { at, .. } => Model { started_at: Some(*at), ..row },
        TaskEvent::Progressed { progress, .. } => Model { progress: *progress, ..row },
        TaskEvent::Requeued { .. } => pending(bill::billed(row, Decimal::ZERO)),
        TaskEvent::Completed { result, cost, .. } => {
            Model { progress: 100.0, result: Some(result.to_string()), ..over(TaskStatus::Completed, Some(*cost)) }
        }
        TaskEvent::Failed { error, .. } => {
            Model { error_message: Some(error.clone()), ..over(TaskStatus::Failed, Some(Decimal::ZERO)) }
        }
        TaskEvent::Stopped { cost, .. } => {
            Model { error_message: Some("insufficient balance".to_owned()), ..over(TaskStatus::Failed, Some(*cost)) }
        }
        TaskEvent::TimedOut { lease, cost, .. } => over(TaskStatus::TimedOut, lease.map(|_| *cost)),
        TaskEvent::Cancelled { lease, cost, .. } => over(TaskStatus::Cancelled, lease.map(|_| *cost)),
        TaskEvent::Retried { .. } => {
            Model { queued: recorded.position.cast_signed(), error_message: None, completed_at: None, ..pending(row) }
        }
        TaskEvent::Deleted { .. } => return None,
    })
}

fn pending(row: Model) -> Model {
    Model {
        status: TaskStatus::Pending.as_str().to_owned(),
        gpu_server_id: None,
        progress: 0.0,
        started_at: None,
        ..row
    }
}
