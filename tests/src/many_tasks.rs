//! Very many tasks of one user, made by the database, which takes seconds where a log of them takes minutes.

use domain::metadata::{TenantId, UserId};
use projections::ReadModels;
use projections::compute::tasks::Lists;
use sea_orm::ConnectionTrait;

use crate::engine::Engine;

const STATUSES: [&str; 4] = ["pending", "running", "completed", "failed"];
/// One in 100,003 is of the last type.
const TYPES: [&str; 3] = ["training", "inference", "simulation"];

/// Fills the tables of tasks, as far as lists look at them.
pub async fn fill(models: &ReadModels, engine: Engine, user: UserId, tasks: u64) {
    for statement in statements(engine, user, tasks) {
        models.write.execute_unprepared(&statement).await.unwrap();
    }
}

fn statements(engine: Engine, user: UserId, count: u64) -> [String; 3] {
    let (id, changed_at) = match engine {
        Engine::Sqlite => {
            ("printf('%032x', n)", "strftime('%Y-%m-%dT%H:%M:%S+00:00', 1700000000 + changed, 'unixepoch')")
        }
        Engine::Postgres => ("lpad(to_hex(n), 32, '0')", "to_timestamp(1700000000 + changed)"),
    };
    let created_at = changed_at.replace("changed", "n");
    let (tenant, lists) = (TenantId::DEFAULT, lists(user));
    let tasks = format!(
        "WITH RECURSIVE numbers(n) AS (SELECT CAST(1 AS bigint) UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}), \
         lists(status, task_type, of_user, of_status, of_type, of_status_and_type) AS (VALUES {lists}), \
         places AS (SELECT n, (n * 7919) % 1000003 AS changed, \
         CASE WHEN n % 1000 = 0 THEN 'running' WHEN n % 1000 = 1 THEN 'pending' WHEN n % 10 = 0 THEN 'failed' \
         ELSE 'completed' END AS status, CASE WHEN n % 100003 = 77 THEN 'simulation' WHEN n % 4 = 0 THEN 'training' \
         ELSE 'inference' END AS task_type FROM numbers) \
         INSERT INTO tasks_v3 (id, tenant, user_id, title, task_type, status, progress, priority, lease, gpus, memory_gb, \
         config, cost, earlier_cost, paid, created_at, updated_at, queued, position, changed, of_user, of_status, of_type, \
         of_status_and_type) \
         SELECT {id}, '{tenant}', '{user}', 'task ' || n, p.task_type, p.status, 0.0, n % 5 + 1, 0, 0, '0', '{{}}', '0', '0', \
         '0', \
         {created_at}, {changed_at}, n, n, changed, of_user, of_status, of_type, of_status_and_type \
         FROM places p JOIN lists l ON l.status = p.status AND l.task_type = p.task_type"
    );
    let counts = "INSERT INTO task_counts_v2 (id, tenant, user_id, status, task_type, tasks, deleted) \
         SELECT user_id || '/' || status || '/' || task_type, tenant, user_id, status, task_type, count(*), 0 \
         FROM tasks_v3 GROUP BY tenant, user_id, status, task_type";
    let (counts, look) = match engine {
        Engine::Sqlite => (counts.to_owned(), "ANALYZE"),
        // Read models are not flushed commit by commit, and what is not flushed is not yet visible to all: an index alone
        // would not do for reading it.
        Engine::Postgres => {
            (format!("BEGIN; SET LOCAL synchronous_commit = on; {counts}; COMMIT"), "VACUUM ANALYZE tasks_v3")
        }
    };
    [tasks, counts, look.to_owned()]
}

/// The numbers of all lists, as rows.
fn lists(user: UserId) -> String {
    let mut rows = Vec::new();
    for status in STATUSES {
        for task_type in TYPES {
            let Lists { of_user, of_status, of_type, of_status_and_type } =
                Lists::of(&user.to_string(), status, task_type);
            let numbers = format!("{of_user}, {of_status}, {of_type}, {of_status_and_type}");
            rows.push(format!("('{status}', '{task_type}', {numbers})"));
        }
    }
    rows.join(", ")
}
