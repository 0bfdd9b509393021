//! Reports and questions of weak devices, which can do no more than fetch a URL: everything in the query, answers that
//! are short.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use domain::devices::reading::{PowerSaving, of_unix_time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::device_caller::{DeviceCaller, Purpose, authenticate, shown};
use super::envelope::{self, Envelope};
use super::reports::{BatteryData, ReportBody, accept_one};
use crate::app::{App, Server};
use crate::error::ApiError;
use crate::extract::{body, form_fields};
use crate::request::RequestContext;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(compat_report, compat_report_posted))
        .routes(routes!(compat_simple))
        .routes(routes!(compat_latest))
        .routes(routes!(compat_ping))
}

/// What a weak device sends: fields in the query or, when it posts, in a form body; and who it is.
struct Fields<T> {
    fields: T,
    credential: String,
    request: RequestContext,
}

#[derive(Deserialize)]
struct Credential {
    token: Option<String>,
}

impl<T: DeserializeOwned> FromRequest<App> for Fields<T> {
    type Rejection = ApiError;

    async fn from_request(http: Request, app: &App) -> Result<Self, ApiError> {
        let (mut parts, body_of) = http.into_parts();
        let context =
            <RequestContext as axum::extract::FromRequestParts<App>>::from_request_parts(&mut parts, app).await?;
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let headers: HeaderMap = parts.headers.clone();
        let form = body(Request::from_parts(parts, body_of), app).await?;
        let form = std::str::from_utf8(&form).map_err(|_| ApiError::field("", "the body is no form"))?;
        let text = format!("{query}&{form}");
        let token = form_fields::<Credential>(&text)?.token;
        let credential = token.or_else(|| shown(&headers).map(str::to_owned));
        let credential = credential.ok_or_else(|| ApiError::unauthenticated("No device has these credentials"))?;
        Ok(Self { fields: form_fields(&text)?, credential, request: context })
    }
}

impl<T> Fields<T> {
    async fn caller(&self, server: &Server, purpose: Purpose) -> Result<DeviceCaller, ApiError> {
        authenticate(server, &self.request, &self.credential, purpose).await
    }
}

#[derive(Deserialize, ToSchema)]
struct CompatReport {
    level: u8,
    charging: Option<String>,
    temp: Option<f64>,
    voltage: Option<f64>,
    /// Unix time, in seconds or milliseconds; now when missing.
    ts: Option<i64>,
}

impl CompatReport {
    fn body(&self) -> Result<ReportBody, ApiError> {
        let recorded_at = self.ts.map(|ts| of_unix_time(ts).ok_or_else(|| ApiError::field("ts", "时间戳无效")));
        Ok(ReportBody {
            battery_level: self.level,
            is_charging: flag(self.charging.as_deref())?,
            power_saving_mode: PowerSaving::Off,
            temperature: self.temp,
            voltage: self.voltage,
            recorded_at: recorded_at.transpose()?,
        })
    }
}

/// `0` or `1`, or what people write instead.
fn flag(word: Option<&str>) -> Result<bool, ApiError> {
    match word.unwrap_or_default() {
        "" | "0" | "false" => Ok(false),
        "1" | "true" => Ok(true),
        _ => Err(ApiError::field("charging", "必须是 0 或 1")),
    }
}

#[utoipa::path(get, path = "/api/v1/compat/battery/report", operation_id = "compat_report",
    params(("token" = Option<String>, Query), ("level" = u8, Query), ("charging" = Option<String>, Query),
        ("temp" = Option<f64>, Query), ("voltage" = Option<f64>, Query), ("ts" = Option<i64>, Query)),
    responses((status = 200, body = Envelope<BatteryData>)))]
async fn compat_report(State(app): State<App>, sent: Fields<CompatReport>) -> Result<Envelope<BatteryData>, ApiError> {
    report(&app, &sent).await
}

#[utoipa::path(post, path = "/api/v1/compat/battery/report", operation_id = "compat_report_posted",
    request_body(content = CompatReport, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = Envelope<BatteryData>)))]
async fn compat_report_posted(
    State(app): State<App>,
    sent: Fields<CompatReport>,
) -> Result<Envelope<BatteryData>, ApiError> {
    report(&app, &sent).await
}

async fn report(server: &Server, sent: &Fields<CompatReport>) -> Result<Envelope<BatteryData>, ApiError> {
    let caller = sent.caller(server, Purpose::Report).await?;
    let kept = accept_one(server, &caller, sent.fields.body()?).await?;
    Ok(envelope::ok(&caller.request, kept.into()))
}

#[derive(Deserialize)]
struct SimpleReport {
    l: u8,
    c: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct SimpleOut {
    ok: bool,
    /// Unix time in seconds, as received.
    ts: i64,
}

#[utoipa::path(get, path = "/api/v1/compat/battery/simple", operation_id = "compat_simple",
    params(("token" = Option<String>, Query), ("l" = u8, Query), ("c" = Option<String>, Query)),
    responses((status = 200, body = SimpleOut)))]
async fn compat_simple(State(app): State<App>, sent: Fields<SimpleReport>) -> Result<Json<SimpleOut>, ApiError> {
    let caller = sent.caller(&app, Purpose::Report).await?;
    let SimpleReport { l: level, c: charging } = &sent.fields;
    let report = CompatReport { level: *level, charging: charging.clone(), temp: None, voltage: None, ts: None };
    let kept = accept_one(&app, &caller, report.body()?).await?;
    Ok(Json(SimpleOut { ok: true, ts: kept.received_at.timestamp() }))
}

#[derive(Deserialize)]
struct Nothing {}

#[derive(Serialize, ToSchema)]
struct CompatLatestOut {
    level: u8,
    charging: bool,
    /// Unix time in seconds.
    timestamp: i64,
}

#[utoipa::path(get, path = "/api/v1/compat/battery/latest", operation_id = "compat_latest",
    params(("token" = Option<String>, Query)), responses((status = 200, body = CompatLatestOut)))]
async fn compat_latest(State(app): State<App>, sent: Fields<Nothing>) -> Result<Json<CompatLatestOut>, ApiError> {
    let caller = sent.caller(&app, Purpose::Read).await?;
    let latest = app.readings.latest(caller.device.id).await?.ok_or_else(ApiError::not_found)?.reading;
    let timestamp = latest.recorded_at.timestamp();
    Ok(Json(CompatLatestOut { level: latest.level, charging: latest.is_charging, timestamp }))
}

#[derive(Serialize, ToSchema)]
struct PingOut {
    ok: bool,
    device_id: String,
    /// What the token is good for; `all` for the device's own key.
    permission: String,
    expires_at: Option<DateTime<Utc>>,
}

#[utoipa::path(get, path = "/api/v1/compat/ping", operation_id = "compat_ping",
    params(("token" = Option<String>, Query)), responses((status = 200, body = PingOut)))]
async fn compat_ping(State(app): State<App>, sent: Fields<Nothing>) -> Result<Json<PingOut>, ApiError> {
    // Good for either purpose: only whether it is good at all is asked.
    let caller = match sent.caller(&app, Purpose::Report).await {
        Err(error) if error.kind == crate::error::ErrorKind::Forbidden => sent.caller(&app, Purpose::Read).await?,
        outcome => outcome?,
    };
    let token = caller.device.token.as_ref();
    Ok(Json(PingOut {
        ok: true,
        device_id: caller.device.id.to_string(),
        permission: token.map_or_else(|| "all".to_owned(), |token| token.permission.to_string()),
        expires_at: token.and_then(|token| token.expires_at),
    }))
}
