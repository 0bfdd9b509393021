//! reCAPTCHA: whether a token comes from a person, as its service says.

use std::time::Duration;

use serde::Deserialize;

use crate::app::Server;
use crate::config::RegistrationSettings;
use crate::error::{ApiError, ErrorKind};
use crate::request::RequestContext;

const PATIENCE: Duration = Duration::from_secs(5);
const TOKEN_BYTES_MAX: usize = 4_096;

/// What the service says.
#[derive(Deserialize)]
struct Verdict {
    success: bool,
    score: Option<f64>,
}

/// Lets pass whoever shows a good token; everybody where reCAPTCHA is not configured.
///
/// # Errors
/// `recaptcha.failed`, or unavailable when the service does not answer.
pub(crate) async fn check(server: &Server, request: &RequestContext, token: Option<&str>) -> Result<(), ApiError> {
    let settings = &server.config.registration;
    let Some((_, secret)) = settings.recaptcha() else { return Ok(()) };
    let token = token.filter(|token| !token.is_empty() && token.len() <= TOKEN_BYTES_MAX).ok_or_else(failed)?;
    let verdict = ask(settings, secret, token, &request.remote_addr.to_string()).await;
    let verdict = verdict.map_err(|error| ApiError::unavailable(&error.without_url()))?;
    let person = verdict.score.is_none_or(|score| score >= settings.recaptcha_score_min);
    if verdict.success && person { Ok(()) } else { Err(failed()) }
}

async fn ask(
    settings: &RegistrationSettings,
    secret: &str,
    token: &str,
    address: &str,
) -> Result<Verdict, reqwest::Error> {
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let form = [("secret", secret), ("response", token), ("remoteip", address)];
    client.post(&settings.recaptcha_url).form(&form).send().await?.error_for_status()?.json().await
}

fn failed() -> ApiError {
    ApiError::new(ErrorKind::Invalid, "recaptcha.failed", "The reCAPTCHA token is missing or not good")
}
