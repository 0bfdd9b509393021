//! Words on PostgreSQL, where each begins with the name of the run of lines that its line is of.

use commands::gateways::log_lines::{Level, LineFilter, LogLines, NewLine, StoredLines};
use domain::metadata::TenantId;
use migrations::{LOG_LINES_POSTGRES, Schema};
use sqlx::{Executor, query};
use tests::postgres::Database;

use super::{line, numbers, start, system, user};

/// The first line of a run that has the name of the first run.
const FIRST_OF_SAME_NAME: i64 = 16_384 * 4_096;

/// A search for the word of lines of hundreds.
fn overheated() -> LineFilter {
    LineFilter { search: Some("overheat".into()), ..system() }
}

#[tokio::test]
async fn runs_of_one_name_are_not_mixed_up() {
    let database = Database::create().await;
    let lines = StoredLines::postgres(&database.url()).await.unwrap();
    lines.append((1..=300).map(line).collect(), None).await.unwrap();
    // As if all lines between had gone.
    let last = format!("UPDATE log_lines SET id = {} WHERE id = 299", FIRST_OF_SAME_NAME - 2);
    database.connect().await.execute(last.as_str()).await.unwrap();
    lines.append((301..=500).map(line).collect(), None).await.unwrap();
    let page = lines.page(&overheated(), 0, 3).await.unwrap();
    assert_eq!((numbers(&page), page.total), (vec![500, 400, 300], 5));
    let page = lines.page(&overheated(), 3, 3).await.unwrap();
    assert_eq!(numbers(&page), [200, 100]);
}

#[tokio::test]
async fn lines_that_were_kept_before_words_had_runs_are_found() {
    let database = Database::create().await;
    let before = Schema { name: LOG_LINES_POSTGRES.name, files: &LOG_LINES_POSTGRES.files[..1] };
    let mut connection = database.connect().await;
    before.apply_postgres(&mut connection).await.unwrap();
    let insert = "INSERT INTO log_lines (id, at, tenant, source, level, message, fields, user_id, words) \
         VALUES ($1, $2, $3, 'system', 'ERROR', $4, '{}', $5, array_to_tsvector(string_to_array($4, ' ')))";
    for (id, message) in [(7, "step 1 overheated"), (20_000, "step 2 overheated"), (20_001, "step 3 cooled")] {
        let (at, user) = (start().timestamp_micros(), user(1).0);
        let row = query(insert).bind(id).bind(at).bind(TenantId::DEFAULT.0).bind(message).bind(user);
        row.execute(&mut connection).await.unwrap();
    }
    let lines = StoredLines::postgres(&database.url()).await.unwrap();
    let critical = NewLine { level: Level::Critical, ..line(100) };
    lines.append(vec![critical], None).await.unwrap();
    for (filter, expected) in [
        (overheated(), vec![100, 2, 1]),
        (LineFilter { level: Some(Level::Error), ..overheated() }, vec![2, 1]),
        (LineFilter { user: Some(user(1)), level: Some(Level::Error), ..overheated() }, vec![2, 1]),
        (LineFilter { user: Some(user(2)), ..overheated() }, vec![]),
        (LineFilter { search: Some("cooled".into()), ..overheated() }, vec![3]),
    ] {
        assert_eq!(numbers(&lines.page(&filter, 0, 10).await.unwrap()), expected, "{filter:?}");
    }
}
