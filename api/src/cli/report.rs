//! How a subcommand about history reports: as text, or as JSON.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Failure, text};

/// How a report is written.
#[derive(Debug, Clone, Copy, Args)]
pub struct As {
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

impl As {
    /// How those report whose arguments could not be read, because of what else is wrong with them.
    pub fn asked_for(arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self { json: arguments.into_iter().any(|argument| argument == "--json") }
    }

    /// Whether it is JSON.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Why there is no report: a sentence, or JSON where that was asked for.
    pub fn complaint(self, sentence: &str) -> String {
        if self.json {
            serde_json::json!({ "error": sentence }).to_string()
        } else {
            format!("corelog: {}", text::visible(sentence))
        }
    }

    pub(super) fn write<T: Serialize + ?Sized>(
        self,
        out: &mut (dyn Write + Send),
        report: &T,
        text: impl FnOnce(&T, &mut (dyn Write + Send)) -> std::io::Result<()>,
    ) -> Result<ExitCode, Failure> {
        if self.json {
            serde_json::to_writer_pretty(&mut *out, report).map_err(std::io::Error::from)?;
            writeln!(out)?;
        } else {
            text(report, out)?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}
