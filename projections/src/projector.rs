//! Folds batches of events into the rows of one projection.

use std::sync::Arc;

use async_trait::async_trait;
use domain::event::{DecodeError, Recorded};
use sea_orm::sea_query::IndexCreateStatement;
use sea_orm::{
    ColumnTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityName, EntityTrait, IdenStatic,
    Iterable, ModelTrait, PaginatorTrait, PrimaryKeyToColumn, QueryFilter, QueryOrder, QuerySelect, Schema, Select,
    Statement, Value,
};

use crate::difference::{self, Comparison};
use crate::projection::Projection;
use crate::rows::Rows;
use crate::shown;
use crate::writer::{Changes, Shape};

/// Keys looked up by one statement: a few sizes, so that few statements are prepared.
const KEYS_PER_SELECT: [usize; 4] = [1, 8, 64, 512];

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
    /// The statement that creates its table where missing.
    fn create_table(&self, backend: DbBackend) -> Statement;
    /// The statements that create the indexes of its table where missing.
    fn create_indexes(&self, backend: DbBackend) -> Vec<Statement>;
    /// Reads a batch of events, all of a sort that it consumes. Takes up no database.
    fn decode(&mut self, events: &[&Recorded]) -> Result<(), DecodeError>;
    /// Folds the batch that was decoded last, which is `events`, into rows in memory. Reads what is missing from `db`.
    async fn fold(&mut self, db: &DatabaseConnection, events: &[&Recorded]) -> Result<(), DbErr>;
    /// How many rows wait to be written.
    fn unwritten(&self) -> usize;
    /// What is to be written. It counts as written from now on: when it cannot be, [`forget`](Self::forget).
    fn changes(&mut self) -> Changes;
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
    shape: Arc<Shape>,
    /// The columns that indexes are over.
    indexed: Vec<ColumnOf<P>>,
    rows: Rows<P::Key, P::Row>,
    /// What was decoded and waits to be folded.
    batch: Vec<Decoded<P>>,
}

type ColumnOf<P> = <<P as Projection>::Entity as EntityTrait>::Column;

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
        let columns: Vec<String> = ColumnOf::<P>::iter().map(|column| column.as_str().to_owned()).collect();
        let key = key_column::<P>().as_str().to_owned();
        let over = indexes::<P>(DbBackend::Sqlite);
        let over: Vec<String> = over.iter().flat_map(|index| index.get_index_spec().get_column_names()).collect();
        let indexed: Vec<_> =
            ColumnOf::<P>::iter().filter(|column| over.iter().any(|o| o == column.as_str())).collect();
        let plain = |column: &String| *column != key && !over.contains(column);
        let plain = columns.iter().enumerate().filter(|(_, column)| plain(column)).map(|(place, _)| place).collect();
        let shape = Arc::new(Shape { table: P::TABLE, key, columns, plain, appended: P::APPENDS });
        Box::new(Self { shape, indexed, rows: Rows::new(), batch: Vec::new() })
    }

    /// Reads the rows that the batch touches and that are not in memory.
    async fn read_missing(&mut self, db: &DatabaseConnection) -> Result<(), DbErr> {
        if self.rows.knows_nothing() && P::Entity::find().limit(1).one(db).await?.is_none() {
            self.rows.begin_empty();
        }
        let keys = self.batch.iter().flat_map(|decoded| &decoded.keys);
        let mut missing: Vec<P::Key> = keys.filter(|key| self.rows.misses(key)).cloned().collect();
        missing.sort_unstable();
        missing.dedup();
        for keys in missing.chunks(KEYS_PER_SELECT[KEYS_PER_SELECT.len() - 1]) {
            for row in select::<P>(keys).all(db).await? {
                self.rows.read(P::key(&row), row);
            }
        }
        Ok(())
    }
}

/// The rows under `keys`. The last key fills up the list to a size that was prepared before.
fn select<P: Projection>(keys: &[P::Key]) -> Select<P::Entity> {
    let size = KEYS_PER_SELECT.into_iter().find(|size| *size >= keys.len()).unwrap_or(keys.len());
    let filling = keys.last().into_iter().cycle().take(size - keys.len());
    P::Entity::find().filter(key_column::<P>().is_in(keys.iter().chain(filling).cloned()))
}

fn indexes<P: Projection>(backend: DbBackend) -> Vec<IndexCreateStatement> {
    let of_columns = Schema::new(backend).create_index_from_entity(P::Entity::default());
    of_columns.into_iter().chain(P::indexes()).collect()
}

/// The values of `row` in these columns.
fn values<P: Projection>(row: &P::Row, columns: &[ColumnOf<P>]) -> Vec<Value> {
    columns.iter().map(|column| row.get(*column)).collect()
}

pub(crate) fn key_column<P: Projection>() -> <P::Entity as EntityTrait>::Column {
    let mut keys = <P::Entity as EntityTrait>::PrimaryKey::iter();
    match keys.next() {
        Some(key) => key.into_column(),
        None => unreachable!("an entity without a primary key does not compile"),
    }
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

    fn create_table(&self, backend: DbBackend) -> Statement {
        let entity = P::Entity::default();
        backend.build(Schema::new(backend).create_table_from_entity(entity).if_not_exists())
    }

    fn create_indexes(&self, backend: DbBackend) -> Vec<Statement> {
        indexes::<P>(backend).into_iter().map(|mut index| backend.build(index.if_not_exists())).collect()
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

    async fn fold(&mut self, db: &DatabaseConnection, events: &[&Recorded]) -> Result<(), DbErr> {
        if !P::APPENDS {
            self.read_missing(db).await?;
        }
        for Decoded { event, keys, place } in self.batch.drain(..) {
            for key in keys {
                let fold = |row| P::fold(row, &key, &event, events[place]);
                self.rows.change(&key, |row| values::<P>(row, &self.indexed), fold);
            }
        }
        Ok(())
    }

    fn unwritten(&self) -> usize {
        self.rows.unwritten()
    }

    fn changes(&mut self) -> Changes {
        let (mut rows, mut updated, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        self.rows.written(|key, touched| match &touched.row {
            None => removed.push(key.clone().into()),
            Some(row) => {
                let as_indexed =
                    touched.stored.as_ref().is_some_and(|stored| *stored == values::<P>(row, &self.indexed));
                let rows = if as_indexed { &mut updated } else { &mut rows };
                rows.extend(ColumnOf::<P>::iter().map(|column| row.get(column)));
            }
        });
        if P::APPENDS {
            self.rows = Rows::new();
        }
        Changes { shape: Arc::clone(&self.shape), rows, updated, removed }
    }

    fn forget(&mut self) {
        self.rows = Rows::new();
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
            ColumnOf::<P>::iter().map(|column| (column.as_str().to_owned(), shown::json(&row.get(column)))).collect()
        };
        Ok(rows.iter().map(columns).collect())
    }

    async fn count(&self, db: &DatabaseConnection) -> Result<u64, DbErr> {
        P::Entity::find().count(db).await
    }
}
