//! What is too big for the log, the same for every engine.

use domain::log::{
    AGGREGATE_ID_BYTES_MAX, APPEND_BYTES_MAX, APPEND_EVENTS_MAX, Append, CommandKey, EVENT_BYTES_MAX, KEY_BYTES_MAX,
    LogError,
};

/// Refuses an append that no engine may take.
pub(super) fn check(append: &Append) -> Result<(), LogError> {
    let events = append.events.len();
    if events > APPEND_EVENTS_MAX {
        return too_large(format!("{events} events, at most {APPEND_EVENTS_MAX} are taken"));
    }
    let largest = append.events.iter().map(|event| event.payload.len()).max().unwrap_or(0);
    if largest > EVENT_BYTES_MAX {
        return too_large(format!("an event of {largest} bytes, at most {EVENT_BYTES_MAX} are taken"));
    }
    let bytes = bytes(append);
    if bytes > APPEND_BYTES_MAX {
        return too_large(format!("{bytes} bytes, at most {APPEND_BYTES_MAX} are taken"));
    }
    check_text("the aggregate's id", &append.aggregate_id, AGGREGATE_ID_BYTES_MAX)?;
    append.key.as_ref().map_or(Ok(()), check_key)
}

/// Refuses a key that no engine may take.
pub(super) fn check_key(key: &CommandKey) -> Result<(), LogError> {
    check_text("the key", &key.key, KEY_BYTES_MAX)
}

/// What an append weighs in a batch.
pub(super) fn bytes(append: &Append) -> usize {
    append.metadata.len() + append.events.iter().map(|event| event.payload.len()).sum::<usize>()
}

fn check_text(what: &str, text: &str, bytes_max: usize) -> Result<(), LogError> {
    if text.len() > bytes_max {
        too_large(format!("{what} has {} bytes, at most {bytes_max} are taken", text.len()))
    } else if text.contains('\0') {
        // PostgreSQL has no such text; one command with it would fail all that share its statement.
        too_large(format!("{what} holds a character of value 0"))
    } else {
        Ok(())
    }
}

fn too_large<T>(what: String) -> Result<T, LogError> {
    Err(LogError::TooLarge(what))
}
