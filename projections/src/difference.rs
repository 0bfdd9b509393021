//! Where two tables of one projection differ, row by row and field by field.

use std::collections::BTreeMap;

use sea_orm::{
    ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, IdenStatic, Iterable, ModelTrait, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect,
};

use crate::projection::Projection;
use crate::projector::key_column;

/// Rows looked up by one statement.
const ROWS_PER_SELECT: usize = 1_000;

/// A row that two tables of one projection do not agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub projection: &'static str,
    /// The primary key of the row.
    pub row: String,
    pub kind: DifferenceKind,
    /// The fields that differ; all of them when the row stands on one side only.
    pub fields: Vec<FieldDifference>,
}

/// On which side a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// On both, with other values.
    Changed,
    OnlyInFirst,
    OnlyInSecond,
}

/// The two values of a field; `None` where the row or the value is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldDifference {
    pub field: String,
    pub first: Option<String>,
    pub second: Option<String>,
}

/// What a comparison of two tables came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    pub differences: Vec<Difference>,
    /// Rows of the first table that were looked at.
    pub rows: u64,
}

/// Compares the tables of `P`, up to `limit` rows that differ.
pub(crate) async fn compare<P: Projection>(
    first: &DatabaseTransaction,
    second: &DatabaseTransaction,
    limit: usize,
) -> Result<Comparison, DbErr> {
    let mut found = Comparison::default();
    let (mut paired, mut after) = (0, None);
    while let Some(Pairs { here, there, last }) = pairs::<P>(first, second, after.take()).await? {
        found.rows += here.len() as u64;
        paired += there.len() as u64;
        found.differences.extend(here.iter().filter_map(|(key, row)| differing::<P>(key, Some(row), there.get(key))));
        if found.differences.len() >= limit {
            found.differences.truncate(limit);
            return Ok(found);
        }
        after = Some(last);
    }
    if P::Entity::find().count(second).await? > paired {
        add_missing::<P>(first, second, limit, &mut found).await?;
    }
    Ok(found)
}

/// Adds the rows of `second` that `first` does not have.
async fn add_missing<P: Projection>(
    first: &DatabaseTransaction,
    second: &DatabaseTransaction,
    limit: usize,
    found: &mut Comparison,
) -> Result<(), DbErr> {
    let mut after = None;
    while let Some(Pairs { here, there, last }) = pairs::<P>(second, first, after.take()).await? {
        let only_here = here.iter().filter(|(key, _)| !there.contains_key(*key));
        found.differences.extend(only_here.filter_map(|(key, row)| differing::<P>(key, None, Some(row))));
        if found.differences.len() >= limit {
            break;
        }
        after = Some(last);
    }
    found.differences.truncate(limit);
    Ok(())
}

type Rows<P> = BTreeMap<<P as Projection>::Key, <P as Projection>::Row>;

/// Some rows of one table, those of the other one under the same keys, and the last key.
struct Pairs<P: Projection> {
    here: Rows<P>,
    there: Rows<P>,
    last: P::Key,
}

/// The next rows of `here` after a key; `None` at the end. Both sides are looked up by key, because two databases may
/// sort texts differently.
async fn pairs<P: Projection>(
    here: &DatabaseTransaction,
    there: &DatabaseTransaction,
    after: Option<P::Key>,
) -> Result<Option<Pairs<P>>, DbErr> {
    let mut select = P::Entity::find().order_by_asc(key_column::<P>()).limit(ROWS_PER_SELECT as u64);
    if let Some(after) = after {
        select = select.filter(key_column::<P>().gt(after));
    }
    let rows = select.all(here).await?;
    let Some(last) = rows.last().map(P::key) else { return Ok(None) };
    let keys = rows.iter().map(P::key);
    let others = P::Entity::find().filter(key_column::<P>().is_in(keys)).all(there).await?;
    let by_key = |rows: Vec<P::Row>| rows.into_iter().map(|row| (P::key(&row), row)).collect::<Rows<P>>();
    Ok(Some(Pairs { here: by_key(rows), there: by_key(others), last }))
}

fn differing<P: Projection>(key: &P::Key, first: Option<&P::Row>, second: Option<&P::Row>) -> Option<Difference> {
    let kind = match (first, second) {
        (Some(first), Some(second)) if first == second => return None,
        (Some(_), Some(_)) => DifferenceKind::Changed,
        (Some(_), None) => DifferenceKind::OnlyInFirst,
        (None, _) => DifferenceKind::OnlyInSecond,
    };
    let columns = <P::Entity as EntityTrait>::Column::iter();
    let fields = columns.map(|column| FieldDifference {
        field: column.as_str().to_owned(),
        first: first.and_then(|row| text(&row.get(column))),
        second: second.and_then(|row| text(&row.get(column))),
    });
    let fields = fields.filter(|field| field.first != field.second).collect();
    Some(Difference { projection: P::NAME, row: text(&key.clone().into()).unwrap_or_default(), kind, fields })
}

/// A value as people read it; `None` for null.
fn text(value: &sea_orm::Value) -> Option<String> {
    match crate::shown::json(value) {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        other @ (serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_)) => Some(other.to_string()),
    }
}
