//! Markdown.

use std::time::Duration;

/// A table under a heading.
pub(crate) struct Table {
    text: String,
}

impl Table {
    pub(crate) fn new(title: &str, columns: &[&str]) -> Self {
        let line = vec!["---"; columns.len()].join(" | ");
        Self { text: format!("### {title}\n\n| {} |\n| {line} |\n", columns.join(" | ")) }
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        self.text.extend(["| ", &cells.join(" | "), " |\n"]);
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// `31,250`.
pub(crate) fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `10.3 ×`.
pub(crate) fn times(ratio: f64) -> String {
    format!("{ratio:.1} ×")
}

/// `1.25 ms`.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1_000.0)
}
