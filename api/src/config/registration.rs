//! What is asked of people who register or forgot their password.

use serde::{Deserialize, Serialize};

use super::Switch;

/// The section `[registration]`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistrationSettings {
    /// Whether Zinnia asks for a code that was mailed to the address.
    pub require_email_verification: Switch,
    /// Public key of a reCAPTCHA site; with the secret it is asked for wherever mails are caused from outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recaptcha_site_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recaptcha_secret: Option<String>,
    /// Where tokens are verified.
    pub recaptcha_url: String,
    /// Lowest score that is taken for a person, where the answer has one.
    pub recaptcha_score_min: f64,
}

impl Default for RegistrationSettings {
    fn default() -> Self {
        Self {
            require_email_verification: Switch::Off,
            recaptcha_site_key: None,
            recaptcha_secret: None,
            recaptcha_url: "https://www.google.com/recaptcha/api/siteverify".to_owned(),
            recaptcha_score_min: 0.5,
        }
    }
}

impl RegistrationSettings {
    /// The public and the secret key, when reCAPTCHA is configured.
    pub fn recaptcha(&self) -> Option<(&str, &str)> {
        self.recaptcha_site_key.as_deref().zip(self.recaptcha_secret.as_deref())
    }

    pub(super) fn wrong(&self) -> Option<(&'static str, &'static str)> {
        if self.recaptcha_site_key.is_some() != self.recaptcha_secret.is_some() {
            return Some(("recaptcha_secret", "and recaptcha_site_key go together"));
        }
        if !(0.0..=1.0).contains(&self.recaptcha_score_min) {
            return Some(("recaptcha_score_min", "must be between 0 and 1"));
        }
        let is_url = self.recaptcha_url.starts_with("https://") || self.recaptcha_url.starts_with("http://");
        (!is_url).then_some(("recaptcha_url", "must begin with https:// or http://"))
    }
}
