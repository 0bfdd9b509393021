//! How often tokens of devices were used: counters, not a fold of the log. They lie beside the read models and are lost
//! with them.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue, ConnectionTrait, DbErr, Schema};

/// Rows of one statement.
const ROWS_PER_STATEMENT: usize = 500;

/// One token that was used.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "token_uses")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub token_id: String,
    pub use_count: i64,
    pub last_used_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Creates the table where it is missing.
///
/// # Errors
/// What the database said.
pub(crate) async fn create_table(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    let backend = db.get_database_backend();
    let table = Schema::new(backend).create_table_from_entity(Entity).if_not_exists().to_owned();
    db.execute(backend.build(&table)).await.map(|_| ())
}

/// Adds to the counters of tokens.
///
/// # Errors
/// What the database said.
pub async fn add(db: &impl ConnectionTrait, uses: Vec<Model>) -> Result<(), DbErr> {
    let added = Expr::col((Entity, Column::UseCount)).add(Expr::col((excluded(), Column::UseCount)));
    let on_conflict = OnConflict::column(Column::TokenId)
        .value(Column::UseCount, added)
        .value(Column::LastUsedAt, Expr::col((excluded(), Column::LastUsedAt)))
        .to_owned();
    for uses in uses.chunks(ROWS_PER_STATEMENT) {
        let rows = uses.iter().map(|used| ActiveModel {
            token_id: ActiveValue::Set(used.token_id.clone()),
            use_count: ActiveValue::Set(used.use_count),
            last_used_at: ActiveValue::Set(used.last_used_at),
        });
        Entity::insert_many(rows).on_conflict(on_conflict.clone()).exec_without_returning(db).await?;
    }
    Ok(())
}

/// What was to be inserted, as both engines call it.
fn excluded() -> sea_orm::sea_query::Alias {
    sea_orm::sea_query::Alias::new("excluded")
}

/// The counters of these tokens; those that were never used have none.
///
/// # Errors
/// What the database said.
pub async fn of<'a>(db: &impl ConnectionTrait, tokens: impl Iterator<Item = &'a str>) -> Result<Vec<Model>, DbErr> {
    Entity::find().filter(Column::TokenId.is_in(tokens)).all(db).await
}
