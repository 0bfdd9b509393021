//! Webhooks: the alert as JSON, signed with the key that the user shares with the receiver.

use chrono::SecondsFormat;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use sha2::Sha256;

use super::outside::Outside;
use super::{Fault, Letter};

const EVENT: &str = "alert_triggered";

/// Where a webhook goes, as it is sealed.
#[derive(serde::Deserialize)]
pub struct WebhookTarget {
    pub url: String,
    pub secret: String,
}

impl WebhookTarget {
    /// What is sealed of it.
    pub fn to_json(&self) -> String {
        json!({ "url": self.url, "secret": self.secret }).to_string()
    }
}

/// Tells the receiver whose address is in `opened`.
pub(super) async fn send(outside: &Outside, opened: &[u8], letter: &Letter<'_>) -> Result<(), Fault> {
    let target: WebhookTarget =
        serde_json::from_slice(opened).map_err(|_| Fault::Lasting("the webhook cannot be read".to_owned()))?;
    let timestamp = letter.now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let body = body(letter, &timestamp).to_string();
    let headers = headers(&target.secret, &timestamp, body.as_bytes())?;
    match outside.post(&target.url, headers, body.into_bytes()).await? {
        200..=299 => Ok(()),
        status => Err(Fault::Passing(format!("the receiver answered {status}"))),
    }
}

fn body(letter: &Letter<'_>, timestamp: &str) -> Value {
    let (message, device, account) = (letter.message, letter.device, letter.account);
    json!({
        "event_id": message.alert_id,
        "event_type": EVENT,
        "timestamp": timestamp,
        "data": {
            "alert_event": {
                "id": message.alert_id,
                "device_id": message.device_id,
                "rule_id": message.rule_id,
                "alert_type": message.alert_type,
                "level": message.level,
                "status": "active",
                "message": letter.sentence,
                "value": message.value,
                "threshold": message.threshold,
                "triggered_at": message.triggered_at,
            },
            "device": { "id": device.id, "name": device.name, "device_type": device.device_type },
            "user": { "id": account.id, "username": account.username, "email": account.email },
        },
    })
}

/// The signature is of the body, which holds the time too.
fn headers(secret: &str, timestamp: &str, body: &[u8]) -> Result<HeaderMap, Fault> {
    let unusable = |_| Fault::Lasting("the key of the webhook cannot be used".to_owned());
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).map_err(unusable)?;
    mac.update(body);
    let signature = format!("sha256={}", HEXLOWER.encode(&mac.finalize().into_bytes()));
    let text = |value: &str| HeaderValue::from_str(value).map_err(|_| Fault::Lasting("a header is no text".to_owned()));
    Ok(HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (HeaderName::from_static("x-zinnia-event"), HeaderValue::from_static(EVENT)),
        (HeaderName::from_static("x-zinnia-signature"), text(&signature)?),
        (HeaderName::from_static("x-zinnia-timestamp"), text(timestamp)?),
    ]))
}
