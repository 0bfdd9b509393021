//! What a scenario looks at in an answer.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// The body as JSON; null when it is none.
    pub json: Value,
}

impl Answer {
    pub(crate) async fn read(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let (status, headers): (StatusCode, _) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Self { status: status.as_u16(), headers, text, json })
    }

    /// The JSON under a pointer such as `/data/items/0`; null when there is none.
    pub fn at(&self, pointer: &str) -> &Value {
        self.json.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// Fails, showing the body, unless the status is `status`.
    #[track_caller]
    #[expect(clippy::return_self_not_must_use, reason = "often the status is all that matters")]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "unexpected answer: {}", self.text);
        self
    }

    /// The value that the answer sets cookie `name` to; empty when it sets none.
    pub fn cookie(&self, name: &str) -> &str {
        let lines = self.headers.get_all("set-cookie").iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.filter_map(|line| line.split(';').next()?.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next_back().unwrap_or_default()
    }

    /// A header as text; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
