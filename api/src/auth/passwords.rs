//! Passwords: what products ask of them, and argon2id, the only form in which they are kept.

use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

use crate::error::ApiError;

/// Passwords that are hashed at the same time: each takes 19 MiB.
static HASHING: Semaphore = Semaphore::const_new(4);

/// Longest password that is looked at, in bytes.
const BYTES_MAX: usize = 1024;
/// A hash that no password matches: unknown users take as long as known ones.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm8$CInXGqSnvbDFVdxKG7DnTlJpzRpXwSb1Sr5hR5tjoeM";

/// What a product asks of a new password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// At least 8 characters with upper and lower case, digit and symbol, nothing common, no character three times.
    HashInsight,
    /// 8 to 128 characters with a letter and a digit.
    Zinnia,
    /// 8 to 72 characters.
    Bitrun,
    /// 6 to 128 characters.
    Owl,
    /// 8 to 128 characters.
    Platform,
}

/// Passwords that fulfil every rule of composition and are guessed first, in lower case.
const COMMON: [&str; 12] = [
    "password1!",
    "password12!",
    "password123!",
    "p@ssw0rd",
    "p@ssw0rd1",
    "p@ssw0rd123",
    "admin123!",
    "admin@123",
    "welcome1!",
    "welcome123!",
    "qwerty123!",
    "changeme1!",
];

impl Policy {
    /// What is wrong with `password`, if anything.
    pub(crate) fn objection(self, password: &str) -> Option<&'static str> {
        let chars = password.chars().count();
        let has = |class: fn(char) -> bool| password.chars().any(class);
        match self {
            Self::HashInsight if !(8..=128).contains(&chars) => Some("Password must have 8 to 128 characters"),
            Self::HashInsight if !has(char::is_uppercase) => Some("Password must contain an uppercase letter"),
            Self::HashInsight if !has(char::is_lowercase) => Some("Password must contain a lowercase letter"),
            Self::HashInsight if !has(|c| c.is_ascii_digit()) => Some("Password must contain a digit"),
            Self::HashInsight if !has(|c| !c.is_alphanumeric()) => Some("Password must contain a special character"),
            Self::HashInsight if COMMON.contains(&password.to_lowercase().as_str()) => Some("Password is too common"),
            Self::HashInsight if repeats(password) => Some("Password must not repeat a character three times in a row"),
            Self::Zinnia if !(8..=128).contains(&chars) => Some("密码长度必须在8到128之间"),
            Self::Zinnia if !has(char::is_alphabetic) || !has(|c| c.is_ascii_digit()) => Some("密码必须包含字母和数字"),
            Self::Bitrun if !(8..=72).contains(&chars) => Some("Password must have 8 to 72 characters"),
            Self::Owl if chars < 6 => Some("密码长度至少6位"),
            Self::Owl if chars > 128 => Some("密码长度最多128位"),
            Self::Platform if !(8..=128).contains(&chars) => Some("must have 8 to 128 characters"),
            Self::HashInsight | Self::Zinnia | Self::Bitrun | Self::Owl | Self::Platform => None,
        }
    }
}

fn repeats(password: &str) -> bool {
    let chars: Vec<char> = password.chars().collect();
    chars.windows(3).any(|three| three[0] == three[1] && three[1] == three[2])
}

/// The hash of a new password, in PHC form.
///
/// # Errors
/// When the machine has no randomness or no memory for it.
pub(crate) async fn hash(password: String) -> Result<String, ApiError> {
    blocking(move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()))
        .await?
        .map_err(|error| ApiError::unavailable(&error))
}

/// Whether `password` is the one of `hash`; without a hash it takes as long and is none.
///
/// # Errors
/// When the server is going down.
pub(crate) async fn matches(password: String, hash: Option<String>) -> Result<bool, ApiError> {
    if password.len() > BYTES_MAX {
        return Ok(false);
    }
    blocking(move || {
        let known = hash.is_some();
        let hash = hash.as_deref().unwrap_or(NOBODY);
        let matches = Argon2::default().verify_password(password.as_bytes(), hash).is_ok();
        known && matches
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let _turn = HASHING.acquire().await.map_err(|error| ApiError::unavailable(&error))?;
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::unavailable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let kept = hash("correct horse".to_owned()).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(matches("correct horse".to_owned(), Some(kept.clone())).await.unwrap());
        assert!(!matches("correct house".to_owned(), Some(kept.clone())).await.unwrap());
        assert!(!matches("x".repeat(BYTES_MAX + 1), Some(kept)).await.unwrap());
        assert!(!matches("nobody".to_owned(), None).await.unwrap());
    }

    #[test]
    fn nobodys_hash_costs_what_others_cost() {
        let parsed = NOBODY.split('$').collect::<Vec<_>>();
        assert_eq!(parsed[1..4], ["argon2id", "v=19", "m=19456,t=2,p=1"]);
        let wrong = Argon2::default().verify_password(b"x", NOBODY).unwrap_err();
        assert!(matches!(wrong, argon2::password_hash::Error::PasswordInvalid), "{wrong}");
    }

    #[test]
    fn each_product_asks_what_it_documents() {
        for weak in ["Sh0rt!x", "alllower1!", "ALLUPPER1!", "NoDigits!!", "NoSymbol11", "P@ssw0rd123", "Aaa1!bbbb"] {
            assert!(Policy::HashInsight.objection(weak).is_some(), "{weak}");
        }
        assert_eq!(Policy::HashInsight.objection("Str0ng&Fine"), None);
        assert!(
            Policy::Zinnia.objection("onlyletters").is_some() && Policy::Zinnia.objection("SecurePass123!").is_none()
        );
        assert!(
            Policy::Bitrun.objection(&"x".repeat(73)).is_some() && Policy::Bitrun.objection("SecurePass123").is_none()
        );
        assert!(Policy::Owl.objection("12345").is_some() && Policy::Owl.objection("123456").is_none());
        assert!(Policy::Platform.objection("1234567").is_some() && Policy::Platform.objection("12345678").is_none());
    }
}
