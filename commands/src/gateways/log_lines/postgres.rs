//! Log lines in PostgreSQL, in the database of the log.

mod runs;

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, Postgres};
use sqlx::{ConnectOptions, PgConnection, QueryBuilder, query, query_as, query_scalar};
use uuid::Uuid;

use super::pages::{LineTables, MATCHES_MAX, Matches, Part};
use super::rows::{self, Ids, Row, SELECT, ids_of, push_where};
use super::words::Wanted;
use super::{Line, LineFilter, LinesFault, NewLine, Reached, Source, overtaken};

const CONNECTIONS: u32 = 4;
/// Held while lines are appended, so that ids are in the order of commits over all servers.
const APPEND_LOCK: i64 = 0x636f_7265_6c6f_6710;
/// Every question has an index. How many lines have a word of a run the planner cannot know, and what it guesses would
/// have it read the whole table, or compile a query that is then done in milliseconds.
const PLANNER: [(&str, &str); 2] = [("enable_seqscan", "off"), ("jit", "off")];
/// A server that was stopped in the middle of a transaction must not keep the lines of all others waiting.
const SILENCE_MAX: (&str, &str) = ("idle_in_transaction_session_timeout", "10s");
const INSERT: &str = "INSERT INTO log_lines (id, at, tenant, source, level, message, fields, request_id, user_id, \
     task_id, words) SELECT id, at, tenant, source, level, message, fields, request_id, user_id, task_id, \
     coalesce(array_to_tsvector(string_to_array(nullif(words, ''), ' ')), ''::tsvector) FROM unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::text[], \
     $5::text[], $6::text[], $7::text[], $8::uuid[], $9::uuid[], $10::uuid[], $11::text[]) \
     AS l (id, at, tenant, source, level, message, fields, request_id, user_id, task_id, words)";
const COUNT: &str = "INSERT INTO log_line_counts AS c (tenant, source, facet, bucket, lines) \
     SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) \
     ON CONFLICT (tenant, source, facet, bucket) DO UPDATE SET lines = c.lines + excluded.lines";
const REACH: &str = "INSERT INTO log_line_readers (reader, position) VALUES ($1, $2) \
     ON CONFLICT (reader) DO UPDATE SET position = excluded.position WHERE log_line_readers.position = $3";

/// Lines in PostgreSQL.
pub(super) struct PostgresLines {
    pool: PgPool,
}

impl PostgresLines {
    pub(super) async fn connect(url: &str) -> Result<Self, LinesFault> {
        // Its own statements are no lines.
        let options =
            url.parse::<PgConnectOptions>()?.disable_statement_logging().options(PLANNER).options([SILENCE_MAX]);
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
        migrations::LOG_LINES_POSTGRES.apply_postgres(&mut *pool.acquire().await?).await?;
        Ok(Self { pool })
    }
}

/// Lines as columns.
#[derive(Default)]
struct Columns {
    ids: Vec<i64>,
    times: Vec<i64>,
    tenants: Vec<Uuid>,
    sources: Vec<&'static str>,
    levels: Vec<&'static str>,
    messages: Vec<String>,
    fields: Vec<String>,
    requests: Vec<Option<Uuid>>,
    users: Vec<Option<Uuid>>,
    tasks: Vec<Option<Uuid>>,
    words: Vec<String>,
}

/// PostgreSQL stores no NUL in a text.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl Columns {
    fn of(lines: &[NewLine], first: i64, last_times: &mut BTreeMap<Source, i64>) -> Self {
        let mut columns = Self::default();
        for (line, id) in lines.iter().zip(first..) {
            let last = last_times.entry(line.source).or_default();
            *last = line.at.timestamp_micros().max(*last);
            columns.ids.push(id);
            columns.times.push(*last);
            columns.tenants.push(line.tenant.0);
            columns.sources.push(line.source.name());
            columns.levels.push(line.level.name());
            columns.messages.push(storable(rows::message(line)));
            columns.fields.push(rows::fields(line));
            columns.requests.push(line.request_id);
            columns.users.push(line.user.map(|user| user.0));
            columns.tasks.push(line.task);
            columns.words.push(runs::words_of(line, id).join(" "));
        }
        columns
    }

    async fn insert(&self, connection: &mut PgConnection) -> Result<(), LinesFault> {
        let insert = query(INSERT).bind(&self.ids).bind(&self.times).bind(&self.tenants).bind(&self.sources);
        let insert = insert.bind(&self.levels).bind(&self.messages).bind(&self.fields).bind(&self.requests);
        insert.bind(&self.users).bind(&self.tasks).bind(&self.words).execute(connection).await?;
        Ok(())
    }
}

async fn count(connection: &mut PgConnection, lines: &[NewLine], first: i64) -> Result<(), LinesFault> {
    let (mut tenants, mut sources, mut facets, mut buckets, mut numbers) = (vec![], vec![], vec![], vec![], vec![]);
    for ((tenant, source, facet, bucket), lines) in rows::counts(lines, first) {
        tenants.push(tenant);
        sources.push(source);
        facets.push(facet);
        buckets.push(bucket);
        numbers.push(lines);
    }
    let count = query(COUNT).bind(&tenants).bind(&sources).bind(&facets).bind(&buckets).bind(&numbers);
    count.execute(connection).await?;
    Ok(())
}

async fn last_times(connection: &mut PgConnection) -> Result<BTreeMap<Source, i64>, LinesFault> {
    let mut times = BTreeMap::new();
    for source in Source::ALL {
        let last: Option<i64> = query_scalar("SELECT max(at) FROM log_lines WHERE source = $1")
            .bind(source.name())
            .fetch_one(&mut *connection)
            .await?;
        times.insert(source, last.unwrap_or(0));
    }
    Ok(times)
}

fn in_lines(rows: Vec<Row>) -> Result<Vec<Line>, LinesFault> {
    rows.into_iter().map(rows::line).collect()
}

fn bounded(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[async_trait]
impl LineTables for PostgresLines {
    async fn append(&self, lines: Vec<NewLine>, reached: Option<Reached>) -> Result<(), LinesFault> {
        let mut transaction = self.pool.begin().await?;
        query("SELECT pg_advisory_xact_lock($1)").bind(APPEND_LOCK).execute(&mut *transaction).await?;
        if !lines.is_empty() {
            let last: Option<i64> = query_scalar("SELECT max(id) FROM log_lines").fetch_one(&mut *transaction).await?;
            let first = last.unwrap_or(0) + 1;
            let mut times = last_times(&mut transaction).await?;
            Columns::of(&lines, first, &mut times).insert(&mut transaction).await?;
            count(&mut transaction, &lines, first).await?;
        }
        if let Some(Reached { reader, from, position }) = reached {
            let reach = query(REACH).bind(reader).bind(position.cast_signed()).bind(from.cast_signed());
            if reach.execute(&mut *transaction).await?.rows_affected() == 0 {
                return Err(overtaken(reader));
            }
        }
        Ok(transaction.commit().await?)
    }

    async fn reached(&self, reader: &str) -> Result<u64, LinesFault> {
        let position = query_scalar::<_, i64>("SELECT position FROM log_line_readers WHERE reader = $1");
        let position = position.bind(reader).fetch_optional(&self.pool).await?;
        Ok(position.map_or(0, i64::cast_unsigned))
    }

    async fn ends(&self) -> Result<Option<Ids>, LinesFault> {
        let ends: (Option<i64>, Option<i64>) =
            query_as("SELECT min(id), max(id) FROM log_lines").fetch_one(&self.pool).await?;
        Ok(ends.0.zip(ends.1).map(|(first, last)| Ids { first, last }))
    }

    async fn first_since(&self, source: Source, at: DateTime<Utc>) -> Result<Option<i64>, LinesFault> {
        // The lowest id of the first moment: lines of one moment have ids in a row.
        let first = "SELECT min(id) FROM log_lines WHERE source = $1 AND at = \
             (SELECT min(at) FROM log_lines WHERE source = $1 AND at >= $2)";
        let first = query_scalar(first).bind(source.name()).bind(at.timestamp_micros());
        Ok(first.fetch_one(&self.pool).await?)
    }

    async fn counts(&self, filter: &LineFilter, facet: &str, buckets: Ids) -> Result<Vec<(i64, i64)>, LinesFault> {
        let counts = query_as(
            "SELECT bucket, lines FROM log_line_counts WHERE tenant = $1 AND source = $2 AND facet = $3 \
             AND bucket >= $4 AND bucket <= $5 ORDER BY bucket DESC",
        );
        let counts = counts.bind(filter.tenant.0).bind(filter.source.name()).bind(facet);
        Ok(counts.bind(buckets.first).bind(buckets.last).fetch_all(&self.pool).await?)
    }

    async fn count(&self, filter: &LineFilter, ids: Ids, limit: u64) -> Result<u64, LinesFault> {
        let mut query = QueryBuilder::<Postgres>::new("SELECT count(*) FROM (SELECT 1 FROM log_lines ");
        push_where(&mut query, filter, ids);
        query.push(" LIMIT ").push_bind(bounded(limit)).push(") l");
        let lines: i64 = query.build_query_scalar().fetch_one(&self.pool).await?;
        Ok(lines.unsigned_abs())
    }

    async fn newest(&self, filter: &LineFilter, ids: Ids, part: Part) -> Result<Vec<Line>, LinesFault> {
        let mut query = QueryBuilder::<Postgres>::new(SELECT);
        push_where(&mut query, filter, ids);
        query.push(" ORDER BY id DESC LIMIT ").push_bind(bounded(part.limit));
        query.push(" OFFSET ").push_bind(bounded(part.offset));
        in_lines(query.build_query_as().fetch_all(&self.pool).await?)
    }

    async fn oldest(&self, filter: &LineFilter, ids: Ids, limit: u64) -> Result<Vec<Line>, LinesFault> {
        let mut query = QueryBuilder::<Postgres>::new(SELECT);
        push_where(&mut query, filter, ids);
        query.push(" ORDER BY id LIMIT ").push_bind(bounded(limit));
        in_lines(query.build_query_as().fetch_all(&self.pool).await?)
    }

    async fn matches(&self, wanted: &[Wanted], of: &LineFilter, ids: Ids, _: u64) -> Result<Matches, LinesFault> {
        let limit = bounded(MATCHES_MAX + 1);
        let mut query = runs::newest_with(wanted, of, ids, limit);
        let ids: Vec<i64> = query.build_query_scalar().fetch_all(&self.pool).await?;
        Ok(Matches { complete: ids.len() as u64 <= MATCHES_MAX, ids })
    }

    async fn by_ids(&self, ids: &[i64]) -> Result<Vec<Line>, LinesFault> {
        let mut query = QueryBuilder::<Postgres>::new(SELECT);
        query.push("WHERE id = ANY(").push_bind(ids.to_vec()).push(")");
        in_lines(query.build_query_as().fetch_all(&self.pool).await?)
    }

    async fn let_go(&self, bucket: i64) -> Result<u64, LinesFault> {
        let Ids { first, last } = ids_of(bucket);
        let mut transaction = self.pool.begin().await?;
        let gone = query("DELETE FROM log_lines WHERE id >= $1 AND id <= $2 AND source <> 'action'");
        let gone = gone.bind(first).bind(last).execute(&mut *transaction).await?;
        let counts = query("DELETE FROM log_line_counts WHERE bucket = $1 AND source <> 'action'").bind(bucket);
        counts.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(gone.rows_affected())
    }
}
