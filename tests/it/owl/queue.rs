//! Eight thousand tasks on five servers, by a clock that jumps from one end of a run to the next: who waits how long.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::DateTime;
use commands::log::MemoryLog;
use commands::{Clock, CommandBus, CommandContext};
use domain::compute::scheduling::{Needs, PATIENCE, Room, Search, Waiting};
use domain::compute::task::work::TaskRequest;
use domain::compute::task::{Allowance, Task, TaskCommand, TaskStatus};
use domain::metadata::{Metadata, TenantId, UserId};
use serde_json::json;
use uuid::Uuid;

const TASKS: u32 = 8_000;
const SERVERS: usize = 5;
const ROOM: Room = Room {
    tasks: 4,
    gpus: 2,
    gpu_memory_gb: rust_decimal::Decimal::from_parts(24, 0, 0, false, 0),
    memory_gb: rust_decimal::Decimal::from_parts(64, 0, 0, false, 0),
};

/// One task of the replay.
#[derive(Clone)]
struct Planned {
    id: Uuid,
    priority: u8,
    submitted_at: i64,
    seconds: i64,
    needs: Needs,
}

/// The same tasks every time: a steady stream, somewhat more than the servers can do at first.
fn plan() -> Vec<Planned> {
    let mut seed = 12_345_u32;
    let mut next = move |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) % below
    };
    let planned = (0..TASKS).map(|number| Planned {
        id: Uuid::from_u128(u128::from(number) + 1),
        priority: u8::try_from(next(5) + 1).unwrap(),
        submitted_at: i64::from(number) * 10,
        seconds: i64::from(next(360) + 60),
        needs: match next(4) {
            0 => Needs { gpus: 1, memory_gb: next(12).into() },
            1 => Needs { gpus: 2, memory_gb: 20.into() },
            _ => Needs { gpus: 0, memory_gb: next(32).into() },
        },
    });
    planned.collect()
}

struct Replay {
    bus: CommandBus,
    now: Arc<AtomicI64>,
    free: Vec<Room>,
    /// (end, server, place in `done`), the earliest end first.
    running: BinaryHeap<Reverse<(i64, usize, usize)>>,
    line: Vec<Planned>,
    /// What was started, and when.
    done: Vec<(Planned, i64)>,
}

impl Replay {
    fn new() -> Self {
        let now = Arc::<AtomicI64>::default();
        let read = Arc::clone(&now);
        let clock =
            Clock::reading(move || DateTime::from_timestamp(read.load(Ordering::SeqCst), 0).unwrap_or_default());
        let bus = CommandBus::new(Arc::new(MemoryLog::new()), clock);
        Self { bus, now, free: vec![ROOM; SERVERS], running: BinaryHeap::new(), line: Vec::new(), done: Vec::new() }
    }

    async fn tell(&self, id: Uuid, command: TaskCommand) {
        let context = CommandContext::new(Metadata::of(TenantId::DEFAULT, "system", "cli", Uuid::nil()));
        self.bus.execute::<Task>(&id.to_string(), command, &context).await.unwrap();
    }

    async fn submit(&mut self, task: Planned) {
        let config = json!({ "gpu_count": task.needs.gpus, "memory_gb": 0 });
        let request = TaskRequest {
            title: "x".into(),
            description: None,
            task_type: "inference".into(),
            priority: task.priority,
            estimated_minutes: None,
            config,
        };
        let allowance = Allowance { available: 1_000_000.into(), unfinished: 0, limit: 1 };
        let (owner, timeout_seconds, ttl_seconds) = (UserId(Uuid::nil()), 3_600, 7 * 24 * 3_600);
        self.tell(task.id, TaskCommand::Submit { owner, request, timeout_seconds, ttl_seconds, allowance }).await;
        self.line.push(task);
        self.line.sort_by_key(|task| (Reverse(task.priority), task.id));
    }

    async fn fill(&mut self) {
        let now = self.now.load(Ordering::SeqCst);
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let waiting = |(_, task): &(usize, &Planned)| Waiting { needs: task.needs, since: at(task.submitted_at) };
        for server in 0..SERVERS {
            let found = |line: &[Planned], free| {
                Search::new(free, ROOM, at(now)).next_of(line.iter().enumerate(), waiting).map(|(place, _)| place)
            };
            while let Some(place) = found(&self.line, self.free[server]) {
                let task = self.line.remove(place);
                let lease = 1;
                self.tell(task.id, TaskCommand::Lease { server_id: Uuid::from_u128(server as u128), session: 1 }).await;
                self.tell(task.id, TaskCommand::Start { lease }).await;
                self.free[server] = self.free[server].without(task.needs);
                self.running.push(Reverse((now + task.seconds, server, self.done.len())));
                self.done.push((task, now));
            }
        }
    }

    async fn end(&mut self, server: usize, place: usize) {
        let task = self.done[place].0.clone();
        self.tell(task.id, TaskCommand::Complete { lease: 1, result: json!({}) }).await;
        self.free[server] = self.free[server].with(task.needs);
    }

    /// The longest wait, in seconds, of those that `of` picks.
    fn longest_wait(&self, of: impl Fn(&Planned) -> bool) -> i64 {
        let waits = self.done.iter().filter(|(task, _)| of(task)).map(|(task, at)| at - task.submitted_at);
        waits.max().unwrap()
    }

    async fn run(&mut self, plan: Vec<Planned>) {
        let mut coming = plan.into_iter().peekable();
        loop {
            let next_end = self.running.peek().map(|Reverse((end, ..))| *end);
            match (coming.peek().map(|task| task.submitted_at), next_end) {
                (Some(submitted_at), end) if end.is_none_or(|end| submitted_at < end) => {
                    self.now.store(submitted_at, Ordering::SeqCst);
                    let task = coming.next().unwrap();
                    self.submit(task).await;
                }
                (_, Some(end)) => {
                    self.now.store(end, Ordering::SeqCst);
                    let Some(Reverse((_, server, place))) = self.running.pop() else { break };
                    self.end(server, place).await;
                }
                (_, None) => break,
            }
            self.fill().await;
        }
    }
}

#[tokio::test]
async fn eight_thousand_tasks_are_served_by_priority_and_in_turn() {
    let mut replay = Replay::new();
    replay.run(plan()).await;
    assert_eq!((replay.done.len(), replay.line.len()), (TASKS as usize, 0));
    for (task, _) in &replay.done {
        let (state, _) = replay.bus.load::<Task>(&task.id.to_string()).await.unwrap();
        assert_eq!(state.known().unwrap().status, TaskStatus::Completed);
    }
    for gpus in 0..=2 {
        let longest = |priority| replay.longest_wait(|task| task.priority == priority && task.needs.gpus == gpus);
        eprintln!("{gpus} GPUs: longest wait by priority {:?} s", (1..=5).map(longest).collect::<Vec<_>>());
    }
    // Nothing is passed over for long where there is room for all of a priority.
    assert!(replay.longest_wait(|task| task.priority >= 4) < 3 * PATIENCE.num_seconds());
    let mut means = Vec::new();
    for priority in 1..=5 {
        let of_priority = || replay.done.iter().filter(|(task, _)| task.priority == priority);
        let mut waits: Vec<i64> = of_priority().map(|(task, started_at)| started_at - task.submitted_at).collect();
        waits.sort_unstable();
        let mean = waits.iter().sum::<i64>() / i64::try_from(waits.len()).unwrap();
        eprintln!(
            "priority {priority}: {} tasks, mean wait {mean} s, median {} s, p95 {} s, longest {} s",
            waits.len(),
            waits[waits.len() / 2],
            waits[waits.len() * 95 / 100],
            waits[waits.len() - 1]
        );
        means.push(mean);
        // Among those that need the same, whoever came first started first.
        for gpus in 0..=2 {
            let biggest =
                of_priority().filter(|(task, _)| task.needs.gpus == gpus).map(|(task, _)| task.needs.memory_gb);
            let biggest = biggest.max().unwrap();
            let alike = of_priority().filter(|(task, _)| task.needs == Needs { gpus, memory_gb: biggest });
            let ids: Vec<Uuid> = alike.map(|(task, _)| task.id).collect();
            assert!(ids.is_sorted(), "priority {priority}, {gpus} GPUs");
        }
    }
    assert!(means.is_sorted_by(|lower, higher| lower >= higher), "{means:?}");
}
