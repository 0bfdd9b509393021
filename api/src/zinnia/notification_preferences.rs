//! How a user wants to be told of alerts: preferences, a webhook, browsers.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, NaiveTime, Utc};
use commands::gateways::notifications::{PushTarget, VapidKey, WebhookTarget, push_context, webhook_context};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use domain::devices::notification_preferences::{
    NotificationPreferences, NotificationPreferencesCommand, Preferences, PreferencesChange, QuietHoursChange,
    WebhookAddress,
};
use domain::metadata::UserId;
use projections::devices::{notification_preferences as preferences, push_subscriptions};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::envelope::{self, Envelope};
use crate::app::{App, Server};
use crate::auth::{Caller, SignedIn};
use crate::error::ApiError;
use crate::extract::{Body, Path};

/// Shortest and longest signing key that a user may choose.
const SECRET_CHARS: std::ops::RangeInclusive<usize> = 16..=256;
const URL_CHARS_MAX: usize = 2_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get_preferences, update_preferences))
        .routes(routes!(get_vapid_key))
        .routes(routes!(subscribe_browser))
        .routes(routes!(list_subscriptions))
        .routes(routes!(unsubscribe_browser))
}

/// What a user wants.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, which users turn on and off")]
#[derive(Serialize, ToSchema)]
struct PreferencesOut {
    enabled: bool,
    email_enabled: bool,
    web_push_enabled: bool,
    webhook_enabled: bool,
    /// All that is shown of its address.
    webhook_host: Option<String>,
    notify_info: bool,
    notify_warning: bool,
    notify_critical: bool,
    /// `22:00`.
    quiet_hours_start: Option<String>,
    quiet_hours_end: Option<String>,
    /// `UTC`, `+08:00` and the like.
    quiet_hours_timezone: String,
    updated_at: Option<DateTime<Utc>>,
    /// The signing key of the webhook, shown once, when the server made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_secret: Option<String>,
}

impl PreferencesOut {
    fn of(row: Option<preferences::Model>, webhook_secret: Option<String>) -> Result<Self, ApiError> {
        let defaults = Preferences::default();
        let hours = row.as_ref().map(preferences::Model::quiet_hours).transpose()?.flatten();
        let flag = |of_row: fn(&preferences::Model) -> bool, default| row.as_ref().map_or(default, of_row);
        Ok(Self {
            enabled: flag(|row| row.enabled, defaults.enabled),
            email_enabled: flag(|row| row.email, defaults.email),
            web_push_enabled: flag(|row| row.web_push, defaults.web_push),
            webhook_enabled: flag(|row| row.webhook, defaults.webhook),
            webhook_host: row.as_ref().and_then(|row| row.webhook_host.clone()),
            notify_info: flag(|row| row.info, defaults.info),
            notify_warning: flag(|row| row.warning, defaults.warning),
            notify_critical: flag(|row| row.critical, defaults.critical),
            quiet_hours_start: hours.map(|hours| hours.from.format("%H:%M").to_string()),
            quiet_hours_end: hours.map(|hours| hours.to.format("%H:%M").to_string()),
            quiet_hours_timezone: zone_name(hours.map_or(0, |hours| hours.offset_minutes)),
            updated_at: row.map(|row| row.updated_at),
            webhook_secret,
        })
    }
}

#[utoipa::path(get, path = "/api/v1/notifications/preferences", operation_id = "get_notification_preferences",
    responses((status = 200, body = Envelope<PreferencesOut>)))]
async fn get_preferences(State(app): State<App>, caller: Caller) -> Result<Envelope<PreferencesOut>, ApiError> {
    let row = preferences::find(app.models.read().await, caller.user.id).await?;
    Ok(envelope::ok(&caller.request, PreferencesOut::of(row, None)?))
}

/// What is absent stays; null or an empty text takes away.
#[derive(Deserialize, ToSchema)]
struct PreferencesBody {
    enabled: Option<bool>,
    email_enabled: Option<bool>,
    web_push_enabled: Option<bool>,
    webhook_enabled: Option<bool>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    webhook_url: Given,
    /// The signing key; the server makes one when it is missing.
    webhook_secret: Option<String>,
    notify_info: Option<bool>,
    notify_warning: Option<bool>,
    notify_critical: Option<bool>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    quiet_hours_start: Given,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    quiet_hours_end: Given,
    quiet_hours_timezone: Option<String>,
}

#[utoipa::path(put, path = "/api/v1/notifications/preferences", operation_id = "update_notification_preferences",
    request_body = PreferencesBody, responses((status = 200, body = Envelope<PreferencesOut>)))]
async fn update_preferences(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Body(body): Body<PreferencesBody>,
) -> Result<Envelope<PreferencesOut>, ApiError> {
    let user = caller.user.id;
    let mut change = PreferencesChange {
        enabled: body.enabled,
        email: body.email_enabled,
        web_push: body.web_push_enabled,
        webhook: body.webhook_enabled,
        info: body.notify_info,
        warning: body.notify_warning,
        critical: body.notify_critical,
        ..PreferencesChange::default()
    };
    change.quiet_hours = quiet_hours(&body)?;
    set_webhook(&app, user, &body, &mut change)?;
    let command = NotificationPreferencesCommand::Change(change);
    let receipt = app.execute::<NotificationPreferences>(&caller.request, &user.to_string(), command).await?;
    let row = preferences::find(app.models.read().await, user).await?;
    let made = matches!(body.webhook_url, Given::Text(_)) && body.webhook_secret.is_none();
    let address = receipt.state.preferences.webhook_address.as_ref().filter(|_| made);
    let secret = address.map(|address| signing_key(&app, user, address)).transpose()?;
    Ok(envelope::ok(&caller.request, PreferencesOut::of(row, secret)?))
}

/// Sets the address of a body, sealed together with its signing key, which is made here unless it is given.
fn set_webhook(
    server: &Server,
    user: UserId,
    body: &PreferencesBody,
    change: &mut PreferencesChange,
) -> Result<(), ApiError> {
    let url = match &body.webhook_url {
        Given::Absent if body.webhook_secret.is_none() => return Ok(()),
        // The address is sealed together with its key, so neither is replaced without the other.
        Given::Absent => return Err(ApiError::field("webhook_secret", "必须与 webhook_url 一起提供")),
        Given::TakenAway => {
            change.webhook_address = Some(None);
            return Ok(());
        }
        Given::Text(url) => url,
    };
    let host = checked_host(server, "webhook_url", url)?;
    if body.webhook_secret.as_ref().is_some_and(|secret| !SECRET_CHARS.contains(&secret.chars().count())) {
        return Err(ApiError::field("webhook_secret", "长度必须在16到256之间"));
    }
    let secret = body.webhook_secret.clone().unwrap_or_else(|| BASE64URL_NOPAD.encode(&rand::random::<[u8; 32]>()));
    let target = WebhookTarget { url: url.clone(), secret };
    let sealed_webhook = BASE64.encode(&server.secrets.seal(&webhook_context(user), target.to_json().as_bytes()));
    change.webhook_address = Some(Some(WebhookAddress { host, sealed_webhook }));
    Ok(())
}

/// The signing key as it is kept: a request that is repeated makes another one, which nobody will sign with.
fn signing_key(server: &Server, user: UserId, address: &WebhookAddress) -> Result<String, ApiError> {
    let sealed = BASE64.decode(address.sealed_webhook.as_bytes()).map_err(|error| ApiError::internal(&error))?;
    let opened = server.secrets.unseal(&webhook_context(user), &sealed).map_err(|error| ApiError::internal(&error))?;
    let target: WebhookTarget = serde_json::from_slice(&opened).map_err(|error| ApiError::internal(&error))?;
    Ok(target.secret)
}

fn checked_host(server: &Server, field: &str, url: &str) -> Result<String, ApiError> {
    if url.len() > URL_CHARS_MAX {
        return Err(ApiError::field(field, "地址过长"));
    }
    let url = server.outside.check(url).map_err(|_| ApiError::field(field, "必须是公网的 http 或 https 地址"))?;
    Ok(url.host_str().unwrap_or_default().to_owned())
}

/// What a body changes of the quiet hours.
fn quiet_hours(body: &PreferencesBody) -> Result<Option<QuietHoursChange>, ApiError> {
    let zone = |name: &str| {
        zone(name).ok_or_else(|| ApiError::field("quiet_hours_timezone", "必须是 UTC 或 +08:00 形式的时差"))
    };
    let offset_minutes = body.quiet_hours_timezone.as_deref().map(zone).transpose();
    match (&body.quiet_hours_start, &body.quiet_hours_end) {
        (Given::Absent, Given::Absent) => {
            Ok(offset_minutes?.map(|offset_minutes| QuietHoursChange::Zone { offset_minutes }))
        }
        (Given::Text(from), Given::Text(to)) => {
            let (from, to) = (time("quiet_hours_start", from)?, time("quiet_hours_end", to)?);
            Ok(Some(QuietHoursChange::Hours { from, to, offset_minutes: offset_minutes? }))
        }
        (Given::Text(_), Given::Absent | Given::TakenAway) | (Given::Absent | Given::TakenAway, Given::Text(_)) => {
            Err(ApiError::field("quiet_hours_end", "开始时间和结束时间必须同时提供"))
        }
        (Given::TakenAway, Given::Absent | Given::TakenAway) | (Given::Absent, Given::TakenAway) => {
            Ok(Some(QuietHoursChange::TakenAway))
        }
    }
}

fn time(field: &str, text: &str) -> Result<NaiveTime, ApiError> {
    NaiveTime::parse_from_str(text, "%H:%M").map_err(|_| ApiError::field(field, "必须是 22:00 形式的时间"))
}

/// Minutes east of UTC.
fn zone(text: &str) -> Option<i32> {
    if ["UTC", "Z"].contains(&text) {
        return Some(0);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        (_, _) => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let digits = |text: &str| (text.len() == 2).then(|| text.parse::<u8>().ok()).flatten().map(i32::from);
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (minutes < 60).then_some(sign * (hours * 60 + minutes))
}

fn zone_name(offset_minutes: i32) -> String {
    let sign = if offset_minutes < 0 { '-' } else { '+' };
    let minutes = offset_minutes.abs();
    if minutes == 0 { "UTC".to_owned() } else { format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60) }
}

/// A text that tells null from absent.
#[derive(Default)]
enum Given {
    #[default]
    Absent,
    /// Null, or an empty text.
    TakenAway,
    Text(String),
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        Ok(text.filter(|text| !text.is_empty()).map_or(Self::TakenAway, Self::Text))
    }
}

/// The key by which push services know this server.
pub(crate) fn vapid_key(server: &Server) -> Result<VapidKey, ApiError> {
    let key = VapidKey::new(server.secrets.derive("web-push"), &server.config.admin_email);
    key.map_err(|error| ApiError::internal(&error))
}

#[derive(Serialize, ToSchema)]
struct VapidOut {
    public_key: String,
}

#[utoipa::path(get, path = "/api/v1/notifications/web-push/vapid-key", operation_id = "get_vapid_key",
    responses((status = 200, body = Envelope<VapidOut>)))]
async fn get_vapid_key(State(app): State<App>, caller: Caller) -> Result<Envelope<VapidOut>, ApiError> {
    let public_key = vapid_key(&app)?.public().to_owned();
    Ok(envelope::ok(&caller.request, VapidOut { public_key }))
}

/// As a browser's `PushSubscription.toJSON()` has it.
#[derive(Deserialize, ToSchema)]
struct SubscribeBody {
    endpoint: String,
    keys: KeysBody,
}

#[derive(Deserialize, ToSchema)]
struct KeysBody {
    p256dh: String,
    auth: String,
}

#[derive(Serialize, ToSchema)]
struct SubscriptionOut {
    id: String,
    /// All that is shown of its address.
    push_service: String,
    created_at: DateTime<Utc>,
}

impl From<push_subscriptions::Model> for SubscriptionOut {
    fn from(row: push_subscriptions::Model) -> Self {
        Self { id: row.id, push_service: row.push_service, created_at: row.created_at }
    }
}

#[utoipa::path(post, path = "/api/v1/notifications/web-push/subscribe", operation_id = "subscribe_browser",
    request_body = SubscribeBody, responses((status = 201, body = Envelope<SubscriptionOut>)))]
async fn subscribe_browser(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Body(body): Body<SubscribeBody>,
) -> Result<(StatusCode, Envelope<SubscriptionOut>), ApiError> {
    let user = caller.user.id;
    let push_service = checked_host(&app, "endpoint", &body.endpoint)?;
    let target = PushTarget { endpoint: body.endpoint, p256dh: body.keys.p256dh, auth: body.keys.auth };
    if !target.has_keys() {
        return Err(ApiError::field("keys", "不是有效的推送密钥"));
    }
    let subscription_id = subscription_id(&app, user, &target.endpoint);
    let sealed = app.secrets.seal(&push_context(user, subscription_id), target.to_json().as_bytes());
    let sealed_subscription = BASE64.encode(&sealed);
    let command = NotificationPreferencesCommand::Subscribe { subscription_id, push_service, sealed_subscription };
    app.execute::<NotificationPreferences>(&caller.request, &user.to_string(), command).await?;
    let rows = push_subscriptions::list(app.models.read().await, user).await?;
    let row = rows.into_iter().find(|row| row.id == subscription_id.to_string()).ok_or_else(ApiError::not_found)?;
    Ok(envelope::created(&caller.request, row.into()))
}

/// The same browser of the same user is the same subscription.
fn subscription_id(server: &Server, user: UserId, endpoint: &str) -> Uuid {
    let hash = server.secrets.fingerprint("push-subscription", &[user.0.as_bytes(), endpoint.as_bytes()]);
    let (half, _) = hash.split_at(hash.len() / 2);
    Uuid::from_slice(half).unwrap_or_default()
}

#[utoipa::path(get, path = "/api/v1/notifications/web-push/subscriptions", operation_id = "list_push_subscriptions",
    responses((status = 200, body = Envelope<Vec<SubscriptionOut>>)))]
async fn list_subscriptions(
    State(app): State<App>,
    caller: Caller,
) -> Result<Envelope<Vec<SubscriptionOut>>, ApiError> {
    let rows = push_subscriptions::list(app.models.read().await, caller.user.id).await?;
    Ok(envelope::ok(&caller.request, rows.into_iter().map(SubscriptionOut::from).collect()))
}

#[utoipa::path(delete, path = "/api/v1/notifications/web-push/subscriptions/{id}", operation_id = "unsubscribe_browser",
    params(("id" = Uuid, Path)), responses((status = 204)))]
async fn unsubscribe_browser(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Path(subscription_id): Path<Uuid>,
) -> Result<StatusCode, ApiError> {
    let command = NotificationPreferencesCommand::Unsubscribe { subscription_id };
    app.execute::<NotificationPreferences>(&caller.request, &caller.user.id.to_string(), command).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_zones_are_differences_from_utc() {
        assert_eq!(zone("UTC"), Some(0));
        assert_eq!(zone("+08:00"), Some(480));
        assert_eq!(zone("-03:30"), Some(-210));
        for wrong in ["", "Asia/Shanghai", "+8", "+08:60", "08:00", "+é8:00"] {
            assert_eq!(zone(wrong), None, "{wrong}");
        }
        assert_eq!((zone_name(480), zone_name(-210), zone_name(0)), ("+08:00".into(), "-03:30".into(), "UTC".into()));
    }
}
