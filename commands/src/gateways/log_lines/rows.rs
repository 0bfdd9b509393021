//! Lines as they stand in the tables of both databases, and the conditions of a filter in SQL.

use std::collections::BTreeMap;

use chrono::DateTime;
use domain::metadata::{TenantId, UserId};
use serde_json::{Map, Value};
use sqlx::{Database, Encode, QueryBuilder, Type};
use uuid::Uuid;

use super::{FIELDS_BYTES_MAX, Line, LineFilter, LinesFault, MESSAGE_BYTES_MAX, NewLine};

/// Ids that are counted together.
pub(super) const BUCKET_LINES: i64 = 4_096;

/// Id, time, tenant, source, level, message, fields, request, user, task.
pub(super) type Row = (i64, i64, Uuid, String, String, String, String, Option<Uuid>, Option<Uuid>, Option<Uuid>);

pub(super) const SELECT: &str =
    "SELECT id, at, tenant, source, level, message, fields, request_id, user_id, task_id FROM log_lines ";

/// Ids from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) first: i64,
    pub(super) last: i64,
}

pub(super) fn bucket_of(id: i64) -> i64 {
    id / BUCKET_LINES
}

/// The ids of a bucket.
pub(super) fn ids_of(bucket: i64) -> Ids {
    Ids { first: bucket * BUCKET_LINES, last: (bucket + 1) * BUCKET_LINES - 1 }
}

pub(super) fn line(row: Row) -> Result<Line, LinesFault> {
    let (id, at, tenant, source, level, message, fields, request_id, user, task) = row;
    let stored = |what: &str| LinesFault(format!("line {id} has {what} that cannot be read"));
    let line = NewLine {
        at: DateTime::from_timestamp_micros(at).ok_or_else(|| stored("a time"))?,
        tenant: TenantId(tenant),
        source: source.parse().map_err(|_| stored("a source"))?,
        level: level.parse().map_err(|_| stored("a level"))?,
        message,
        fields: serde_json::from_str(&fields).map_err(|_| stored("fields"))?,
        request_id,
        user: user.map(UserId),
        task,
    };
    Ok(Line { id, line })
}

/// The message as it is kept: cut where it is too long, at a character.
pub(super) fn message(line: &NewLine) -> &str {
    let mut end = line.message.len().min(MESSAGE_BYTES_MAX);
    while !line.message.is_char_boundary(end) {
        end -= 1;
    }
    &line.message[..end]
}

/// The fields as they are kept.
pub(super) fn fields(line: &NewLine) -> String {
    let text = Value::Object(line.fields.clone()).to_string();
    if text.len() <= FIELDS_BYTES_MAX {
        return text;
    }
    let left_out = Map::from_iter([("left_out_bytes".to_owned(), Value::from(text.len()))]);
    Value::Object(left_out).to_string()
}

/// The facets that a line counts in: all lines, its level, its user, its task, its level among those of its task.
pub(super) fn facets(line: &NewLine) -> impl Iterator<Item = String> {
    let level = format!("level:{}", line.level);
    let user = line.user.map(|user| format!("user:{user}"));
    let task = line.task.map(|task| format!("task:{task}"));
    let level_of_task = line.task.map(|task| format!("task:{task}/level:{}", line.level));
    [Some(String::new()), Some(level), user, task, level_of_task].into_iter().flatten()
}

/// The one facet that counts what `filter` lets through (times and words aside), if there is one.
pub(super) fn facet(filter: &LineFilter) -> Option<String> {
    match (filter.level, filter.user, filter.task) {
        (None, None, None) => Some(String::new()),
        (Some(level), None, None) => Some(format!("level:{level}")),
        (None, Some(user), None) => Some(format!("user:{user}")),
        (None, None, Some(task)) => Some(format!("task:{task}")),
        (Some(level), None, Some(task)) => Some(format!("task:{task}/level:{level}")),
        (Some(_), Some(_), _) | (_, Some(_), Some(_)) => None,
    }
}

/// Lines of a batch by tenant, source, facet and bucket, when its first line gets the id `first`.
pub(super) fn counts(lines: &[NewLine], first: i64) -> BTreeMap<(Uuid, &'static str, String, i64), i64> {
    let mut counts = BTreeMap::new();
    for (line, id) in lines.iter().zip(first..) {
        for facet in facets(line) {
            *counts.entry((line.tenant.0, line.source.name(), facet, bucket_of(id))).or_default() += 1;
        }
    }
    counts
}

/// Adds `WHERE …` for everything in `filter` but its times and its words, within `ids`.
pub(super) fn push_where<'a, DB: Database>(query: &mut QueryBuilder<'a, DB>, filter: &LineFilter, ids: Ids)
where
    Uuid: Encode<'a, DB> + Type<DB>,
    String: Encode<'a, DB> + Type<DB>,
    i64: Encode<'a, DB> + Type<DB>,
{
    query.push("WHERE tenant = ").push_bind(filter.tenant.0);
    query.push(" AND source = ").push_bind(filter.source.name().to_owned());
    if let Some(level) = filter.level {
        query.push(" AND level = ").push_bind(level.name().to_owned());
    }
    if let Some(user) = filter.user {
        query.push(" AND user_id = ").push_bind(user.0);
    }
    if let Some(task) = filter.task {
        query.push(" AND task_id = ").push_bind(task);
    }
    query.push(" AND id >= ").push_bind(ids.first).push(" AND id <= ").push_bind(ids.last);
}
