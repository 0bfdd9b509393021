//! One session of an agent: heartbeats, leases, and the jobs that run under them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::compute::scheduling::Needs;
use domain::compute::task::work::Work;
use rust_decimal::Decimal;
use rust_decimal::prelude::{FromPrimitive, ToPrimitive};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::client::{Begun, Client, ClientError, Held, Leased, Loss};
use super::job::{self, Assignment, Outcome};
use super::measure::Meter;
use super::{PAUSE_AFTER_FAULT, Workshop};

/// How often the outcome of a job, or the last it said, is told again to a server that does not answer.
const TELL_TRIES: u32 = 600;

/// A job that runs.
struct Running {
    needs: Needs,
    /// Which GPUs it was given.
    gpus: Vec<usize>,
    end: watch::Sender<bool>,
}

impl Running {
    fn end(&self) {
        self.end.send_replace(true);
    }
}

/// A session, and what runs in it.
pub(super) struct Session {
    client: Arc<Client>,
    workshop: Arc<Workshop>,
    meter: Arc<Meter>,
    begun: Begun,
    limit: Mutex<u32>,
    jobs: Arc<Mutex<HashMap<Held, Running>>>,
    /// A job has ended, or the limit has changed.
    room: Arc<Notify>,
}

impl Session {
    pub(super) fn new(client: &Arc<Client>, workshop: &Arc<Workshop>, meter: &Arc<Meter>, begun: Begun) -> Self {
        Self {
            client: Arc::clone(client),
            workshop: Arc::clone(workshop),
            meter: Arc::clone(meter),
            limit: Mutex::new(begun.max_concurrent_tasks),
            begun,
            jobs: Arc::default(),
            room: Arc::default(),
        }
    }

    /// Serves until something is lost or `stop`; then everything that runs is ended. Answers what was lost.
    pub(super) async fn serve(&self, stop: &mut watch::Receiver<bool>) -> Option<Loss> {
        let mut running = JoinSet::new();
        let lost = tokio::select! {
            lost = self.beat() => Some(lost),
            lost = self.take_tasks(&mut running) => Some(lost),
            _ = stop.wait_for(|stop| *stop) => None,
        };
        if lost.is_some() {
            tracing::warn!(session = self.begun.session, "the session is lost: what runs is ended");
        }
        self.jobs().values().for_each(Running::end);
        while running.join_next().await.is_some() {}
        if *stop.borrow() {
            // Not heard, the server finds out by itself.
            if let Err(error) = self.client.leave(self.begun.session).await {
                tracing::warn!(%error, "the goodbye is not heard");
            }
        }
        lost
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<Held, Running>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends heartbeats until the session is lost.
    async fn beat(&self) -> Loss {
        let every = Duration::from_millis(self.begun.heartbeat_ms);
        loop {
            match self.client.heartbeat(&self.heartbeat(), every).await {
                Ok(answer) => {
                    for held in &answer.over {
                        self.jobs().get(held).into_iter().for_each(Running::end);
                    }
                    let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
                    if *limit != answer.max_concurrent_tasks {
                        *limit = answer.max_concurrent_tasks;
                        self.room.notify_one();
                    }
                }
                Err(error) => match error.loss(self.begun.session) {
                    Some(loss) => return loss,
                    None => tracing::warn!(%error, "a heartbeat is not heard"),
                },
            }
            tokio::time::sleep(every).await;
        }
    }

    fn heartbeat(&self) -> Value {
        let mut body = serde_json::to_value(self.meter.read()).unwrap_or_default();
        body["session"] = self.begun.session.into();
        body["running"] = self.jobs().keys().map(|held| json!(held)).collect();
        body
    }

    /// Leases and starts tasks until the session is lost.
    async fn take_tasks(&self, running: &mut JoinSet<()>) -> Loss {
        self.clear().await;
        loop {
            while running.try_join_next().is_some() {}
            if !self.is_able().await {
                tokio::time::sleep(PAUSE_AFTER_FAULT).await;
                continue;
            }
            let Some(room) = self.room_left() else {
                self.room.notified().await;
                continue;
            };
            // Never broken off: the server may have given a task already.
            match self.client.lease(room).await {
                Ok(Some(task)) => self.start(task, running),
                Ok(None) => {}
                Err(error) => {
                    if let Some(loss) = error.loss(self.begun.session) {
                        return loss;
                    }
                    tracing::warn!(%error, "no task is leased");
                    tokio::time::sleep(PAUSE_AFTER_FAULT).await;
                }
            }
        }
    }

    /// Waits until no container is left of the sessions before this one.
    async fn clear(&self) {
        let Some(engine) = &self.workshop.engine else { return };
        while let Err(error) = engine.clear(self.begun.server_id).await {
            tracing::warn!(%error, "no task is leased: containers of an earlier session are still there");
            tokio::time::sleep(PAUSE_AFTER_FAULT).await;
        }
    }

    /// Whether a task could be started. Without its container engine an agent takes none: it could only fail them all.
    async fn is_able(&self) -> bool {
        let Some(engine) = &self.workshop.engine else { return true };
        let there = engine.is_there().await;
        if let Err(error) = &there {
            tracing::warn!(%error, "no task is leased");
        }
        there.is_ok()
    }

    /// What is left on this machine; none when no task has a place.
    fn room_left(&self) -> Option<Value> {
        let figures = self.meter.read();
        let jobs = self.jobs();
        let limit = *self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = self.workshop.tasks.map_or(limit, |own| own.min(limit));
        let tasks = limit.saturating_sub(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
        if tasks == 0 {
            return None;
        }
        let promised = |of_gpus: bool| -> f64 {
            let those = jobs.values().filter(|job| (job.needs.gpus > 0) == of_gpus);
            those.map(|job| job.needs.memory_gb.to_f64().unwrap_or_default()).sum()
        };
        // What is promised may not be used yet, and what is used may not be promised: the scarcer counts.
        let left = |total: f64, used: f64, promised: f64| (total - used.max(promised)).max(0.0);
        let (used, total) = figures
            .gpus
            .iter()
            .fold((0.0, 0.0), |(used, total), gpu| (used + gpu.memory_used_gb, total + gpu.memory_total_gb));
        let claimed: usize = jobs.values().map(|job| job.gpus.len()).sum();
        Some(json!({
            "session": self.begun.session,
            "tasks": tasks,
            "gpus": figures.gpus.len().saturating_sub(claimed),
            "gpu_memory_gb": decimal(left(total, used, promised(true))),
            "memory_gb": decimal(left(figures.memory_total_gb, figures.memory_used_gb, promised(false))),
            "runs": self.workshop.runs(),
        }))
    }

    fn start(&self, task: Leased, running: &mut JoinSet<()>) {
        let work = Work::of(&task.config).unwrap_or_default();
        let (needs, (end, ended)) = (work.needs(), watch::channel(false));
        let gpus = self.free_gpus(needs.gpus);
        let held = task.held;
        self.jobs().insert(held, Running { needs, gpus: gpus.clone(), end });
        let assignment = Assignment { server: self.begun.server_id, task, work, gpus };
        let (client, workshop) = (Arc::clone(&self.client), Arc::clone(&self.workshop));
        let (jobs, room) = (Arc::clone(&self.jobs), Arc::clone(&self.room));
        running.spawn(async move {
            let outcome = job::run(&client, &workshop, &assignment, ended.clone()).await;
            tell(&client, held, outcome, ended).await;
            jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(&held);
            room.notify_one();
        });
    }

    fn free_gpus(&self, wanted: u32) -> Vec<usize> {
        let count = self.meter.read().gpus.len();
        let jobs = self.jobs();
        let free = (0..count).filter(|gpu| !jobs.values().any(|job| job.gpus.contains(gpu)));
        free.take(usize::try_from(wanted).unwrap_or_default()).collect()
    }
}

fn decimal(figure: f64) -> Value {
    Decimal::from_f64(figure).unwrap_or_default().round_dp(3).to_string().into()
}

/// Tells the server what became of a job, until it has heard it or does not want to know.
async fn tell(client: &Client, held: Held, mut outcome: Outcome, mut ended: watch::Receiver<bool>) {
    for _ in 0..TELL_TRIES {
        let told = match &outcome {
            Outcome::Completed(result) => client.complete(held, result).await,
            Outcome::Failed(error) => client.fail(held, error).await,
            Outcome::Ended => return,
        };
        match told {
            Ok(()) => return,
            Err(ClientError::Refused { status: 413 | 422, .. }) => {
                outcome = Outcome::Failed("the result is too large, or holds what cannot be stored".to_owned());
                continue;
            }
            Err(error @ ClientError::Refused { .. }) => {
                tracing::warn!(task = %held.task_id, lease = held.lease, %error, "an outcome is not wanted");
                return;
            }
            Err(error) => tracing::warn!(task = %held.task_id, %error, "an outcome is told again"),
        }
        tokio::select! {
            _ = ended.wait_for(|ended| *ended) => return,
            () = tokio::time::sleep(PAUSE_AFTER_FAULT) => {}
        }
    }
}
