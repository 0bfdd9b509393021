//! The time that tasks wait and run: what they use is captured as it passes, they end when it is over, and they are taken
//! back from a server that does not run them any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::Aggregate;
use domain::billing::balance::{Balance, BalanceCommand, BalanceError, OpenHold, Run};
use domain::compute::gpu_server::GpuServer;
use domain::compute::task::work::cost;
use domain::compute::task::{KnownTask, Task, TaskCommand, TaskEvent, TaskRun};
use domain::event::{DecodeError, Recorded};
use tokio::sync::Notify;
use uuid::Uuid;

use super::heartbeats::Heartbeats;
use super::{Gateway, Notice, unasked};
use crate::bus::{CommandBus, CommandError};

/// How often a task that runs is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How seldom one that waits is looked at, at most.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(30);
/// Tasks that are watched at the same time.
const TASKS_AT_ONCE: usize = 100_000;
/// How long the agent's heartbeats may leave out a task that was just given to it.
const UNMENTIONED_MAX: TimeDelta = TimeDelta::seconds(10);
/// How far ahead of the use money is held.
const COVERED_AHEAD: TimeDelta = TimeDelta::seconds(30);

/// The gateway to the clock, for tasks.
pub struct TaskClock {
    heartbeats: Arc<Heartbeats>,
    /// Wakes who watches a task when something happens to it.
    bells: Mutex<HashMap<String, Arc<Notify>>>,
}

impl TaskClock {
    /// Learns from `heartbeats` what agents run.
    pub fn new(heartbeats: Arc<Heartbeats>) -> Self {
        Self { heartbeats, bells: Mutex::default() }
    }

    fn bells(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bell(&self, id: &str) -> Arc<Notify> {
        Arc::clone(self.bells().entry(id.to_owned()).or_default())
    }

    /// Wakes who watches the task; the bell of one that is over is taken down.
    fn ring(&self, id: &str, notice: Notice) {
        let mut bells = self.bells();
        if let Some(bell) = bells.get(id) {
            bell.notify_one();
        }
        if notice == Notice::Ends {
            bells.remove(id);
        }
    }
}

#[async_trait]
impl Gateway for TaskClock {
    fn name(&self) -> &'static str {
        "task_clock"
    }

    fn consumes(&self) -> &'static str {
        Task::TYPE
    }

    fn at_once(&self) -> usize {
        TASKS_AT_ONCE
    }

    fn begin(&self) {
        self.bells().clear();
    }

    fn notice(&self, event: &Recorded) -> Result<Notice, DecodeError> {
        let notice = event.decode::<Task>()?.map_or(Notice::Continues, |event| match event {
            TaskEvent::Submitted { .. } | TaskEvent::Retried { .. } => Notice::Begins,
            TaskEvent::Leased { .. }
            | TaskEvent::Started { .. }
            | TaskEvent::Progressed { .. }
            | TaskEvent::Requeued { .. } => Notice::Continues,
            TaskEvent::Completed { .. }
            | TaskEvent::Failed { .. }
            | TaskEvent::Stopped { .. }
            | TaskEvent::TimedOut { .. }
            | TaskEvent::Cancelled { .. }
            | TaskEvent::Deleted { .. } => Notice::Ends,
        });
        self.ring(&event.aggregate_id, notice);
        Ok(notice)
    }

    async fn perform(&self, bus: &CommandBus, id: &str) -> Result<(), String> {
        loop {
            let bell = self.bell(id);
            let task = bus.last_seen::<Task>(id).await.map_err(|error| error.to_string())?;
            let Some((task, ends_at)) = task.known().ok().and_then(|task| Some((task, task.ends_at()?))) else {
                self.bells().remove(id);
                return Ok(());
            };
            let now = bus.clock().now();
            if ends_at <= now {
                unasked::<Task>(bus, id, TaskCommand::TimeOut, self.name()).await?;
            } else if let Some(run) = &task.run {
                self.watch(bus, id, task, run, now).await?;
            }
            // Something may have happened since the task was loaded; then the bell has rung already.
            let _ = tokio::time::timeout(pause(task, ends_at - now), bell.notified()).await;
        }
    }
}

/// Until a task is looked at again: half of what is left of its life, so that a clock that is turned is noticed.
fn pause(task: &KnownTask, left: TimeDelta) -> Duration {
    if task.run.is_some() {
        return LOOK_EVERY;
    }
    (left / 2).to_std().unwrap_or_default().clamp(LOOK_EVERY, LOOK_AT_LEAST_EVERY)
}

impl TaskClock {
    /// Looks after a run.
    async fn watch(
        &self,
        bus: &CommandBus,
        id: &str,
        task: &KnownTask,
        run: &TaskRun,
        now: DateTime<Utc>,
    ) -> Result<(), String> {
        let task_id: Uuid = id.parse().map_err(|_| format!("{id} is no id of a task"))?;
        if let Some(why) = self.lost(bus, task_id, run).await? {
            let requeue = TaskCommand::Requeue { lease: run.lease, why: why.to_owned() };
            return unasked::<Task>(bus, id, requeue, self.name()).await;
        }
        match run.started_at {
            Some(started_at) => self.meter(bus, task_id, task, run.lease, now - started_at).await,
            None => Ok(()),
        }
    }

    /// Why the run cannot come to an end, if it cannot.
    async fn lost(&self, bus: &CommandBus, task_id: Uuid, run: &TaskRun) -> Result<Option<&'static str>, String> {
        let id = run.server_id.to_string();
        let server = bus.last_seen::<GpuServer>(&id).await.map_err(|error| error.to_string())?;
        // What was last seen may be old, which must not end a run.
        if !server.is_online(run.session)
            && !bus.load::<GpuServer>(&id).await.map_err(|error| error.to_string())?.0.is_online(run.session)
        {
            return Ok(Some("the server was lost"));
        }
        let heard = self.heartbeats.last(run.server_id, run.session);
        let forgotten = heard.zip(run.started_at).is_some_and(|(heard, started_at)| {
            heard.at > started_at + UNMENTIONED_MAX && !heard.running.contains(&(task_id, run.lease))
        });
        Ok(forgotten.then_some("the server does not run it"))
    }

    /// Captures every full minute of use and holds on; stops a task whose owner has nothing left.
    async fn meter(
        &self,
        bus: &CommandBus,
        task_id: Uuid,
        task: &KnownTask,
        lease: u32,
        used: TimeDelta,
    ) -> Result<(), String> {
        let (run, owner) = (Run { task_id, lease }, task.owner.to_string());
        let (balance, _) = bus.load::<Balance>(&owner).await.map_err(|error| error.to_string())?;
        let Some(OpenHold { held, captured, .. }) = balance.hold_of(run) else { return Ok(()) };
        let due = cost(task.rate_per_minute, TimeDelta::minutes(used.num_minutes()));
        let cover = cost(task.rate_per_minute, used + COVERED_AHEAD);
        let covered = *held + *captured;
        if due <= *captured && cover <= covered {
            return Ok(());
        }
        // The task's stream is short; its owner's balance may have a long history.
        let context = super::context_of::<Task>(bus, &task_id.to_string(), self.name()).await?;
        let Some(context) = context else { return Ok(()) };
        let meter = BalanceCommand::Meter { run, cost: due, cover };
        match bus.execute::<Balance>(&owner, meter, &context).await {
            Ok(_) => Ok(()),
            Err(CommandError::Refused(BalanceError::Insufficient)) => {
                if cost(task.rate_per_minute, used) <= covered {
                    return Ok(());
                }
                let stop = TaskCommand::Stop { lease, covered };
                unasked::<Task>(bus, &task_id.to_string(), stop, self.name()).await
            }
            Err(error) => Err(error.to_string()),
        }
    }
}
