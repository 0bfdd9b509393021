//! Writing to PostgreSQL, column by column.

use chrono::{DateTime, FixedOffset, Local, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use sea_orm::Value;
use sea_orm::sea_query::{Nullable, ValueType};
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use sqlx::{PgPool, PgTransaction};

use super::{Batch, Changes, Move, Shape, failed};
use crate::projection::ProjectionError;

/// Rows of one statement: its arguments are all in memory, on both sides.
const ROWS_PER_STATEMENT: usize = 4_096;
const ADVANCE: &str = "UPDATE checkpoints AS held SET position = moved.position, events = moved.events, digest = moved.digest \
     FROM UNNEST($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[]) \
         AS moved (table_name, since, generation, position, events, digest) \
     WHERE held.table_name = moved.table_name AND held.position = moved.since AND held.generation = moved.generation";

pub(super) async fn write(pool: &PgPool, batch: Batch) -> Result<(), ProjectionError> {
    let mut txn = pool.begin().await.map_err(|error| failed(&error))?;
    advance(&mut txn, &batch.moves).await?;
    for changes in batch.changes {
        change(&mut txn, changes).await.map_err(|error| failed(&error))?;
    }
    txn.commit().await.map_err(|error| failed(&error).into())
}

async fn advance(txn: &mut PgTransaction<'_>, moves: &[Move]) -> Result<(), ProjectionError> {
    let Some(first) = moves.first() else { return Ok(()) };
    let numbers = |number: fn(&Move) -> i64| moves.iter().map(number).collect::<Vec<i64>>();
    let outcome = sqlx::query(ADVANCE)
        .bind(moves.iter().map(|moved| moved.table).collect::<Vec<_>>())
        .bind(numbers(|moved| moved.since.cast_signed()))
        .bind(numbers(|moved| moved.to.generation))
        .bind(numbers(|moved| moved.to.position.cast_signed()))
        .bind(numbers(|moved| moved.to.tally.events.cast_signed()))
        .bind(moves.iter().map(|moved| moved.to.tally.hex()).collect::<Vec<_>>())
        .execute(&mut **txn)
        .await
        .map_err(|error| failed(&error))?;
    if outcome.rows_affected() == moves.len() as u64 { Ok(()) } else { Err(ProjectionError::Overtaken(first.table)) }
}

async fn change(txn: &mut PgTransaction<'_>, changes: Changes) -> Result<(), sqlx::Error> {
    // An update that changes no indexed value spares the indexes by itself here.
    let Changes { shape, mut rows, updated, removed } = changes;
    rows.extend(updated);
    let width = shape.columns.len();
    for rows in rows.chunks(width * ROWS_PER_STATEMENT) {
        let statement = upsert(&shape, &rows[..width]);
        let column = |place| rows.iter().skip(place).step_by(width).cloned().collect::<Vec<_>>();
        let query = (0..width).fold(sqlx::query(&statement), |query, place| bind(query, column(place)));
        query.execute(&mut **txn).await?;
    }
    for keys in removed.chunks(ROWS_PER_STATEMENT) {
        let Shape { table, key, .. } = &*shape;
        let statement = format!("DELETE FROM \"{table}\" WHERE \"{key}\" = ANY ($1::{}[])", sql_type(&keys[0]));
        bind(sqlx::query(&statement), keys.to_vec()).execute(&mut **txn).await?;
    }
    Ok(())
}

/// The statement for rows like `row`. It does not depend on their number, so it is prepared once.
fn upsert(shape: &Shape, row: &[Value]) -> String {
    let arrays = (1..).zip(row).map(|(number, value)| format!("${number}::{}[]", sql_type(value)));
    format!(
        "INSERT INTO \"{}\" ({}) SELECT * FROM UNNEST({}) {}",
        shape.table,
        shape.columns(),
        arrays.collect::<Vec<_>>().join(", "),
        shape.on_conflict()
    )
}

/// The type that values like `like` are bound as; assigning turns it into that of the column.
fn sql_type(like: &Value) -> &'static str {
    match like {
        Value::Bool(_) => "boolean",
        Value::TinyInt(_)
        | Value::SmallInt(_)
        | Value::Int(_)
        | Value::BigInt(_)
        | Value::TinyUnsigned(_)
        | Value::SmallUnsigned(_)
        | Value::Unsigned(_)
        | Value::BigUnsigned(_) => "bigint",
        Value::Float(_) => "real",
        Value::Double(_) => "double precision",
        Value::String(_) | Value::Char(_) => "text",
        Value::Bytes(_) => "bytea",
        Value::Json(_) => "jsonb",
        Value::ChronoDate(_) => "date",
        Value::ChronoTime(_) => "time",
        Value::ChronoDateTime(_) => "timestamp",
        Value::ChronoDateTimeUtc(_) | Value::ChronoDateTimeLocal(_) | Value::ChronoDateTimeWithTimeZone(_) => {
            "timestamptz"
        }
        Value::Array(..) => no_arrays(),
    }
}

type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

/// Binds the values of one column, all of which are of one kind because they come from one field.
fn bind(query: PgQuery<'_>, values: Vec<Value>) -> PgQuery<'_> {
    let Some(like) = values.first() else { return query.bind(Vec::<String>::new()) };
    match like {
        Value::Bool(_) => query.bind(typed::<bool>(values)),
        Value::TinyInt(_) => query.bind(wide::<i8>(values)),
        Value::SmallInt(_) => query.bind(wide::<i16>(values)),
        Value::Int(_) => query.bind(wide::<i32>(values)),
        Value::BigInt(_) => query.bind(typed::<i64>(values)),
        Value::TinyUnsigned(_) => query.bind(wide::<u8>(values)),
        Value::SmallUnsigned(_) => query.bind(wide::<u16>(values)),
        Value::Unsigned(_) => query.bind(wide::<u32>(values)),
        Value::BigUnsigned(_) => query.bind(mapped::<u64, _>(values, u64::cast_signed)),
        Value::Float(_) => query.bind(typed::<f32>(values)),
        Value::Double(_) => query.bind(typed::<f64>(values)),
        Value::String(_) => query.bind(mapped::<String, _>(values, storable)),
        Value::Char(_) => query.bind(mapped::<char, _>(values, String::from)),
        Value::Bytes(_) => query.bind(typed::<Vec<u8>>(values)),
        Value::Json(_) => query.bind(typed::<serde_json::Value>(values)),
        Value::ChronoDate(_) => query.bind(typed::<NaiveDate>(values)),
        Value::ChronoTime(_) => query.bind(typed::<NaiveTime>(values)),
        Value::ChronoDateTime(_) => query.bind(typed::<NaiveDateTime>(values)),
        Value::ChronoDateTimeUtc(_) => query.bind(typed::<DateTime<Utc>>(values)),
        Value::ChronoDateTimeLocal(_) => query.bind(typed::<DateTime<Local>>(values)),
        Value::ChronoDateTimeWithTimeZone(_) => query.bind(typed::<DateTime<FixedOffset>>(values)),
        Value::Array(..) => no_arrays(),
    }
}

/// No text here has a NUL. Nothing appends one any more; a history that SQLite kept may have some.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

fn no_arrays() -> ! {
    unreachable!("SQLite has no arrays, so no row has one")
}

fn typed<T: ValueType + Nullable>(values: Vec<Value>) -> Vec<Option<T>> {
    values.into_iter().map(|value| <Option<T> as ValueType>::try_from(value).unwrap_or_default()).collect()
}

fn mapped<T: ValueType + Nullable, U>(values: Vec<Value>, map: fn(T) -> U) -> Vec<Option<U>> {
    typed::<T>(values).into_iter().map(|value| value.map(map)).collect()
}

fn wide<T: ValueType + Nullable + Into<i64>>(values: Vec<Value>) -> Vec<Option<i64>> {
    mapped::<T, i64>(values, T::into)
}
