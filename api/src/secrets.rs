//! The server's secret and what is derived from it. Nothing in here is ever logged.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use commands::gateways::mail::Seal;
use hmac::{Hmac, Mac};
use sha2::Sha256;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const BLOCK_BYTES: usize = 64;

/// The server's secret: 256 bits, shared by all servers of one installation.
#[derive(Clone)]
pub struct Secrets([u8; KEY_BYTES]);

/// Something sealed that this server cannot open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value cannot be opened with this server's secret")]
pub struct Unopenable;

impl Secrets {
    /// The secret kept in `path`; made and written there (readable by its owner only) on the first start.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is not 32 bytes long.
    pub fn open(path: &Path) -> io::Result<Self> {
        match fs::File::open(path) {
            Ok(mut file) => {
                let mut key = [0; KEY_BYTES];
                file.read_exact(&mut key)?;
                Ok(Self(key))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path),
            Err(error) => Err(error),
        }
    }

    /// A secret given in hexadecimal, for installations of several servers.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.trim().as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    fn create(path: &Path) -> io::Result<Self> {
        let key: [u8; KEY_BYTES] = rand::random();
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(&key)?;
        file.sync_all()?;
        Ok(Self(key))
    }

    /// A key for one purpose.
    pub fn derive(&self, purpose: &str) -> [u8; KEY_BYTES] {
        self.mac(&[b"corelog/", purpose.as_bytes()])
    }

    /// A keyed hash of `parts`, told apart by `purpose`.
    pub fn fingerprint(&self, purpose: &str, parts: &[&[u8]]) -> [u8; KEY_BYTES] {
        let key = Self(self.derive(purpose));
        let lengths: Vec<[u8; 8]> = parts.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
        let framed: Vec<&[u8]> = lengths.iter().zip(parts).flat_map(|(length, part)| [&length[..], part]).collect();
        key.mac(&framed)
    }

    /// Encrypts `plain`; only a holder of the secret who names the same `context` can open it.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload { msg: plain, aad: context.as_bytes() };
        let sealed = self.cipher().encrypt(&Nonce::from(nonce), payload).unwrap_or_default();
        [&nonce[..], &sealed].concat()
    }

    /// Opens what `seal` made.
    ///
    /// # Errors
    /// [`Unopenable`] when it was made with another secret or context, or was changed.
    pub fn unseal(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, Unopenable> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES).ok_or(Unopenable)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| Unopenable)?;
        let payload = Payload { msg: sealed, aad: context.as_bytes() };
        self.cipher().decrypt(&Nonce::from(nonce), payload).map_err(|_| Unopenable)
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&self.derive("seal").into())
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; KEY_BYTES] {
        // HMAC pads its key with zeros to a block; done here, the length cannot be wrong.
        let mut block = [0; BLOCK_BYTES];
        block[..KEY_BYTES].copy_from_slice(&self.0);
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl Seal for Secrets {
    fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        Self::seal(self, context, plain)
    }

    fn open(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.unseal(context, sealed).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_in_its_context_only() {
        let secrets = Secrets([7; KEY_BYTES]);
        let sealed = secrets.seal("answer/1", b"plain");
        assert_eq!(secrets.unseal("answer/1", &sealed), Ok(b"plain".to_vec()));
        assert_eq!(secrets.unseal("answer/2", &sealed), Err(Unopenable));
        assert_eq!(Secrets([8; KEY_BYTES]).unseal("answer/1", &sealed), Err(Unopenable));
        assert_eq!(secrets.unseal("answer/1", &sealed[..5]), Err(Unopenable));
    }

    #[test]
    fn fingerprints_tell_where_one_part_ends() {
        let secrets = Secrets([7; KEY_BYTES]);
        assert_ne!(secrets.fingerprint("x", &[b"ab", b"c"]), secrets.fingerprint("x", &[b"a", b"bc"]));
    }
}
