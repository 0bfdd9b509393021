//! What is wrong with settings, said plainly.

use figment::Metadata;
use figment::error::{Actual, Error, Kind};

/// A setting with its variable: `miners.tries_max (CORELOG_MINERS__TRIES_MAX)`.
pub(super) fn named(setting: &str) -> String {
    format!("{setting} (CORELOG_{})", setting.to_uppercase().replace('.', "__"))
}

/// A sentence for each setting that cannot be read.
pub(super) fn unreadable(errors: Error) -> String {
    errors.into_iter().map(|error| sentence(&error)).collect::<Vec<_>>().join("; ")
}

fn sentence(error: &Error) -> String {
    let mut path = error.path.clone();
    if let Kind::UnknownField(field, known) = &error.kind {
        if path.last() != Some(field) {
            path.push(field.clone());
        }
        return format!("there is no setting {}; there are: {}", place(&path, error), known.join(", "));
    }
    let why = why(&error.kind);
    if !path.is_empty() {
        return format!("the setting {} {why}", place(&path, error));
    }
    let file = error.metadata.as_ref().and_then(file);
    file.map_or_else(|| format!("the settings {why}"), |file| format!("the settings in {file} {why}"))
}

/// The setting and where it was given: a variable has the name that it must have, a file has one of its own.
fn place(path: &[String], error: &Error) -> String {
    let setting = path.join(".");
    match error.metadata.as_ref().and_then(file) {
        Some(file) => format!("{setting} (in {file})"),
        None => named(&setting),
    }
}

fn file(given: &Metadata) -> Option<String> {
    let name = given.source.as_ref()?.file_path()?.file_name()?;
    Some(name.to_string_lossy().into_owned())
}

fn why(kind: &Kind) -> String {
    match kind {
        Kind::UnknownVariant(found, known) => format!("is {found}, but must be {}", known.join(" or ")),
        // It may be a password.
        Kind::InvalidType(_, expected) if expected.contains("string") => {
            "must be a text: put it between quotation marks".to_owned()
        }
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("is {}, but must be {}", value(found), wanted(expected))
        }
        Kind::MissingField(field) => format!("needs {field}"),
        Kind::DuplicateField(field) => format!("has {field} twice"),
        Kind::Message(message) => format!("cannot be used: {message}"),
        Kind::InvalidLength(..)
        | Kind::UnknownField(..)
        | Kind::ISizeOutOfRange(_)
        | Kind::USizeOutOfRange(_)
        | Kind::Unsupported(_)
        | Kind::UnsupportedKey(..) => format!("cannot be used: {}", kind.to_string().replace('`', "")),
    }
}

/// The value alone: ``unsigned int `3` `` is 3.
fn value(found: &Actual) -> String {
    let text = found.to_string();
    let begin = text.find(['`', '"']).unwrap_or_default();
    text[begin..].trim_matches('`').to_owned()
}

fn wanted(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or above",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "socket address" => "an address and a port",
        types if types.starts_with("enum ") => "one of the words that corelog.example.toml names",
        types if types.starts_with("struct ") => "a table of settings, as in corelog.example.toml",
        other => other,
    }
}
