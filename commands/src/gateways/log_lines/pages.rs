//! Pages and totals of lines, out of the few questions that each database answers fast.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::path::Path;

use super::postgres::PostgresLines;
use super::rows::{Ids, bucket_of, facet, ids_of};
use super::sqlite::SqliteLines;
use super::words::{Wanted, wanted};
use super::{Line, LineFilter, LinesFault, LogLines, NewLine, Reached, Source};

/// Matches of a search, and lines of a filter that nobody counts, are counted and paged up to here.
pub const MATCHES_MAX: u64 = 1_000;

/// One page of lines.
#[derive(Debug, Clone)]
pub struct LinePage {
    pub lines: Vec<Line>,
    /// Lines on all pages.
    pub total: u64,
    /// False where there are more than `total` and nobody counted them.
    pub total_is_exact: bool,
}

impl LinePage {
    fn empty() -> Self {
        Self { lines: Vec::new(), total: 0, total_is_exact: true }
    }
}

/// Which part of an ordered list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) limit: u64,
}

/// What a database is asked about its lines. Times were looked up to be ids before.
#[async_trait]
pub(super) trait LineTables: Send + Sync {
    async fn append(&self, lines: Vec<NewLine>, reached: Option<Reached>) -> Result<(), LinesFault>;
    async fn reached(&self, reader: &str) -> Result<u64, LinesFault>;
    /// The lowest and the highest id; none when there are no lines.
    async fn ends(&self) -> Result<Option<Ids>, LinesFault>;
    /// The first id of a source at or after a moment.
    async fn first_since(&self, source: Source, at: DateTime<Utc>) -> Result<Option<i64>, LinesFault>;
    /// Buckets and how many lines of a facet they hold, the newest first.
    async fn counts(&self, filter: &LineFilter, facet: &str, buckets: Ids) -> Result<Vec<(i64, i64)>, LinesFault>;
    /// How many lines of the filter have one of these ids, counted up to `limit`.
    async fn count(&self, filter: &LineFilter, ids: Ids, limit: u64) -> Result<u64, LinesFault>;
    /// Lines of the filter, the newest first.
    async fn newest(&self, filter: &LineFilter, ids: Ids, part: Part) -> Result<Vec<Line>, LinesFault>;
    /// Lines of the filter, the oldest first.
    async fn oldest(&self, filter: &LineFilter, ids: Ids, limit: u64) -> Result<Vec<Line>, LinesFault>;
    /// Ids of the newest lines with all these words: at least `needed` where there are so many, and whether these are
    /// all of them.
    async fn matches(&self, wanted: &[Wanted], of: &LineFilter, ids: Ids, needed: u64) -> Result<Matches, LinesFault>;
    /// These lines.
    async fn by_ids(&self, ids: &[i64]) -> Result<Vec<Line>, LinesFault>;
    /// Lets go of the lines of a bucket that can be let go: the actions of users stay. Answers how many went.
    async fn let_go(&self, bucket: i64) -> Result<u64, LinesFault>;
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Matches {
    /// The newest first.
    pub(super) ids: Vec<i64>,
    pub(super) complete: bool,
}

impl Matches {
    pub(super) const NONE: Self = Self { ids: Vec::new(), complete: true };

    /// As many as are shown.
    fn bounded(mut self) -> Self {
        self.complete &= self.ids.len() as u64 <= MATCHES_MAX;
        self.ids.truncate(usize::try_from(MATCHES_MAX).unwrap_or(usize::MAX));
        self
    }
}

/// Lines in the tables of a database.
pub struct StoredLines(Box<dyn LineTables>);

impl StoredLines {
    /// In an SQLite file, made when it is missing. One program at a time writes to it.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn sqlite(path: &Path) -> Result<Self, LinesFault> {
        Ok(Self(Box::new(SqliteLines::open(path).await?)))
    }

    /// In PostgreSQL, in the database of the log.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn postgres(url: &str) -> Result<Self, LinesFault> {
        Ok(Self(Box::new(PostgresLines::connect(url).await?)))
    }

    /// The ids between the moments of `filter`; none when there are none.
    async fn ids(&self, filter: &LineFilter) -> Result<Option<Ids>, LinesFault> {
        let Some(Ids { mut first, mut last }) = self.0.ends().await? else { return Ok(None) };
        if let Some(from) = filter.from {
            let Some(since) = self.0.first_since(filter.source, from).await? else { return Ok(None) };
            first = since;
        }
        if let Some(before) = filter.before
            && let Some(since) = self.0.first_since(filter.source, before).await?
        {
            last = since - 1;
        }
        Ok((first <= last).then_some(Ids { first, last }))
    }

    /// A page by the counts of a facet: a run of ids that stands before the page is passed over at once.
    async fn counted(&self, filter: &LineFilter, facet: &str, ids: Ids, part: Part) -> Result<LinePage, LinesFault> {
        let buckets = Ids { first: bucket_of(ids.first), last: bucket_of(ids.last) };
        let counts = self.0.counts(filter, facet, buckets).await?;
        let (mut total, mut passed, mut start) = (0, 0, None);
        for (bucket, counted) in counts {
            let within = ids_of(bucket);
            let whole = within.first >= ids.first && within.last <= ids.last;
            let within = Ids { first: within.first.max(ids.first), last: within.last.min(ids.last) };
            // Only the buckets at the ends can be cut by a moment.
            let lines = if whole || filter.from.is_none() && filter.before.is_none() {
                counted.unsigned_abs()
            } else {
                self.0.count(filter, within, u64::MAX).await?
            };
            total += lines;
            if start.is_none() {
                if total > part.offset {
                    start = Some(within.last);
                } else {
                    passed = total;
                }
            }
        }
        let lines = match start {
            Some(last) => {
                let part = Part { offset: part.offset - passed, ..part };
                self.0.newest(filter, Ids { last, ..ids }, part).await?
            }
            None => Vec::new(),
        };
        Ok(LinePage { lines, total, total_is_exact: true })
    }

    /// A page of a filter that no facet counts.
    async fn uncounted(&self, filter: &LineFilter, ids: Ids, part: Part) -> Result<LinePage, LinesFault> {
        let total = self.0.count(filter, ids, MATCHES_MAX + 1).await?;
        let lines = if part.offset < total { self.0.newest(filter, ids, part).await? } else { Vec::new() };
        Ok(LinePage { lines, total: total.min(MATCHES_MAX), total_is_exact: total <= MATCHES_MAX })
    }

    async fn found(&self, filter: &LineFilter, words: &[Wanted], ids: Ids, part: Part) -> Result<LinePage, LinesFault> {
        let needed = part.offset.saturating_add(part.limit).min(MATCHES_MAX);
        let matches = self.0.matches(words, filter, ids, needed).await?.bounded();
        let page = matches.ids.iter().skip(usize::try_from(part.offset).unwrap_or(usize::MAX));
        let page: Vec<i64> = page.take(usize::try_from(part.limit).unwrap_or(usize::MAX)).copied().collect();
        let mut lines = self.0.by_ids(&page).await?;
        lines.sort_unstable_by_key(|line| std::cmp::Reverse(line.id));
        Ok(LinePage { lines, total: matches.ids.len() as u64, total_is_exact: matches.complete })
    }
}

#[async_trait]
impl LogLines for StoredLines {
    async fn append(&self, lines: Vec<NewLine>, reached: Option<Reached>) -> Result<(), LinesFault> {
        self.0.append(lines, reached).await
    }

    async fn page(&self, filter: &LineFilter, offset: u64, limit: u64) -> Result<LinePage, LinesFault> {
        let Some(ids) = self.ids(filter).await? else { return Ok(LinePage::empty()) };
        let part = Part { offset, limit };
        if let Some(words) = wanted(filter) {
            return self.found(filter, &words, ids, part).await;
        }
        match facet(filter) {
            Some(facet) => self.counted(filter, &facet, ids, part).await,
            None => self.uncounted(filter, ids, part).await,
        }
    }

    async fn after(&self, filter: &LineFilter, after: i64, limit: u64) -> Result<Vec<Line>, LinesFault> {
        let Some(ids) = self.ids(filter).await? else { return Ok(Vec::new()) };
        self.0.oldest(filter, Ids { first: ids.first.max(after.saturating_add(1)), ..ids }, limit).await
    }

    async fn reached(&self, reader: &str) -> Result<u64, LinesFault> {
        self.0.reached(reader).await
    }

    async fn trim(&self, before: DateTime<Utc>, lines_max: u64) -> Result<u64, LinesFault> {
        let Some(ends) = self.0.ends().await? else { return Ok(0) };
        let by_number = ends.last.saturating_sub(i64::try_from(lines_max).unwrap_or(i64::MAX));
        // Lines of both sources lie between each other: where one of them is young enough, both stay.
        let (mut by_age, mut first) = (i64::MAX, i64::MAX);
        for source in [Source::System, Source::Task] {
            by_age = by_age.min(self.0.first_since(source, before).await?.unwrap_or(i64::MAX));
            first = first.min(self.0.first_since(source, DateTime::UNIX_EPOCH).await?.unwrap_or(i64::MAX));
        }
        let keep_from = bucket_of(by_number.max(by_age).min(ends.last));
        let mut gone = 0;
        for bucket in bucket_of(first)..keep_from {
            gone += self.0.let_go(bucket).await?;
        }
        Ok(gone)
    }
}
