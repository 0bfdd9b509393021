//! Folds batches of events into the rows of one projection.

use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;

use async_trait::async_trait;
use domain::event::Recorded;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ColumnTrait, DatabaseTransaction, DbBackend, DbErr, EntityName, EntityTrait, IdenStatic, IntoActiveModel, Iterable,
    ModelTrait, PrimaryKeyToColumn, QueryFilter, QueryOrder, QuerySelect, Schema, Statement,
};

use crate::projection::{Projection, ProjectionError};

/// Rows kept in memory between batches, per projection; beyond it they are read again when touched.
const ROWS_CACHED_MAX: usize = 20_000;
/// Values bound in one statement; SQLite allows 32,766, PostgreSQL 65,535.
const BOUND_VALUES_MAX: usize = 30_000;
/// Keys looked up by one statement.
const KEYS_PER_SELECT: usize = 1_000;

/// A place where two tables of one projection differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub projection: &'static str,
    /// The primary key of the row.
    pub row: String,
    /// The column; `None` when the whole row is missing on one side.
    pub field: Option<String>,
    pub live: Option<String>,
    pub rebuilt: Option<String>,
}

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
    /// Folds `events` and writes the rows they touch.
    async fn project(&mut self, txn: &DatabaseTransaction, events: &[&Recorded]) -> Result<(), ProjectionError>;
    /// Drops the rows in memory: after a transaction that failed, or when somebody else wrote the table.
    fn forget(&mut self);
    /// The differences between its table in `live` and in `rebuilt`, at most `limit`, and the rows compared.
    async fn compare(
        &self,
        live: &sea_orm::DatabaseConnection,
        rebuilt: &sea_orm::DatabaseConnection,
        limit: usize,
    ) -> Result<(Vec<Difference>, u64), DbErr>;
    /// The rows in order of their key from `offset`, each as (column, value) pairs.
    async fn rows(
        &self,
        db: &sea_orm::DatabaseConnection,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<Vec<(String, sea_orm::Value)>>, DbErr>;
}

/// The projector of projection `P`.
pub struct Projector<P: Projection> {
    rows: HashMap<P::Key, Option<P::Row>>,
    /// All rows of the table are in `rows`: true from an empty table on, until rows are let go.
    complete: bool,
    projection: PhantomData<P>,
}

impl<P: Projection> Projector<P> {
    /// A projector with nothing in memory.
    pub fn boxed() -> Box<dyn AnyProjector> {
        debug_assert_eq!(P::Entity::default().table_name(), P::TABLE, "the table of {} has another name", P::NAME);
        Box::new(Self { rows: HashMap::new(), complete: false, projection: PhantomData })
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

fn key_column<P: Projection>() -> <P::Entity as EntityTrait>::Column {
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

    async fn project(&mut self, txn: &DatabaseTransaction, events: &[&Recorded]) -> Result<(), ProjectionError> {
        let mut decoded = Vec::with_capacity(events.len());
        let mut wanted = Vec::with_capacity(events.len());
        for recorded in events {
            if let Some(event) = P::decode(recorded)? {
                let keys = P::keys(&event, recorded);
                wanted.extend(keys.iter().cloned());
                decoded.push((*recorded, event, keys));
            }
        }
        if self.rows.is_empty() && !self.complete && P::Entity::find().limit(1).one(txn).await?.is_none() {
            self.complete = true;
        }
        self.load(txn, wanted).await?;
        let mut touched = Vec::new();
        for (recorded, event, keys) in decoded {
            for key in keys {
                let row = self.rows.remove(&key).flatten();
                let row = P::fold(row, &key, &event, recorded);
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
    }

    async fn compare(
        &self,
        live: &sea_orm::DatabaseConnection,
        rebuilt: &sea_orm::DatabaseConnection,
        limit: usize,
    ) -> Result<(Vec<Difference>, u64), DbErr> {
        let mut differences = Vec::new();
        let mut compared = 0;
        let mut after = None;
        while let Some((here, there, last)) = paired_rows::<P>(live, rebuilt, after.take()).await? {
            compared += here.len() as u64;
            differences.extend(here.iter().flat_map(|(key, row)| differing::<P>(key, Some(row), there.get(key))));
            if differences.len() >= limit {
                differences.truncate(limit);
                return Ok((differences, compared));
            }
            after = Some(last);
        }
        while let Some((here, there, last)) = paired_rows::<P>(rebuilt, live, after.take()).await? {
            let only_here = here.iter().filter(|(key, _)| !there.contains_key(*key));
            differences.extend(only_here.flat_map(|(key, row)| differing::<P>(key, None, Some(row))));
            if differences.len() >= limit {
                break;
            }
            after = Some(last);
        }
        differences.truncate(limit);
        Ok((differences, compared))
    }

    async fn rows(
        &self,
        db: &sea_orm::DatabaseConnection,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<Vec<(String, sea_orm::Value)>>, DbErr> {
        let rows = P::Entity::find().order_by_asc(key_column::<P>()).offset(offset).limit(limit).all(db).await?;
        let columns = |row: &P::Row| {
            <P::Entity as EntityTrait>::Column::iter().map(|c| (c.as_str().to_owned(), row.get(c))).collect()
        };
        Ok(rows.iter().map(columns).collect())
    }
}

type Rows<P> = BTreeMap<<P as Projection>::Key, <P as Projection>::Row>;

/// The next rows of `here` after a key, those of `there` under the same keys, and the last key; `None` at the end.
///
/// Both are looked up by key, because two engines may sort texts differently.
async fn paired_rows<P: Projection>(
    here: &sea_orm::DatabaseConnection,
    there: &sea_orm::DatabaseConnection,
    after: Option<P::Key>,
) -> Result<Option<(Rows<P>, Rows<P>, P::Key)>, DbErr> {
    let mut select = P::Entity::find().order_by_asc(key_column::<P>()).limit(KEYS_PER_SELECT as u64);
    if let Some(after) = after {
        select = select.filter(key_column::<P>().gt(after));
    }
    let rows = select.all(here).await?;
    let Some(last) = rows.last().map(P::key) else { return Ok(None) };
    let keys = rows.iter().map(P::key);
    let others = P::Entity::find().filter(key_column::<P>().is_in(keys)).all(there).await?;
    let by_key = |rows: Vec<P::Row>| rows.into_iter().map(|row| (P::key(&row), row)).collect::<Rows<P>>();
    Ok(Some((by_key(rows), by_key(others), last)))
}

fn differing<P: Projection>(key: &P::Key, live: Option<&P::Row>, rebuilt: Option<&P::Row>) -> Vec<Difference> {
    let difference =
        |field, live, rebuilt| Difference { projection: P::NAME, row: text(&key.clone().into()), field, live, rebuilt };
    match (live, rebuilt) {
        (Some(live), Some(rebuilt)) if live == rebuilt => Vec::new(),
        (Some(live), Some(rebuilt)) => <P::Entity as EntityTrait>::Column::iter()
            .filter(|column| live.get(*column) != rebuilt.get(*column))
            .map(|column| {
                difference(
                    Some(column.as_str().to_owned()),
                    Some(text(&live.get(column))),
                    Some(text(&rebuilt.get(column))),
                )
            })
            .collect(),
        (live, rebuilt) => vec![difference(None, live.map(|_| "present".into()), rebuilt.map(|_| "present".into()))],
    }
}

/// A value as people read it.
pub(crate) fn text(value: &sea_orm::Value) -> String {
    let shown = value.to_string();
    shown.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).map_or(shown.clone(), str::to_owned)
}
