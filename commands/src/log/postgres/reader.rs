//! Reading the table. Whatever is visible is complete: positions become visible in their order, see the migration.

mod connections;
mod copy;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::log::{CommandUnderKey, KeptCommand, LogError, Page};
use domain::{Recorded, TenantId, Text};
use futures::TryStreamExt;
use migrations::EVENT_STORE_POSTGRES;
use sqlx::Row;
use sqlx::postgres::{PgConnectOptions, PgRow};
use uuid::Uuid;

use self::connections::{Connections, Kept};
use super::super::names::Shared;
use super::{PostgresOptions, bigint, number, unavailable};

/// How many positions one page with a filter looks through: about 50 ms.
const FILTERED_POSITIONS_MAX: u64 = 100_000;

const STREAM: &str = "SELECT position, event_id, aggregate_type, aggregate_id, sequence, event_type, event_version, \
     payload, tenant, metadata, recorded_at FROM events \
     WHERE aggregate_id = $2 AND aggregate_type = $1 AND sequence > $3 ORDER BY sequence";
const HEAD: &str = "SELECT coalesce(max(position), 0) FROM events";
const NOTIFY: &str = "SELECT pg_notify($1, $2)";
const POSITION: &str = "SELECT position FROM reader_positions WHERE reader = $1";
/// Those that no session can get around.
const TRIGGERS: &str = "SELECT tgname::text FROM pg_trigger \
     WHERE tgrelid IN ('events'::regclass, 'commands'::regclass) AND tgenabled = 'A'";
const POSITIONS: &str = "SELECT reader, position FROM reader_positions";
const COMMANDS: &str = "SELECT fingerprint, first_position, last_position, answer, tenant, key FROM commands \
     WHERE (tenant, key) > ($1, $2) ORDER BY tenant, key LIMIT $3";
const COMMAND: &str =
    "SELECT fingerprint, first_position, last_position, answer FROM commands WHERE tenant = $1 AND key = $2";

/// Reads by a few connections, opened when they are needed.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    connections: Arc<Connections>,
}

impl Reader {
    pub(super) fn new(address: PgConnectOptions, options: &PostgresOptions) -> Self {
        let timeout = options.statement_timeout.as_millis().to_string();
        let address = address.options([
            ("statement_timeout", timeout.as_str()),
            ("jit", "off"),
            // All that is read stands in the order of an index. While a young log has no statistics the planner
            // would rather read and sort 100,000 events for each page of 5,000.
            ("enable_sort", "off"),
            // Nothing is written here; a notification need not wait for the disk.
            ("synchronous_commit", "off"),
            // What is quoted here is quoted by the rules of the standard.
            ("standard_conforming_strings", "on"),
        ]);
        let connections = Connections::new(address, options.readers_max, options.turn_timeout);
        Self { connections: Arc::new(connections) }
    }

    pub(super) async fn head(&self) -> Result<u64, LogError> {
        let query = |mut connection: Kept| async move {
            let head = sqlx::query_scalar(HEAD).fetch_one(&mut *connection).await?;
            Ok((number(head), connection))
        };
        self.read(query).await
    }

    pub(super) async fn notify(&self, channel: &str, position: u64) -> Result<(), LogError> {
        let query = |mut connection: Kept| async move {
            let query = sqlx::query(NOTIFY).bind(channel).bind(position.to_string());
            query.execute(&mut *connection).await?;
            Ok(((), connection))
        };
        self.read(query).await
    }

    pub(super) async fn command(&self, tenant: TenantId, key: &str) -> Result<Option<KeptCommand>, LogError> {
        if key.contains('\0') {
            return Ok(None);
        }
        let query = |mut connection: Kept| async move {
            let row = sqlx::query(COMMAND).bind(tenant.0).bind(key).fetch_optional(&mut *connection).await?;
            Ok((row.as_ref().map(kept_command).transpose()?, connection))
        };
        self.read(query).await
    }

    pub(super) async fn commands(
        &self,
        after: Option<(TenantId, String)>,
        limit: usize,
    ) -> Result<Vec<CommandUnderKey>, LogError> {
        // No tenant sorts before that of nobody, and no key is empty.
        let (tenant, key) = after.map_or((Uuid::nil(), String::new()), |(tenant, key)| (tenant.0, key));
        let query = async |mut connection: Kept| {
            let query = sqlx::query(COMMANDS).bind(tenant).bind(&key).bind(bigint(limit as u64));
            let rows = query.fetch_all(&mut *connection).await?;
            let under_key = |row: &PgRow| {
                let tenant = TenantId(row.try_get(4)?);
                Ok(CommandUnderKey { tenant, key: row.try_get(5)?, kept: kept_command(row)? })
            };
            Ok((rows.iter().map(under_key).collect::<sqlx::Result<_>>()?, connection))
        };
        self.read(query).await
    }

    pub(super) async fn positions(&self) -> Result<BTreeMap<String, u64>, LogError> {
        let query = |mut connection: Kept| async move {
            let rows: Vec<(String, i64)> = sqlx::query_as(POSITIONS).fetch_all(&mut *connection).await?;
            let positions = rows.into_iter().map(|(reader, position)| (reader, number(position)));
            Ok((positions.collect(), connection))
        };
        self.read(query).await
    }

    pub(super) async fn missing_guards(&self) -> Result<Vec<&'static str>, LogError> {
        let query = |mut connection: Kept| async move {
            let working: Vec<String> = sqlx::query_scalar(TRIGGERS).fetch_all(&mut *connection).await?;
            let missing = EVENT_STORE_POSTGRES.triggers().filter(|guard| working.iter().all(|name| name != guard));
            Ok((missing.collect(), connection))
        };
        self.read(query).await
    }

    pub(super) async fn position(&self, reader: &str) -> Result<u64, LogError> {
        let query = |mut connection: Kept| async move {
            let position = sqlx::query_scalar(POSITION).bind(reader).fetch_optional(&mut *connection).await?;
            Ok((position.map_or(0, number), connection))
        };
        self.read(query).await
    }

    pub(super) async fn stream(&self, sort: &str, id: &str, after: u64) -> Result<Vec<Recorded>, LogError> {
        if id.contains('\0') {
            return Ok(Vec::new());
        }
        let query = |mut connection: Kept| async move {
            let query = sqlx::query(STREAM).bind(sort).bind(id).bind(bigint(after));
            let (mut rows, mut shared, mut events) = (query.fetch(&mut *connection), Shared::default(), Vec::new());
            while let Some(row) = rows.try_next().await? {
                events.push(recorded(&row, &mut shared)?);
            }
            drop(rows);
            Ok((events, connection))
        };
        self.read(query).await
    }

    pub(super) async fn page(&self, after: u64, wanted: &[&str], limit: usize) -> Result<Page, LogError> {
        // Positions have no gaps: without a filter, as many positions are as many events.
        let (to, through) = if wanted.is_empty() {
            (after.saturating_add(limit as u64), after)
        } else {
            let to = self.head().await?.min(after.saturating_add(FILTERED_POSITIONS_MAX)).max(after);
            (to, to)
        };
        let statement = copy::statement(after, to, wanted, limit);
        self.read(|connection| copy::page(connection, &statement, through, limit)).await
    }

    async fn read<T, F>(&self, read: impl Fn(Kept) -> F) -> Result<T, LogError>
    where
        F: Future<Output = sqlx::Result<(T, Kept)>>,
    {
        self.connections.read(read).await.map_err(|error| unavailable(&error))
    }
}

fn kept_command(row: &PgRow) -> sqlx::Result<KeptCommand> {
    Ok(KeptCommand {
        fingerprint: row.try_get(0)?,
        first_position: number(row.try_get(1)?),
        last_position: number(row.try_get(2)?),
        answer: row.try_get(3)?,
    })
}

/// The types of the columns are known, so they are not checked for every row.
fn recorded(row: &PgRow, shared: &mut Shared) -> sqlx::Result<Recorded> {
    let text = |column: usize| row.try_get_unchecked::<&str, _>(column);
    let [aggregate_id, payload, metadata] = Text::together([text(3)?, text(7)?, text(9)?], &mut shared.scratch);
    Ok(Recorded {
        position: number(row.try_get_unchecked(0)?),
        event_id: row.try_get_unchecked::<Uuid, _>(1)?,
        aggregate_type: shared.aggregate_types.get(text(2)?),
        aggregate_id,
        sequence: number(row.try_get_unchecked(4)?),
        event_type: shared.event_types.get(text(5)?),
        event_version: version(text(6)?)?,
        payload,
        tenant: TenantId(row.try_get_unchecked(8)?),
        metadata,
        recorded_at: row.try_get_unchecked::<DateTime<Utc>, _>(10)?,
    })
}

/// Ours are whole numbers; programs that use postgres-es write `1.0` as well.
fn version(text: &str) -> sqlx::Result<u16> {
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    whole.parse().map_err(|error| sqlx::Error::ColumnDecode { index: "event_version".into(), source: Box::new(error) })
}
