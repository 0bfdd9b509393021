//! A server as Owl Factory shows one: what is known of it, and what its agent measured last.

use chrono::{DateTime, Utc};
use commands::gateways::heartbeats::{Heartbeat, Heartbeats, Measured};
use projections::compute::{gpu_servers, tasks};
use rust_decimal::prelude::ToPrimitive;
use serde::Serialize;
use utoipa::ToSchema;

/// A server. What is used is null while it is offline: nobody knows it. What it has is what was known last.
#[derive(Serialize, ToSchema)]
pub(super) struct ServerOut {
    id: String,
    name: String,
    host: String,
    port: i64,
    description: Option<String>,
    /// `online`, `busy` (no room for one more task), `maintenance` (given no tasks) or `offline`.
    status: &'static str,
    is_active: bool,
    current_tasks: usize,
    max_concurrent_tasks: i64,
    /// GB: of the GPUs, or of the machine where there are none.
    total_memory: Option<f64>,
    used_memory: Option<f64>,
    gpu_count: Option<usize>,
    /// Why no GPU is measured, when none is.
    gpu_note: Option<String>,
    /// Percent.
    cpu_usage: Option<f64>,
    /// Percent, of the machine's memory.
    memory_usage: Option<f64>,
    /// When it was heard last, or when it came or went, if no heartbeat is remembered; null when it was never there.
    last_heartbeat: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// The last heartbeat of the last session, if it is remembered.
pub(super) fn last_heard(heartbeats: &Heartbeats, row: &gpu_servers::Model) -> Option<Heartbeat> {
    let (id, session) = (row.id.parse().ok()?, u32::try_from(row.session).ok()?);
    heartbeats.last(id, session)
}

/// The last heartbeat of a server that is online.
pub(super) fn live(heartbeats: &Heartbeats, row: &gpu_servers::Model) -> Option<Heartbeat> {
    last_heard(heartbeats, row).filter(|_| row.online)
}

fn status(row: &gpu_servers::Model, running: usize) -> &'static str {
    let full = i64::try_from(running).is_ok_and(|running| running >= row.max_concurrent_tasks);
    match (row.online, row.is_active, full) {
        (false, _, _) => "offline",
        (true, false, _) => "maintenance",
        (true, true, true) => "busy",
        (true, true, false) => "online",
    }
}

/// Used and total memory in GB: of the GPUs, or of the machine where there are none.
pub(super) fn memory(measured: &Measured) -> (f64, f64) {
    if measured.gpus.is_empty() {
        return (measured.memory_used_gb, measured.memory_total_gb);
    }
    let sum = |of: fn(&commands::gateways::heartbeats::MeasuredGpu) -> f64| measured.gpus.iter().map(of).sum();
    (sum(|gpu| gpu.memory_used_gb), sum(|gpu| gpu.memory_total_gb))
}

/// To one decimal.
pub(super) fn rounded(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

fn memory_usage(measured: &Measured) -> f64 {
    if measured.memory_total_gb > 0.0 {
        rounded(100.0 * measured.memory_used_gb / measured.memory_total_gb).min(100.0)
    } else {
        0.0
    }
}

/// GB and GPUs that a server has: as they were measured last, or as the log has them.
fn equipment(row: &gpu_servers::Model, last: Option<&Measured>) -> (Option<f64>, Option<usize>) {
    if let Some(last) = last {
        return (Some(rounded(memory(last).1)), Some(last.gpus.len()));
    }
    let memory_gb = row.memory_gb.and_then(|memory| memory.0.to_f64());
    (memory_gb.map(rounded), row.gpu_count.and_then(|count| usize::try_from(count).ok()))
}

impl ServerOut {
    pub(super) fn of(row: gpu_servers::Model, heard: Option<&Heartbeat>, running: usize) -> Self {
        let measured = heard.and_then(|heard| heard.figures.as_ref());
        let (total_memory, gpu_count) = equipment(&row, measured);
        let figures = measured.filter(|_| row.online);
        Self {
            status: status(&row, running),
            current_tasks: running,
            total_memory,
            used_memory: figures.map(|figures| rounded(memory(figures).0)),
            gpu_count,
            gpu_note: figures.and_then(|figures| figures.gpu_note.clone()),
            cpu_usage: figures.map(|figures| rounded(figures.cpu_usage)),
            memory_usage: figures.map(memory_usage),
            last_heartbeat: heard.map(|heard| heard.at).or(row.switched_at),
            id: row.id,
            name: row.name,
            host: row.host,
            port: row.port,
            description: row.description,
            is_active: row.is_active,
            max_concurrent_tasks: row.max_concurrent_tasks,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// A server at this moment.
#[derive(Serialize, ToSchema)]
pub(super) struct StatusOut {
    server_id: String,
    status: &'static str,
    cpu_usage: Option<f64>,
    memory_usage: Option<f64>,
    gpu_usage: Vec<GpuOut>,
    gpu_note: Option<String>,
    running_tasks: Vec<RunningOut>,
    /// When the figures were received; now when there are none.
    timestamp: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
struct GpuOut {
    gpu_id: usize,
    name: String,
    /// Percent.
    usage: f64,
    /// GB.
    memory_used: f64,
    memory_total: f64,
}

#[derive(Serialize, ToSchema)]
struct RunningOut {
    task_id: String,
    progress: f64,
}

impl StatusOut {
    pub(super) fn of(
        row: &gpu_servers::Model,
        live: Option<Heartbeat>,
        running: &[tasks::Model],
        now: DateTime<Utc>,
    ) -> Self {
        let (timestamp, figures) = live.map_or((now, None), |live| (live.at, live.figures));
        let gpu = |(gpu_id, gpu): (usize, &commands::gateways::heartbeats::MeasuredGpu)| GpuOut {
            gpu_id,
            name: gpu.name.clone(),
            usage: rounded(gpu.usage),
            memory_used: rounded(gpu.memory_used_gb),
            memory_total: rounded(gpu.memory_total_gb),
        };
        let gpus = figures.as_ref().map_or(&[][..], |figures| &figures.gpus);
        Self {
            server_id: row.id.clone(),
            status: status(row, running.len()),
            cpu_usage: figures.as_ref().map(|figures| rounded(figures.cpu_usage)),
            memory_usage: figures.as_ref().map(memory_usage),
            gpu_usage: gpus.iter().enumerate().map(gpu).collect(),
            gpu_note: figures.as_ref().and_then(|figures| figures.gpu_note.clone()),
            running_tasks: running
                .iter()
                .map(|task| RunningOut { task_id: task.id.clone(), progress: task.progress })
                .collect(),
            timestamp,
        }
    }
}
