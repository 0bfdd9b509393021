//! How far each projection has come. Written in the transaction that writes its rows.

use std::collections::HashMap;

use data_encoding::HEXLOWER;
use domain::event::Recorded;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ConnectionTrait, DatabaseTransaction, QueryFilter};
use sha2::{Digest, Sha256};

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
    /// Rolling digest of the positions and ids of what it consumed, see [`Tally`].
    pub digest: String,
    /// How often the table was put in place of another: whoever keeps rows in memory knows by it that they are of old.
    pub generation: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What a projection has consumed: count and rolling SHA-256 over (previous digest, position, event id), so that "no
/// event was skipped" can be checked against the log by anybody. What is in the events is not part of it.
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
    pub generation: i64,
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
        Self { position: row.position.unsigned_abs(), tally, generation: row.generation }
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

/// The checkpoint of `table`, which nobody else can move until `txn` ends.
///
/// # Errors
/// What the database said.
pub async fn hold(txn: &DatabaseTransaction, table: &'static str) -> Result<Checkpoint, DbErr> {
    let unchanged = Expr::col(Column::Position).into();
    Entity::update_many().col_expr(Column::Position, unchanged).filter(Column::TableName.eq(table)).exec(txn).await?;
    load(txn, table).await
}

/// Writes `checkpoint` for `table` whatever stood there, and raises its generation. To be called by who
/// [holds](hold) it.
///
/// # Errors
/// What the database said.
pub async fn replace(txn: &DatabaseTransaction, table: &'static str, checkpoint: &Checkpoint) -> Result<(), DbErr> {
    let held = load(txn, table).await?;
    let next = Checkpoint { generation: held.generation + 1, ..checkpoint.clone() };
    Entity::update_many().set(active(table, &next)).filter(Column::TableName.eq(table)).exec(txn).await?;
    Ok(())
}

fn active(table: &str, checkpoint: &Checkpoint) -> ActiveModel {
    ActiveModel {
        table_name: Set(table.to_owned()),
        position: Set(checkpoint.position.cast_signed()),
        events: Set(checkpoint.tally.events.cast_signed()),
        digest: Set(checkpoint.tally.hex()),
        generation: Set(checkpoint.generation),
    }
}

/// A digest that cannot be read counts as none: comparing with the log will show it.
fn bytes(hex: &str) -> [u8; 32] {
    HEXLOWER.decode(hex.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
}
