//! Web push (RFC 8030, 8291, 8292): a message that only the browser can read, from a server that the push service knows.

use chrono::{DateTime, Utc};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::json;
use web_push_native::p256::elliptic_curve::sec1::ToEncodedPoint;
use web_push_native::p256::pkcs8::EncodePrivateKey;
use web_push_native::p256::{PublicKey, SecretKey};
use web_push_native::{Auth, WebPushBuilder};

use super::outside::Outside;
use super::{Fault, Letter};

/// How long a signature is good for, in seconds: push services take a day at most.
const SIGNED_SECONDS: i64 = 12 * 3_600;
const AUTH_BYTES: usize = 16;

/// The key by which push services know this server.
pub struct VapidKey {
    signing: EncodingKey,
    /// As browsers want it.
    public: String,
    /// Whom a push service can turn to.
    contact: String,
}

/// A key that is none.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the secret makes no key for web push")]
pub struct NoKey;

impl VapidKey {
    /// The key made from 32 secret bytes.
    ///
    /// # Errors
    /// `NoKey`, for one in some 2^32 secrets.
    pub fn new(secret: [u8; 32], contact: &str) -> Result<Self, NoKey> {
        let key = SecretKey::from_slice(&secret).map_err(|_| NoKey)?;
        let der = key.to_pkcs8_der().map_err(|_| NoKey)?;
        let public = BASE64URL_NOPAD.encode(key.public_key().to_encoded_point(false).as_bytes());
        Ok(Self { signing: EncodingKey::from_ec_der(der.as_bytes()), public, contact: format!("mailto:{contact}") })
    }

    /// The public key, as browsers want it.
    pub fn public(&self) -> &str {
        &self.public
    }

    fn authorization(&self, endpoint: &Url, now: DateTime<Utc>) -> Result<HeaderValue, Fault> {
        let claims = json!({
            "aud": endpoint.origin().ascii_serialization(),
            "exp": now.timestamp() + SIGNED_SECONDS,
            "sub": self.contact,
        });
        let token = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &self.signing);
        let token = token.map_err(|error| Fault::Lasting(error.to_string()))?;
        let value = format!("vapid t={token}, k={}", self.public);
        HeaderValue::from_str(&value).map_err(|error| Fault::Lasting(error.to_string()))
    }
}

/// What a browser gave, as it is sealed.
#[derive(serde::Deserialize)]
pub struct PushTarget {
    pub endpoint: String,
    pub p256dh: String,
    pub auth: String,
}

impl PushTarget {
    /// What is sealed of it.
    pub fn to_json(&self) -> String {
        json!({ "endpoint": self.endpoint, "p256dh": self.p256dh, "auth": self.auth }).to_string()
    }

    /// Whether its keys are keys.
    pub fn has_keys(&self) -> bool {
        self.keys().is_some()
    }

    fn keys(&self) -> Option<(PublicKey, Auth)> {
        let decoded = |text: &str| BASE64URL_NOPAD.decode(text.trim_end_matches('=').as_bytes()).ok();
        let public = PublicKey::from_sec1_bytes(&decoded(&self.p256dh)?).ok()?;
        let auth: [u8; AUTH_BYTES] = decoded(&self.auth)?.try_into().ok()?;
        Some((public, Auth::from(auth)))
    }
}

/// Tells the browser whose subscription is in `opened`.
pub(super) async fn send(outside: &Outside, vapid: &VapidKey, opened: &[u8], letter: &Letter<'_>) -> Result<(), Fault> {
    let unreadable = || Fault::Lasting("the subscription cannot be read".to_owned());
    let target: PushTarget = serde_json::from_slice(opened).map_err(|_| unreadable())?;
    let endpoint: Url = target.endpoint.parse().map_err(|_| unreadable())?;
    let (public, auth) = target.keys().ok_or_else(unreadable)?;
    let builder = WebPushBuilder::new(target.endpoint.parse().map_err(|_| unreadable())?, public, auth);
    let request = builder.build(body(letter)).map_err(|error| Fault::Lasting(error.to_string()))?;
    let (parts, body) = request.into_parts();
    let mut headers: HeaderMap = parts.headers;
    headers.insert(AUTHORIZATION, vapid.authorization(&endpoint, letter.now)?);
    match outside.post(&target.endpoint, headers, body).await? {
        200..=299 => Ok(()),
        404 | 410 => Err(Fault::Gone),
        status => Err(Fault::Passing(format!("the push service answered {status}"))),
    }
}

fn body(letter: &Letter<'_>) -> String {
    let message = letter.message;
    json!({
        "title": format!("[{}] {}", letter.level, letter.device.name),
        "body": letter.sentence,
        "data": {
            "alert_id": message.alert_id,
            "device_id": message.device_id,
            "alert_type": message.alert_type,
            "level": message.level,
            "triggered_at": message.triggered_at,
        },
    })
    .to_string()
}
