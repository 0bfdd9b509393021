//! Keys and tokens of devices: 256 random bits each, kept as keyed hashes. Nothing so random needs a slow hash.

use domain::devices::device::HashedSecret;

use crate::secrets::Secrets;

const SECRET_BYTES: usize = 32;

/// What a secret is for; it shows in its first characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The one key of a device.
    Key,
    /// A token that was handed out for a device.
    Token,
}

impl Kind {
    /// What its secrets begin with.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::Key => "zn_live_",
            Self::Token => "zn_dat_",
        }
    }

    /// Random characters that are shown to tell secrets apart.
    fn shown(self) -> usize {
        match self {
            Self::Key => 8,
            Self::Token => 12,
        }
    }

    /// The kind of a secret, by its looks.
    pub(crate) fn of(secret: &str) -> Option<Self> {
        let length = data_encoding::BASE64URL_NOPAD.encode_len(SECRET_BYTES);
        let looks = |kind: Self| secret.strip_prefix(kind.mark()).is_some_and(|rest| rest.len() == length);
        [Self::Key, Self::Token].into_iter().find(|kind| looks(*kind))
    }
}

/// A fresh secret: what is shown once, and what is kept.
pub(crate) fn fresh(secrets: &Secrets, kind: Kind) -> (String, HashedSecret) {
    let random: [u8; SECRET_BYTES] = rand::random();
    let secret = format!("{}{}", kind.mark(), data_encoding::BASE64URL_NOPAD.encode(&random));
    let prefix = format!("{}...", secret.chars().take(kind.mark().len() + kind.shown()).collect::<String>());
    let hash = hash(secrets, &secret);
    (secret, HashedSecret { hash, prefix })
}

/// The keyed hash of a secret, in hexadecimal.
pub(crate) fn hash(secrets: &Secrets, secret: &str) -> String {
    data_encoding::HEXLOWER.encode(&secrets.fingerprint("device-secret", &[secret.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_marked_and_never_the_same() {
        let secrets = Secrets::from_hex(&"7".repeat(64)).unwrap();
        let (key, kept) = fresh(&secrets, Kind::Key);
        assert_eq!((key.len(), Kind::of(&key)), (51, Some(Kind::Key)));
        assert_eq!(kept.prefix, format!("{}...", &key[..16]));
        assert_eq!(kept.hash, hash(&secrets, &key));
        assert_ne!(fresh(&secrets, Kind::Key).0, key);
        let (token, kept) = fresh(&secrets, Kind::Token);
        assert_eq!((token.len(), Kind::of(&token), kept.prefix.len()), (50, Some(Kind::Token), 22));
        assert_eq!(Kind::of("zn_live_short"), None);
    }
}
