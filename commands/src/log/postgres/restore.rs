//! Filling an empty table in one transaction.

use std::str::FromStr;

use async_trait::async_trait;
use domain::Recorded;
use domain::log::{CommandUnderKey, LogError};
use migrations::EVENT_STORE_POSTGRES;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

use super::super::restore::{Restore, not_empty};
use super::{bigint, unavailable};

const EMPTY: &str = "SELECT NOT EXISTS (SELECT FROM events) AND NOT EXISTS (SELECT FROM commands)";
const EVENTS: &str = "INSERT INTO events (position, event_id, aggregate_type, aggregate_id, sequence, event_type, \
     event_version, payload, tenant, metadata, recorded_at) \
     SELECT e.position, e.event_id, e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version, \
     e.payload::json, e.tenant, e.metadata::json, e.recorded_at \
     FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[], \
     $9::uuid[], $10::text[], $11::timestamptz[]) AS e (position, event_id, aggregate_type, aggregate_id, sequence, \
     event_type, event_version, payload, tenant, metadata, recorded_at)";
const COMMANDS: &str = "INSERT INTO commands (tenant, key, fingerprint, first_position, last_position, answer) \
     SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bytea[])";
const READER: &str = "INSERT INTO reader_positions (reader, position) VALUES ($1, $2) \
     ON CONFLICT (reader) DO UPDATE SET position = excluded.position";
const ANNOUNCE: &str = "SELECT pg_notify('corelog_events', position::text) FROM events ORDER BY position DESC LIMIT 1";

/// A table that is being filled. Nobody else can append meanwhile.
#[derive(Debug)]
pub struct PostgresRestore {
    /// In a transaction, which ends with it.
    connection: PgConnection,
}

impl PostgresRestore {
    /// Begins to fill the log in the database at `url`, whose tables are made when there are none.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when it is not empty, or the database cannot be reached.
    pub async fn begin(url: &str) -> Result<Self, LogError> {
        let address = PgConnectOptions::from_str(url).map_err(|error| unavailable(&error))?;
        let mut connection = address.connect().await.map_err(|error| unavailable(&error))?;
        let applied = EVENT_STORE_POSTGRES.apply_postgres(&mut connection).await;
        applied.map_err(|error| LogError::Unavailable(error.to_string()))?;
        let mut restore = Self { connection };
        if !restore.takes_turn().await.map_err(|error| unavailable(&error))? {
            return Err(not_empty());
        }
        Ok(restore)
    }

    /// Opens the transaction; whether the log is empty.
    async fn takes_turn(&mut self) -> sqlx::Result<bool> {
        sqlx::raw_sql("BEGIN; SELECT await_turn_to_append()").execute(&mut self.connection).await?;
        sqlx::query_scalar(EMPTY).fetch_one(&mut self.connection).await
    }

    async fn insert_events(&mut self, events: &[Recorded]) -> sqlx::Result<()> {
        let texts = |text: fn(&Recorded) -> &str| events.iter().map(text).collect::<Vec<&str>>();
        sqlx::query(EVENTS)
            .bind(events.iter().map(|event| bigint(event.position)).collect::<Vec<_>>())
            .bind(events.iter().map(|event| event.event_id).collect::<Vec<_>>())
            .bind(texts(|event| &event.aggregate_type))
            .bind(texts(|event| &event.aggregate_id))
            .bind(events.iter().map(|event| bigint(event.sequence)).collect::<Vec<_>>())
            .bind(texts(|event| &event.event_type))
            .bind(events.iter().map(|event| event.event_version.to_string()).collect::<Vec<_>>())
            .bind(texts(|event| &event.payload))
            .bind(events.iter().map(|event| event.tenant.0).collect::<Vec<_>>())
            .bind(texts(|event| &event.metadata))
            .bind(events.iter().map(|event| event.recorded_at).collect::<Vec<_>>())
            .execute(&mut self.connection)
            .await
            .map(|_| ())
    }

    async fn insert_commands(&mut self, commands: &[CommandUnderKey]) -> sqlx::Result<()> {
        sqlx::query(COMMANDS)
            .bind(commands.iter().map(|command| command.tenant.0).collect::<Vec<_>>())
            .bind(commands.iter().map(|command| command.key.as_str()).collect::<Vec<_>>())
            .bind(commands.iter().map(|command| command.kept.fingerprint.as_slice()).collect::<Vec<_>>())
            .bind(commands.iter().map(|command| bigint(command.kept.first_position)).collect::<Vec<_>>())
            .bind(commands.iter().map(|command| bigint(command.kept.last_position)).collect::<Vec<_>>())
            .bind(commands.iter().map(|command| command.kept.answer.as_deref()).collect::<Vec<_>>())
            .execute(&mut self.connection)
            .await
            .map(|_| ())
    }

    async fn end(&mut self) -> sqlx::Result<()> {
        sqlx::query(ANNOUNCE).execute(&mut self.connection).await?;
        sqlx::query("COMMIT").execute(&mut self.connection).await.map(|_| ())
    }
}

#[async_trait]
impl Restore for PostgresRestore {
    async fn events(&mut self, events: Vec<Recorded>) -> Result<(), LogError> {
        self.insert_events(&events).await.map_err(|error| unavailable(&error))
    }

    async fn commands(&mut self, commands: Vec<CommandUnderKey>) -> Result<(), LogError> {
        self.insert_commands(&commands).await.map_err(|error| unavailable(&error))
    }

    async fn reader_position(&mut self, reader: String, position: u64) -> Result<(), LogError> {
        let insert = sqlx::query(READER).bind(reader).bind(bigint(position)).execute(&mut self.connection).await;
        insert.map(|_| ()).map_err(|error| unavailable(&error))
    }

    async fn commit(mut self: Box<Self>) -> Result<(), LogError> {
        self.end().await.map_err(|error| unavailable(&error))?;
        self.connection.close().await.map_err(|error| unavailable(&error))
    }
}
