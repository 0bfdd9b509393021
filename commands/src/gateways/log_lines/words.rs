//! What a search finds: the words of a line, the same for every database.

use serde_json::Value;

use super::{LineFilter, NewLine};

/// Most words that are kept of one line.
const WORDS_MAX: usize = 128;
/// Longest word that is kept whole, in characters.
const WORD_CHARS_MAX: usize = 40;
/// Longest text of a field that is searched, in bytes.
const FIELD_BYTES_MAX: usize = 512;
/// A search finds words that begin with one of its own from this length on.
const PREFIX_CHARS_MIN: usize = 3;

/// The distinct words of a text in lower case, in order. Where a script has no blanks every character is a word.
pub fn words(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut word = String::new();
    for character in text.chars().flat_map(char::to_lowercase).chain([' ']) {
        if character.is_alphanumeric() && !stands_alone(character) {
            if word.chars().count() < WORD_CHARS_MAX {
                word.push(character);
            }
            continue;
        }
        keep(&mut found, std::mem::take(&mut word));
        if stands_alone(character) {
            keep(&mut found, character.to_string());
        }
    }
    found
}

fn keep(found: &mut Vec<String>, word: String) {
    if !word.is_empty() && found.len() < WORDS_MAX && !found.contains(&word) {
        found.push(word);
    }
}

/// Chinese, Japanese and Korean characters.
fn stands_alone(character: char) -> bool {
    matches!(character, '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3134f}')
}

/// The words of a line for searches, and before them marks that no search can type, because words have no `_`.
pub(super) fn marks_and_words_of(line: &NewLine) -> Vec<String> {
    let mut found = marks(line.tenant, line.source, Some(line.level), line.user, line.task);
    found.extend(words_of(line));
    found
}

/// The words of a line: those of its message and of texts in its fields.
pub(super) fn words_of(line: &NewLine) -> Vec<String> {
    let mut text = line.message.clone();
    for value in line.fields.values() {
        if let Value::String(value) = value
            && value.len() <= FIELD_BYTES_MAX
            && uuid::Uuid::try_parse(value).is_err()
        {
            text.push(' ');
            text.push_str(value);
        }
    }
    words(&text)
}

/// The mark of all lines of a source and tenant.
pub(super) fn mark(tenant: domain::TenantId, source: super::Source) -> String {
    format!("_{}_{}", source.name(), tenant.0.simple())
}

/// A mark for all lines of a source and tenant, and one for each column of theirs, so that a search needs none but those
/// of the columns that it asks for.
fn marks(
    tenant: domain::TenantId,
    source: super::Source,
    level: Option<super::Level>,
    user: Option<domain::metadata::UserId>,
    task: Option<uuid::Uuid>,
) -> Vec<String> {
    let all = mark(tenant, source);
    let level = level.map(|level| format!("{all}_{}", level.name().to_lowercase()));
    let user = user.map(|user| format!("{all}_u{}", user.0.simple()));
    let task = task.map(|task| format!("{all}_t{}", task.simple()));
    [Some(all), level, user, task].into_iter().flatten().collect()
}

/// One word of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) word: String,
    /// Longer words that begin so are found as well.
    pub(super) as_beginning: bool,
}

impl Wanted {
    /// Whether it stands for a column, not for a word of the line.
    pub(super) fn is_mark(&self) -> bool {
        self.word.starts_with('_')
    }

    /// A pattern of SQLite that every text with this word fits, if there is one: SQLite knows capitals of ASCII only.
    pub(super) fn like(&self) -> Option<String> {
        let known = self.word.chars().all(|character| character.is_ascii() || !character.is_lowercase());
        (known && !self.is_mark()).then(|| format!("%{}%", self.word))
    }

    fn is(&self, word: &str) -> bool {
        if self.as_beginning { word.starts_with(&self.word) } else { word == self.word }
    }
}

/// Whether a line has all wanted words. What marks stand for is not looked at.
pub(super) fn is_match(line: &NewLine, wanted: &[Wanted]) -> bool {
    let words = words_of(line);
    wanted.iter().filter(|wanted| !wanted.is_mark()).all(|wanted| words.iter().any(|word| wanted.is(word)))
}

/// The words that a line must have for `filter`; none when no word is searched.
pub(super) fn wanted(filter: &LineFilter) -> Option<Vec<Wanted>> {
    let words = filter.search.as_deref().map(words).filter(|words| !words.is_empty())?;
    let marks = marks(filter.tenant, filter.source, filter.level, filter.user, filter.task);
    // The mark of all lines says nothing beside another.
    let first = usize::from(marks.len() > 1);
    let marks = marks.into_iter().skip(first).map(|word| Wanted { word, as_beginning: false });
    let words = words.into_iter().map(|word| {
        let as_beginning = word.chars().count() >= PREFIX_CHARS_MIN;
        Wanted { word, as_beginning }
    });
    Some(marks.chain(words).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_stands_between_signs() {
        assert_eq!(words("A request FAILED: a_b, ok?"), ["a", "request", "failed", "b", "ok"]);
        assert_eq!(words("任务 failed 超时"), ["任", "务", "failed", "超", "时"]);
        assert_eq!(words("--- !?"), Vec::<String>::new());
        assert_eq!(words(&"x".repeat(99)), ["x".repeat(WORD_CHARS_MAX)]);
    }

    #[test]
    fn no_search_can_name_a_mark() {
        assert!(words("_system_00000000 _error _uabc").iter().all(|word| !word.contains('_')));
    }
}
