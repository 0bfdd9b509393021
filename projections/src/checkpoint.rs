//! How far each projection has come. Written in the transaction that writes its rows.

use std::collections::HashMap;

use data_encoding::HEXLOWER;
use domain::event::Recorded;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ConnectionTrait, DatabaseTransaction, QueryFilter};
use sha2::{Digest, Sha256};

use crate::projection::ProjectionError;

/// A row of the table of checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "checkpoints")]
pub struct Model {
    /// The table that the checkpoint is of, version included.
    #[sea_orm(primary_key, auto_increment = false)]
    pub table_name: String,
    /// Everything up to here has been folded.
    pub position: i64,
    /// How many events it consumed.
    pub events: i64,
    /// Rolling digest of what it consumed, see [`Tally`].
    pub digest: String,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What a projection has consumed: count and rolling SHA-256 over (previous digest, position, event id), so that "no
/// event was skipped" can be checked against the log by anybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub events: u64,
    pub digest: [u8; 32],
}

impl Tally {
    /// Counts one consumed event.
    pub fn add(&mut self, recorded: &Recorded) {
        let mut hash = Sha256::new();
        hash.update(self.digest);
        hash.update(recorded.position.to_be_bytes());
        hash.update(recorded.event_id.as_bytes());
        self.digest = hash.finalize().into();
        self.events += 1;
    }

    /// The digest in hexadecimal.
    pub fn hex(&self) -> String {
        HEXLOWER.encode(&self.digest)
    }
}

/// A checkpoint in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    pub position: u64,
    pub tally: Tally,
}

/// The checkpoint of `table`; at the beginning when there is none.
///
/// # Errors
/// What the database said.
pub async fn load(db: &impl ConnectionTrait, table: &str) -> Result<Checkpoint, DbErr> {
    Ok(Entity::find_by_id(table).one(db).await?.map(Checkpoint::from).unwrap_or_default())
}

/// The checkpoints of all tables.
///
/// # Errors
/// What the database said.
pub async fn load_all(db: &impl ConnectionTrait) -> Result<HashMap<String, Checkpoint>, DbErr> {
    let rows = Entity::find().all(db).await?;
    Ok(rows.into_iter().map(|row| (row.table_name.clone(), row.into())).collect())
}

impl From<Model> for Checkpoint {
    fn from(row: Model) -> Self {
        let tally = Tally { events: row.events.unsigned_abs(), digest: bytes(&row.digest) };
        Self { position: row.position.unsigned_abs(), tally }
    }
}

/// Makes sure that every one of `tables` has a checkpoint.
///
/// # Errors
/// What the database said.
pub async fn ensure(db: &impl ConnectionTrait, tables: impl Iterator<Item = &'static str>) -> Result<(), DbErr> {
    let rows: Vec<ActiveModel> = tables.map(|table| active(table, &Checkpoint::default())).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let keep = OnConflict::column(Column::TableName).do_nothing().to_owned();
    Entity::insert_many(rows).on_conflict(keep).do_nothing().exec_without_returning(db).await?;
    Ok(())
}

/// Moves the checkpoint of `table` from `from` to `to`, or fails when it is not at `from` any more.
///
/// # Errors
/// [`ProjectionError::Overtaken`] when another server moved it; otherwise what the database said.
pub async fn advance(
    txn: &DatabaseTransaction,
    table: &'static str,
    from: &Checkpoint,
    to: &Checkpoint,
) -> Result<(), ProjectionError> {
    let moved = Entity::update_many()
        .set(active(table, to))
        .filter(Column::TableName.eq(table))
        .filter(Column::Position.eq(from.position.cast_signed()))
        .exec(txn)
        .await?;
    if moved.rows_affected == 1 { Ok(()) } else { Err(ProjectionError::Overtaken(table)) }
}

/// Moves the checkpoints of `tables`, for which there was nothing to fold, up to `through`.
///
/// # Errors
/// What the database said.
pub async fn pass(txn: &DatabaseTransaction, tables: Vec<&'static str>, through: u64) -> Result<(), DbErr> {
    if tables.is_empty() {
        return Ok(());
    }
    Entity::update_many()
        .col_expr(Column::Position, Expr::value(through.cast_signed()))
        .filter(Column::TableName.is_in(tables))
        .filter(Column::Position.lt(through.cast_signed()))
        .exec(txn)
        .await?;
    Ok(())
}

fn active(table: &str, checkpoint: &Checkpoint) -> ActiveModel {
    ActiveModel {
        table_name: Set(table.to_owned()),
        position: Set(checkpoint.position.cast_signed()),
        events: Set(checkpoint.tally.events.cast_signed()),
        digest: Set(checkpoint.tally.hex()),
    }
}

/// A digest that cannot be read counts as none: comparing with the log will show it.
fn bytes(hex: &str) -> [u8; 32] {
    HEXLOWER.decode(hex.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
}
