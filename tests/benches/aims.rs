//! What was aimed at, and what was reached in this run.

use std::sync::{Mutex, PoisonError};

use crate::table::{Table, whole};

/// The aims that the parts of this run met or missed.
#[derive(Default)]
pub(crate) struct Aims(Mutex<Vec<[String; 4]>>);

impl Aims {
    /// `what` is to reach at least `aim`, both in `unit`.
    pub(crate) fn at_least(&self, what: String, aim: f64, reached: f64, unit: &str) {
        self.add(
            [what, format!("at least {}{unit}", figure(aim)), format!("{}{unit}", figure(reached))],
            reached >= aim,
        );
    }

    /// `what` is to stay under `aim`, both in `unit`.
    pub(crate) fn under(&self, what: String, aim: f64, reached: f64, unit: &str) {
        self.add([what, format!("under {}{unit}", figure(aim)), format!("{}{unit}", figure(reached))], reached < aim);
    }

    fn add(&self, [what, aim, reached]: [String; 3], held: bool) {
        let held = if held { "yes" } else { "**no**" };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push([what, aim, reached, held.to_owned()]);
    }

    /// All of them in a table; nothing when there are none.
    pub(crate) fn into_text(self) -> String {
        let aims = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        if aims.is_empty() {
            return String::new();
        }
        let mut table = Table::new("Aims", &["what", "aim", "reached", "held"]);
        aims.iter().for_each(|aim| table.row(aim));
        table.into_text()
    }
}

/// Whole, unless so small that the fraction matters.
fn figure(number: f64) -> String {
    if number < 100.0 && number.fract().abs() > 0.005 { format!("{number:.2}") } else { whole(number) }
}
