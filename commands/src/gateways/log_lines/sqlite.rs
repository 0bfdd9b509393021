//! Log lines in an SQLite file of their own: they come in bulk, which must not hold up the log.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, Transaction, params};
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, QueryBuilder, query_as, query_scalar};

use super::pages::{LineTables, MATCHES_MAX, Matches, Part};
use super::rows::{self, Ids, Row, SELECT, ids_of, push_where};
use super::words::{Wanted, is_match, marks_and_words_of};
use super::{Line, LineFilter, LinesFault, NewLine, Reached, Source, overtaken};

const READERS: u32 = 4;
const BUSY: Duration = Duration::from_secs(5);
/// Newest lines that are looked through one by one before the index of words is asked: what is frequent is found there.
const LOOKED_THROUGH: u64 = 4_000;
/// Lines that the index finds and that are then read, before it is asked to look at marks, too.
const CANDIDATES_MAX: u64 = 2_000;
/// Words with one beginning that are gone along; more are collected by the index.
const TERMS_MAX: usize = 32;
const INSERT: &str = "INSERT INTO log_lines (id, at, tenant, source, level, message, fields, request_id, user_id, \
     task_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
const INSERT_WORDS: &str = "INSERT INTO log_line_words (rowid, words) VALUES (?1, ?2)";
const COUNT: &str = "INSERT INTO log_line_counts (tenant, source, facet, bucket, lines) VALUES (?1, ?2, ?3, ?4, ?5) \
     ON CONFLICT (tenant, source, facet, bucket) DO UPDATE SET lines = lines + excluded.lines";
const REACH: &str = "INSERT INTO log_line_readers (reader, position) VALUES (?1, ?2) \
     ON CONFLICT (reader) DO UPDATE SET position = excluded.position WHERE position = ?3";
const LAST_TIMES: &str = "SELECT coalesce((SELECT max(at) FROM log_lines WHERE source = ?1), 0)";

/// Lines in an SQLite file.
pub(super) struct SqliteLines {
    reading: SqlitePool,
    writing: Arc<Mutex<Connection>>,
}

impl SqliteLines {
    pub(super) async fn open(path: &Path) -> Result<Self, LinesFault> {
        let place = path.to_owned();
        let writing = tokio::task::spawn_blocking(move || connect(&place)).await.map_err(|error| fault(&error))??;
        let options =
            SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Wal).busy_timeout(BUSY);
        // Its own statements are no lines.
        let options = options.disable_statement_logging();
        let reading = SqlitePoolOptions::new().max_connections(READERS).connect_with(options).await?;
        Ok(Self { reading, writing: Arc::new(Mutex::new(writing)) })
    }

    /// Matches among the newest lines of the filter, without the index of words: at least `needed` if there are so many.
    async fn looked_through(
        &self,
        wanted: &[Wanted],
        filter: &LineFilter,
        ids: Ids,
        needed: u64,
    ) -> Result<Matches, LinesFault> {
        let are_all = self.count(filter, ids, LOOKED_THROUGH).await? < LOOKED_THROUGH;
        // Where these are all lines there is no need to ask the index only to count.
        let needed = if are_all { MATCHES_MAX + 1 } else { needed };
        let mut matches = Matches { ids: Vec::new(), complete: false };
        // What looks like a match need not be one, so some more are read, and then all.
        for limit in [needed.saturating_mul(2), LOOKED_THROUGH] {
            let lines = self.alike(wanted, filter, ids, limit).await?;
            matches.complete = are_all && (lines.len() as u64) < limit;
            matches.ids = lines.iter().filter(|line| is_match(&line.line, wanted)).map(|line| line.id).collect();
            if matches.ids.len() as u64 >= needed || (lines.len() as u64) < limit {
                break;
            }
        }
        Ok(matches)
    }

    /// Of the newest lines of the filter those that look like matches.
    async fn alike(
        &self,
        wanted: &[Wanted],
        filter: &LineFilter,
        ids: Ids,
        limit: u64,
    ) -> Result<Vec<Line>, LinesFault> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM (");
        query.push(SELECT);
        push_where(&mut query, filter, ids);
        query.push(" ORDER BY id DESC LIMIT ").push_bind(bounded(LOOKED_THROUGH)).push(") WHERE true");
        for like in wanted.iter().filter_map(Wanted::like) {
            query.push(" AND (message LIKE ").push_bind(like.clone());
            query.push(" OR fields LIKE ").push_bind(like).push(")");
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(bounded(limit));
        in_lines(query.build_query_as().fetch_all(&self.reading).await?)
    }

    /// Matches by the index of words.
    async fn looked_up(
        &self,
        wanted: &[Wanted],
        filter: &LineFilter,
        ids: Ids,
        needed: u64,
    ) -> Result<Matches, LinesFault> {
        let (marks, words): (Vec<&Wanted>, Vec<&Wanted>) = wanted.iter().partition(|wanted| wanted.is_mark());
        let Some(words) = self.alternatives(&words).await? else { return Ok(Matches::NONE) };
        let candidates = self.candidates(&words, filter, ids).await?;
        let complete = (candidates.len() as u64) < CANDIDATES_MAX;
        let found: Vec<i64> = candidates.into_iter().filter(|(_, fits)| *fits).map(|(id, _)| id).collect();
        if complete || found.len() as u64 >= needed {
            return Ok(Matches { ids: found, complete });
        }
        // A frequent word, and seldom where it is wanted.
        let marks: Vec<String> = marks.iter().map(|mark| format!("\"{}\"", mark.word)).collect();
        self.indexed(&format!("{words} AND {}", marks.join(" AND ")), ids).await
    }

    /// The newest lines with these words, of whatever source, and whether the filter lets them through.
    ///
    /// The marks of a filter stand in so many lines that passing over them would take longer than reading these.
    async fn candidates(&self, words: &str, filter: &LineFilter, ids: Ids) -> Result<Vec<(i64, bool)>, LinesFault> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT w.id, EXISTS (SELECT 1 FROM (SELECT * FROM log_lines l WHERE l.id = w.id) ",
        );
        push_where(&mut query, filter, ids);
        query.push(") FROM (SELECT rowid AS id FROM log_line_words WHERE log_line_words MATCH ").push_bind(words);
        query.push(" AND rowid >= ").push_bind(ids.first).push(" AND rowid <= ").push_bind(ids.last);
        query.push(" ORDER BY rowid DESC LIMIT ").push_bind(bounded(CANDIDATES_MAX)).push(") w ORDER BY w.id DESC");
        Ok(query.build_query_as().fetch_all(&self.reading).await?)
    }

    /// The lines that the index of words finds, the newest first.
    async fn indexed(&self, expression: &str, ids: Ids) -> Result<Matches, LinesFault> {
        let found = query_scalar(
            "SELECT rowid FROM log_line_words WHERE log_line_words MATCH $1 AND rowid >= $2 AND rowid <= $3 \
             ORDER BY rowid DESC LIMIT $4",
        );
        let found = found.bind(expression).bind(ids.first).bind(ids.last).bind(bounded(MATCHES_MAX + 1));
        let ids: Vec<i64> = found.fetch_all(&self.reading).await?;
        Ok(Matches { complete: ids.len() as u64 <= MATCHES_MAX, ids })
    }

    /// The words in the language of FTS5; none when one of them stands in no line.
    async fn alternatives(&self, words: &[&Wanted]) -> Result<Option<String>, LinesFault> {
        let mut all = Vec::new();
        for wanted in words {
            let beginning = token(&wanted.word);
            if !wanted.as_beginning {
                all.push(format!("\"{beginning}\""));
                continue;
            }
            let terms = self.terms(&beginning).await?;
            match terms.len() {
                0 => return Ok(None),
                // FTS5 collects all lines of all words that begin so before it answers, but goes along a few words.
                1..=TERMS_MAX => all.push(format!("(\"{}\")", terms.join("\" OR \""))),
                _ => all.push(format!("\"{beginning}\"*")),
            }
        }
        Ok(Some(all.join(" AND ")))
    }

    /// Words of lines that begin so, up to one more than are gone along.
    async fn terms(&self, beginning: &str) -> Result<Vec<String>, LinesFault> {
        let mut terms = Vec::new();
        let mut from = beginning.to_owned();
        while terms.len() <= TERMS_MAX {
            // The table has a row for each word of each line, so only the first one is asked for.
            let next = query_scalar("SELECT term FROM log_line_terms WHERE term >= $1 ORDER BY term LIMIT 1");
            let next: Option<String> = next.bind(&from).fetch_optional(&self.reading).await?;
            let Some(term) = next.filter(|term| term.starts_with(beginning)) else { break };
            // No sign of a token comes before 0, so nothing is between.
            from = format!("{term}0");
            terms.push(term);
        }
        Ok(terms)
    }

    /// Does `work` in one transaction, beside the runtime.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction) -> Result<T, LinesFault> + Send + 'static,
    ) -> Result<T, LinesFault> {
        let writing = Arc::clone(&self.writing);
        let written = tokio::task::spawn_blocking(move || {
            let mut connection = writing.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = connection.transaction()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        });
        written.await.map_err(|error| fault(&error))?
    }
}

fn fault(error: &dyn std::fmt::Display) -> LinesFault {
    LinesFault(error.to_string())
}

fn connect(path: &Path) -> Result<Connection, LinesFault> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    migrations::LOG_LINES_SQLITE.apply_sqlite(&mut connection)?;
    // What a power cut may take is the last lines before it.
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16000")?;
    Ok(connection)
}

fn append(transaction: &Transaction, lines: &[NewLine], reached: Option<Reached>) -> Result<(), LinesFault> {
    let last: i64 = transaction.query_row("SELECT coalesce(max(id), 0) FROM log_lines", [], |row| row.get(0))?;
    let mut times = LastTimes::default();
    let (mut insert, mut insert_words) =
        (transaction.prepare_cached(INSERT)?, transaction.prepare_cached(INSERT_WORDS)?);
    for (line, id) in lines.iter().zip(last + 1..) {
        let at = times.not_before(transaction, line)?;
        let (source, level) = (line.source.name(), line.level.name());
        let (message, fields) = (rows::message(line), rows::fields(line));
        let (tenant, user) = (line.tenant.0, line.user.map(|user| user.0));
        insert.execute(params![
            id,
            at,
            tenant.as_bytes().as_slice(),
            source,
            level,
            message,
            fields,
            line.request_id.map(|id| id.as_bytes().to_vec()),
            user.map(|id| id.as_bytes().to_vec()),
            line.task.map(|id| id.as_bytes().to_vec()),
        ])?;
        insert_words.execute(params![
            id,
            marks_and_words_of(line).iter().map(|word| token(word)).collect::<Vec<_>>().join(" ")
        ])?;
    }
    let mut count = transaction.prepare_cached(COUNT)?;
    for ((tenant, source, facet, bucket), lines) in rows::counts(lines, last + 1) {
        count.execute(params![tenant.as_bytes().as_slice(), source, facet, bucket, lines])?;
    }
    if let Some(Reached { reader, from, position }) = reached
        && transaction.execute(REACH, params![reader, position.cast_signed(), from.cast_signed()])? == 0
    {
        return Err(overtaken(reader));
    }
    Ok(())
}

/// The latest time of each source, looked up once in a batch.
#[derive(Default)]
struct LastTimes(Vec<(Source, i64)>);

impl LastTimes {
    /// The time of `line`, or the latest before it in its source when that is later.
    fn not_before(&mut self, transaction: &Transaction, line: &NewLine) -> Result<i64, LinesFault> {
        let at = line.at.timestamp_micros();
        if let Some((_, last)) = self.0.iter_mut().find(|(source, _)| *source == line.source) {
            *last = at.max(*last);
            return Ok(*last);
        }
        let last: i64 = transaction.query_row(LAST_TIMES, [line.source.name()], |row| row.get(0))?;
        self.0.push((line.source, at.max(last)));
        Ok(at.max(last))
    }
}

/// A word as one token of FTS5, whose tokenizer knows other letters than we do: only ASCII stays as it is. What begins a
/// word begins its token, too.
fn token(word: &str) -> String {
    let mut token = String::with_capacity(word.len());
    for character in word.chars() {
        if character.is_ascii() {
            token.push(character);
        } else {
            // Writing into a string cannot fail.
            let _ = write!(token, "0_{:x}_", u32::from(character));
        }
    }
    token
}

fn in_lines(rows: Vec<Row>) -> Result<Vec<Line>, LinesFault> {
    rows.into_iter().map(rows::line).collect()
}

fn bounded(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[async_trait]
impl LineTables for SqliteLines {
    async fn append(&self, lines: Vec<NewLine>, reached: Option<Reached>) -> Result<(), LinesFault> {
        self.write(move |transaction| append(transaction, &lines, reached)).await
    }

    async fn reached(&self, reader: &str) -> Result<u64, LinesFault> {
        let position = query_scalar::<_, i64>("SELECT position FROM log_line_readers WHERE reader = $1");
        let position = position.bind(reader).fetch_optional(&self.reading).await?;
        Ok(position.map_or(0, i64::cast_unsigned))
    }

    async fn ends(&self) -> Result<Option<Ids>, LinesFault> {
        let ends: (Option<i64>, Option<i64>) =
            query_as("SELECT (SELECT min(id) FROM log_lines), (SELECT max(id) FROM log_lines)")
                .fetch_one(&self.reading)
                .await?;
        Ok(ends.0.zip(ends.1).map(|(first, last)| Ids { first, last }))
    }

    async fn first_since(&self, source: Source, at: DateTime<Utc>) -> Result<Option<i64>, LinesFault> {
        let first = "SELECT id FROM log_lines WHERE source = $1 AND at >= $2 ORDER BY at, id LIMIT 1";
        let first = query_scalar(first).bind(source.name()).bind(at.timestamp_micros());
        Ok(first.fetch_optional(&self.reading).await?)
    }

    async fn counts(&self, filter: &LineFilter, facet: &str, buckets: Ids) -> Result<Vec<(i64, i64)>, LinesFault> {
        let counts = query_as(
            "SELECT bucket, lines FROM log_line_counts WHERE tenant = $1 AND source = $2 AND facet = $3 \
             AND bucket >= $4 AND bucket <= $5 ORDER BY bucket DESC",
        );
        let counts = counts.bind(filter.tenant.0).bind(filter.source.name()).bind(facet);
        Ok(counts.bind(buckets.first).bind(buckets.last).fetch_all(&self.reading).await?)
    }

    async fn count(&self, filter: &LineFilter, ids: Ids, limit: u64) -> Result<u64, LinesFault> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT count(*) FROM (SELECT 1 FROM log_lines ");
        push_where(&mut query, filter, ids);
        query.push(" LIMIT ").push_bind(bounded(limit)).push(")");
        let lines: i64 = query.build_query_scalar().fetch_one(&self.reading).await?;
        Ok(lines.unsigned_abs())
    }

    async fn newest(&self, filter: &LineFilter, ids: Ids, part: Part) -> Result<Vec<Line>, LinesFault> {
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        push_where(&mut query, filter, ids);
        query.push(" ORDER BY id DESC LIMIT ").push_bind(bounded(part.limit));
        query.push(" OFFSET ").push_bind(bounded(part.offset));
        in_lines(query.build_query_as().fetch_all(&self.reading).await?)
    }

    async fn oldest(&self, filter: &LineFilter, ids: Ids, limit: u64) -> Result<Vec<Line>, LinesFault> {
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        push_where(&mut query, filter, ids);
        query.push(" ORDER BY id LIMIT ").push_bind(bounded(limit));
        in_lines(query.build_query_as().fetch_all(&self.reading).await?)
    }

    async fn matches(&self, wanted: &[Wanted], of: &LineFilter, ids: Ids, needed: u64) -> Result<Matches, LinesFault> {
        let near = self.looked_through(wanted, of, ids, needed).await?;
        if near.complete || near.ids.len() as u64 >= needed {
            return Ok(near);
        }
        self.looked_up(wanted, of, ids, needed).await
    }

    async fn by_ids(&self, ids: &[i64]) -> Result<Vec<Line>, LinesFault> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query.push("WHERE id IN (");
        let mut list = query.separated(", ");
        ids.iter().for_each(|id| {
            list.push_bind(*id);
        });
        query.push(")");
        in_lines(query.build_query_as().fetch_all(&self.reading).await?)
    }

    async fn let_go(&self, bucket: i64) -> Result<u64, LinesFault> {
        let Ids { first, last } = ids_of(bucket);
        self.write(move |transaction| {
            transaction.execute(
                "DELETE FROM log_line_words WHERE rowid IN \
                 (SELECT id FROM log_lines WHERE id >= ?1 AND id <= ?2 AND source <> 'action')",
                [first, last],
            )?;
            let gone = "DELETE FROM log_lines WHERE id >= ?1 AND id <= ?2 AND source <> 'action'";
            let gone = transaction.execute(gone, [first, last])?;
            transaction.execute("DELETE FROM log_line_counts WHERE bucket = ?1 AND source <> 'action'", [bucket])?;
            Ok(gone as u64)
        })
        .await
    }
}
