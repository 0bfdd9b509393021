//! Texts that people read later, in lists, mails and reports of others: what may stand in them.
//!
//! Control characters are refused because no screen shows them, and characters that turn the direction of writing
//! because they make a text look like another one. Only decisions ask: what the log has stays as it is.

/// Whether `text` is one line, and shows what is in it.
pub fn is_line(text: &str) -> bool {
    !text.chars().any(|c| is_hidden(c) || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Whether `text` shows what is in it; it may have several lines, and tabs.
pub fn are_lines(text: &str) -> bool {
    !text.chars().any(|c| is_hidden(c) && !matches!(c, '\n' | '\r' | '\t'))
}

/// `text` as a line: without what may not stand in one. For texts of the log that are older than this rule.
pub fn to_line(text: &str) -> String {
    text.chars().filter(|c| is_line(c.encode_utf8(&mut [0; 4]))).collect()
}

/// Control characters of both sets (C0 and C1), and those that embed, override or isolate a direction.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_refused() {
        for hidden in ['\0', '\u{1b}', '\u{7f}', '\u{80}', '\u{9b}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}'] {
            let text = format!("a{hidden}b");
            assert!(!is_line(&text) && !are_lines(&text), "{hidden:?}");
        }
    }

    #[test]
    fn notes_have_lines_and_names_have_not() {
        for lines in ["a\nb", "a\tb", "a\r\nb", "a\u{2028}b"] {
            assert!(are_lines(lines) && !is_line(lines), "{lines:?}");
        }
    }

    #[test]
    fn an_old_text_becomes_a_line() {
        assert_eq!(to_line("Mi\u{202e}ra\n"), "Mira");
    }

    #[test]
    fn every_language_can_be_written() {
        for name in ["猫头鹰工厂", "Ñandú 👩‍🚀", "שלום\u{200f}!", "مرحبا", "a\u{a0}b"] {
            assert!(is_line(name) && are_lines(name), "{name}");
        }
    }
}
