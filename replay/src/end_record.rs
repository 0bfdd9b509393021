//! The last line of a full export. A file without it was cut off; one that does not come to what it says was changed.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What the lines before it come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndRecord {
    pub(crate) events: u64,
    pub(crate) commands: u64,
    pub(crate) readers: u64,
    /// Rolling digest of positions and event ids.
    pub(crate) digest: String,
    /// Of all lines before this one, with their ends.
    pub(crate) sha256: String,
}

impl EndRecord {
    /// What `found` has that this record does not say, in words.
    pub(crate) fn contradiction(&self, found: &Self) -> Option<String> {
        let number = |what: &str, said: u64, found: u64| {
            (said != found).then(|| format!("it has {found} {what}, and its end record says {said}"))
        };
        number("events", self.events, found.events)
            .or_else(|| number("kept commands", self.commands, found.commands))
            .or_else(|| number("readers", self.readers, found.readers))
            .or_else(|| (self != found).then(|| "its lines are not those that its end record was made for".to_owned()))
    }
}

/// SHA-256 over lines.
#[derive(Default)]
pub(crate) struct LinesHash(Sha256);

impl LinesHash {
    /// Adds a line with its end.
    pub(crate) fn add(&mut self, line: &[u8]) {
        self.0.update(line);
    }

    /// In hexadecimal.
    pub(crate) fn hex(&self) -> String {
        HEXLOWER.encode(&self.0.clone().finalize())
    }
}
