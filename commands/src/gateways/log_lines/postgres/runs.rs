//! Words as the index has them: each begins with the run of ids that its line is of, and with its tenant and source.
//!
//! An index of words (GIN) collects all lines of a word before it gives the first one, and does not know which are the
//! newest. Asked about one run after the other, from the newest on, it never collects more than a run has.

use sha2::{Digest, Sha256};
use sqlx::{Postgres, QueryBuilder};

use super::super::rows::{Ids, push_where};
use super::super::words::{Wanted, mark, marks_and_words_of};
use super::super::{LineFilter, NewLine};

/// Lines of a run. Half as many are more runs to be asked; twice as many, more lines of a frequent word to collect.
/// `0002_words_of_runs.sql` knows this number and the next.
const RUN_LINES: i64 = 1 << 14;
/// Runs that have numbers of their own: three hexadecimal digits. Later ones have the same numbers again.
const NUMBERS: i64 = 1 << 12;
/// Stands for the number of a run. No word and no mark has it.
const NUMBER: char = '~';

/// The words of a line and the marks of its columns, for the index.
pub(super) fn words_of(line: &NewLine, id: i64) -> Vec<String> {
    let all = mark(line.tenant, line.source);
    let beginning = beginning(&format!("{:03x}", id / RUN_LINES % NUMBERS), &all);
    marks_and_words_of(line).iter().filter(|word| **word != all).map(|word| indexed(&beginning, word)).collect()
}

/// What the words of a run begin with. `all` is the mark of all lines of a tenant and source: others are not collected
/// with them.
fn beginning(number: &str, all: &str) -> String {
    format!("{number}{}", &hash(all)[..2])
}

fn indexed(beginning: &str, word: &str) -> String {
    match word.strip_prefix('_') {
        Some(_) => format!("{beginning}_{}", &hash(word)[..8]),
        None => format!("{beginning}{word}"),
    }
}

/// Marks would be longer than most lines. Two that are the same when they are short cost time and nothing else: the
/// columns are looked at as well.
fn hash(mark: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(mark.as_bytes()))
}

/// The query for the ids of the newest `limit` lines with all these words.
pub(super) fn newest_with<'a>(
    wanted: &[Wanted],
    filter: &'a LineFilter,
    ids: Ids,
    limit: i64,
) -> QueryBuilder<'a, Postgres> {
    // A nested loop goes along the runs as they come, and the limit ends it. OFFSET 0: no other index than that of words
    // is thought of.
    let mut query = QueryBuilder::new("SELECT found.id FROM generate_series(");
    query.push_bind(ids.last / RUN_LINES).push(", ").push_bind(ids.first / RUN_LINES).push(", -1) AS run (number) ");
    query.push("CROSS JOIN LATERAL (SELECT id FROM (SELECT * FROM log_lines WHERE words @@ replace(");
    query.push_bind(expression(wanted, &mark(filter.tenant, filter.source)));
    query.push(format!(", '{NUMBER}', lpad(to_hex(run.number % {NUMBERS}), 3, '0'))::tsquery OFFSET 0) l "));
    push_where(&mut query, filter, ids);
    query.push(format!(" AND id / {RUN_LINES} = run.number ORDER BY id DESC LIMIT "));
    query.push_bind(limit).push(") found LIMIT ").push_bind(limit);
    query
}

/// The words of a search as a `tsquery` of one run.
fn expression(wanted: &[Wanted], all: &str) -> String {
    let beginning = beginning(&NUMBER.to_string(), all);
    let word = |Wanted { word, as_beginning }: &Wanted| {
        format!("'{}'{}", indexed(&beginning, word), if *as_beginning { ":*" } else { "" })
    };
    wanted.iter().filter(|wanted| wanted.word != all).map(word).collect::<Vec<_>>().join(" & ")
}
