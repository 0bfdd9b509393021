//! Folds batches of events into the rows of one projection.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::event::{DecodeError, Recorded};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ColumnTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityName, EntityTrait, IdenStatic,
    IntoActiveModel, Iterable, ModelTrait, PaginatorTrait, PrimaryKeyToColumn, QueryFilter, QueryOrder, QuerySelect,
    Schema, Statement,
};

use crate::difference::{self, Comparison};
use crate::projection::Projection;
use crate::shown;

/// Rows kept in memory between batches, per projection; beyond it they are read again when touched.
const ROWS_CACHED_MAX: usize = 20_000;
/// Values bound in one statement; SQLite allows 32,766, PostgreSQL 65,535.
const BOUND_VALUES_MAX: usize = 30_000;
/// Keys looked up by one statement.
const KEYS_PER_SELECT: usize = 1_000;

/// A projection without its types: what the runner and the replay tools handle.
#[async_trait]
pub trait AnyProjector: Send + Sync {
    /// The name operators see.
    fn name(&self) -> &'static str;
    /// The table, version included.
    fn table(&self) -> &'static str;
    /// Whether it consumes events of this sort of aggregate.
    fn consumes(&self, aggregate_type: &str) -> bool;
    /// The sorts of aggregates it consumes.
    fn aggregate_types(&self) -> &'static [&'static str];
    /// The statements that create its table and indexes where missing.
    fn create_statements(&self, backend: DbBackend) -> Vec<Statement>;
    /// Reads a batch of events, all of a sort that it consumes. Takes up no database.
    fn decode(&mut self, events: &[&Recorded]) -> Result<(), DecodeError>;
    /// Folds the batch that was decoded last, which is `events`, and writes the rows it touches.
    async fn project(&mut self, txn: &DatabaseTransaction, events: &[&Recorded]) -> Result<(), DbErr>;
    /// Drops the rows in memory: after a transaction that failed, or when somebody else wrote the table.
    fn forget(&mut self);
    /// The differences between its tables in two databases, at most `limit` rows.
    async fn compare(
        &self,
        first: &DatabaseTransaction,
        second: &DatabaseTransaction,
        limit: usize,
    ) -> Result<Comparison, DbErr>;
    /// The rows in order of their key from `offset`, each as (column, value) pairs.
    async fn rows(&self, db: &DatabaseConnection, offset: u64, limit: u64) -> Result<Vec<ShownRow>, DbErr>;
    /// How many rows there are.
    async fn count(&self, db: &DatabaseConnection) -> Result<u64, DbErr>;
}

/// A row as (column, value) pairs.
pub type ShownRow = Vec<(String, serde_json::Value)>;

/// The projector of projection `P`.
pub struct Projector<P: Projection> {
    rows: HashMap<P::Key, Option<P::Row>>,
    /// All rows of the table are in `rows`: true from an empty table on, until rows are let go.
    complete: bool,
    /// What was decoded and waits to be folded.
    batch: Vec<Decoded<P>>,
}

/// An event as `P` reads it, the rows it touches, and its place in the batch.
struct Decoded<P: Projection> {
    event: P::Event,
    keys: Vec<P::Key>,
    place: usize,
}

impl<P: Projection> Projector<P> {
    /// A projector with nothing in memory.
    pub fn boxed() -> Box<dyn AnyProjector> {
        debug_assert_eq!(P::Entity::default().table_name(), P::TABLE, "the table of {} has another name", P::NAME);
        Box::new(Self { rows: HashMap::new(), complete: false, batch: Vec::new() })
    }

    async fn load(&mut self, txn: &DatabaseTransaction, keys: Vec<P::Key>) -> Result<(), DbErr> {
        if self.complete {
            return Ok(());
        }
        let mut missing: Vec<P::Key> = keys.into_iter().filter(|key| !self.rows.contains_key(key)).collect();
        missing.sort_unstable();
        missing.dedup();
        for chunk in missing.chunks(KEYS_PER_SELECT) {
            let found = P::Entity::find().filter(key_column::<P>().is_in(chunk.iter().cloned())).all(txn).await?;
            self.rows.extend(found.into_iter().map(|row| (P::key(&row), Some(row))));
        }
        Ok(())
    }

    async fn write(&self, txn: &DatabaseTransaction, touched: Vec<P::Key>) -> Result<(), DbErr> {
        let mut upserts = Vec::with_capacity(touched.len());
        let mut deletions = Vec::new();
        for key in touched {
            match self.rows.get(&key) {
                Some(Some(row)) => upserts.push(row.clone()),
                Some(None) | None => deletions.push(key),
            }
        }
        let columns = <P::Entity as EntityTrait>::Column::iter().count();
        for chunk in upserts.chunks((BOUND_VALUES_MAX / columns).max(1)) {
            let rows = chunk.iter().cloned().map(IntoActiveModel::into_active_model);
            P::Entity::insert_many(rows).on_conflict(replace_row::<P>()).exec_without_returning(txn).await?;
        }
        for chunk in deletions.chunks(KEYS_PER_SELECT) {
            P::Entity::delete_many().filter(key_column::<P>().is_in(chunk.iter().cloned())).exec(txn).await?;
        }
        Ok(())
    }
}

pub(crate) fn key_column<P: Projection>() -> <P::Entity as EntityTrait>::Column {
    let mut keys = <P::Entity as EntityTrait>::PrimaryKey::iter();
    match keys.next() {
        Some(key) => key.into_column(),
        None => unreachable!("an entity without a primary key does not compile"),
    }
}

fn replace_row<P: Projection>() -> OnConflict {
    let key = key_column::<P>();
    let others = <P::Entity as EntityTrait>::Column::iter().filter(|column| column.as_str() != key.as_str());
    OnConflict::column(key).update_columns(others).to_owned()
}

#[async_trait]
impl<P: Projection> AnyProjector for Projector<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn table(&self) -> &'static str {
        P::TABLE
    }

    fn consumes(&self, aggregate_type: &str) -> bool {
        P::CONSUMES.contains(&aggregate_type)
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        P::CONSUMES
    }

    fn create_statements(&self, backend: DbBackend) -> Vec<Statement> {
        let schema = Schema::new(backend);
        let entity = P::Entity::default();
        let mut statements = vec![backend.build(schema.create_table_from_entity(entity).if_not_exists())];
        for mut index in schema.create_index_from_entity(entity).into_iter().chain(P::indexes()) {
            statements.push(backend.build(index.if_not_exists()));
        }
        statements
    }

    fn decode(&mut self, events: &[&Recorded]) -> Result<(), DecodeError> {
        self.batch.clear();
        for (place, recorded) in events.iter().enumerate() {
            if let Some(event) = P::decode(recorded)? {
                let keys = P::keys(&event, recorded);
                self.batch.push(Decoded { event, keys, place });
            }
        }
        Ok(())
    }

    async fn project(&mut self, txn: &DatabaseTransaction, events: &[&Recorded]) -> Result<(), DbErr> {
        let batch = std::mem::take(&mut self.batch);
        if self.rows.is_empty() && !self.complete && P::Entity::find().limit(1).one(txn).await?.is_none() {
            self.complete = true;
        }
        self.load(txn, batch.iter().flat_map(|decoded| decoded.keys.iter().cloned()).collect()).await?;
        let mut touched = Vec::new();
        for Decoded { event, keys, place } in batch {
            for key in keys {
                let row = self.rows.remove(&key).flatten();
                let row = P::fold(row, &key, &event, events[place]);
                self.rows.insert(key.clone(), row);
                touched.push(key);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        self.write(txn, touched).await?;
        if self.rows.len() > ROWS_CACHED_MAX {
            self.forget();
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.rows = HashMap::new();
        self.complete = false;
        self.batch = Vec::new();
    }

    async fn compare(
        &self,
        first: &DatabaseTransaction,
        second: &DatabaseTransaction,
        limit: usize,
    ) -> Result<Comparison, DbErr> {
        difference::compare::<P>(first, second, limit).await
    }

    async fn rows(&self, db: &DatabaseConnection, offset: u64, limit: u64) -> Result<Vec<ShownRow>, DbErr> {
        let rows = P::Entity::find().order_by_asc(key_column::<P>()).offset(offset).limit(limit).all(db).await?;
        let columns = |row: &P::Row| {
            <P::Entity as EntityTrait>::Column::iter()
                .map(|column| (column.as_str().to_owned(), shown::json(&row.get(column))))
                .collect()
        };
        Ok(rows.iter().map(columns).collect())
    }

    async fn count(&self, db: &DatabaseConnection) -> Result<u64, DbErr> {
        P::Entity::find().count(db).await
    }
}
