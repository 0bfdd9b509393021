//! What a JSON text must not hold to become a part of an event: whatever is appended is read for good, by every engine.

/// Most levels of arrays and objects in an event: parsers stop at 128, and read models set payloads into others.
pub const LEVELS_MAX: usize = 100;

/// Why a text cannot be a part of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnfitPayload {
    /// PostgreSQL keeps no such text.
    #[error("a text may not contain the character NUL")]
    Nul,
    #[error("arrays and objects are nested more than {0} levels deep")]
    TooDeep(usize),
}

/// Looks through `json`, which need not be well-formed, for NULs in texts and for more than `levels_max` levels.
///
/// # Errors
/// The first that was found.
pub fn check(json: &[u8], levels_max: usize) -> Result<(), UnfitPayload> {
    let (mut at, mut levels, mut in_text) = (0, 0_usize, false);
    while let Some(byte) = json.get(at) {
        match byte {
            b'\\' if in_text && json[at..].starts_with(br"\u0000") => return Err(UnfitPayload::Nul),
            // What follows is escaped, be it a quote or another backslash.
            b'\\' if in_text => at += 1,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                levels += 1;
                if levels > levels_max {
                    return Err(UnfitPayload::TooDeep(levels_max));
                }
            }
            b']' | b'}' if !in_text => levels = levels.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Whether a text in `json` holds the character NUL.
pub fn holds_nul(json: &str) -> bool {
    check(json.as_bytes(), usize::MAX) == Err(UnfitPayload::Nul)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_found_and_what_looks_like_one_is_not() {
        for nul in [br#"{"a":"\u0000"}"#.as_slice(), br#"{"a":"x\\\u0000"}"#, br#"["\\","\u0000"]"#, br#"{"\u0000":1}"#]
        {
            assert_eq!(check(nul, 9), Err(UnfitPayload::Nul), "{}", String::from_utf8_lossy(nul));
        }
        for fine in [br#"{"a":"\\u0000"}"#.as_slice(), b"", br#"{"a":"\\\\u0000"}"#] {
            assert_eq!(check(fine, 9), Ok(()), "{}", String::from_utf8_lossy(fine));
        }
    }

    #[test]
    fn levels_are_counted_outside_of_texts() {
        assert_eq!(check(br#"[[{"a":[]}]]"#, 4), Ok(()));
        assert_eq!(check(br#"[[{"a":[]}]]"#, 3), Err(UnfitPayload::TooDeep(3)));
        assert_eq!(check(br#"["[[[[","\"[[[",{"}":"{{{"}]"#, 2), Ok(()));
        assert_eq!(check(br"[[],[],[],{}]", 2), Ok(()));
        assert_eq!(check(br"]]]][[", 1), Err(UnfitPayload::TooDeep(1)));
    }
}
