//! How Zinnia answers: `{code, message, data, timestamp}`, in Chinese.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use projections::{Page, Paging};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::alert_words;
use crate::error::{ApiError, ErrorKind};
use crate::request::RequestContext;

/// The envelope of success.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Envelope<T> {
    code: u16,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
    #[serde(serialize_with = "in_milliseconds")]
    timestamp: DateTime<Utc>,
    request_id: Uuid,
}

impl<T: Serialize> IntoResponse for Envelope<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// `data` in the envelope of success.
pub fn ok<T>(request: &RequestContext, data: T) -> Envelope<T> {
    Envelope { data: Some(data), ..said(request, "success") }
}

/// `data` that has just come into being.
pub fn created<T: Serialize>(request: &RequestContext, data: T) -> (StatusCode, Envelope<T>) {
    (StatusCode::CREATED, Envelope { code: 201, ..said_with(request, "created", data) })
}

/// `data` and a sentence.
pub fn said_with<T>(request: &RequestContext, message: &'static str, data: T) -> Envelope<T> {
    Envelope { data: Some(data), ..said(request, message) }
}

/// One page of a list.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Items<T> {
    items: Vec<T>,
    pagination: Pagination,
}

/// Where a page stands.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Pagination {
    page: u64,
    page_size: u64,
    total_items: u64,
    total_pages: u64,
}

/// A page of rows, each shown as `show` makes it.
pub fn items<R, T>(page: Page<R>, show: impl FnMut(R) -> Result<T, ApiError>) -> Result<Items<T>, ApiError> {
    let pagination = Pagination {
        page: page.paging.page,
        page_size: page.paging.per_page,
        total_items: page.total,
        total_pages: page.pages(),
    };
    Ok(Items { items: page.rows.into_iter().map(show).collect::<Result<_, _>>()?, pagination })
}

/// A page number and size within limits: 20 rows, 100 at most.
pub fn paging(page: Option<u64>, page_size: Option<u64>) -> Paging {
    Paging::new(page, page_size, 20, 100)
}

/// Nothing but a sentence in the envelope of success.
pub fn said<T>(request: &RequestContext, message: &'static str) -> Envelope<T> {
    Envelope { code: 200, message, data: None, timestamp: request.clock.now(), request_id: request.id }
}

fn in_milliseconds<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
}

/// The error body.
#[derive(Serialize)]
struct ErrorBody {
    code: u16,
    message: String,
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Uuid>,
}

/// The answer that says what went wrong; whoever asks about it names the request by its id.
pub fn error(request_id: Option<Uuid>, error: &ApiError) -> Response {
    let (status, word, message) = said_of(error);
    (status, Json(ErrorBody { code: status.as_u16(), message, error: word, request_id })).into_response()
}

/// The sentence in the error body.
pub(super) fn sentence(error: &ApiError) -> String {
    said_of(error).2
}

fn said_of(error: &ApiError) -> (StatusCode, &'static str, String) {
    let (status, word, message) = words(error.kind);
    match (error.code, error.kind) {
        ("user.already_registered" | "username.taken", _) => {
            (StatusCode::BAD_REQUEST, "validation_error", particular(error))
        }
        // They say how long to wait or what to do, which the fixed words do not.
        ("verification.too_soon" | "verification.invalid" | "verification.wrong" | "recaptcha.failed", _) => {
            (status, word, particular(error))
        }
        ("user.locked" | "user.deactivated", _) => {
            (StatusCode::UNAUTHORIZED, "unauthorized", format!("认证失败：{}", particular(error)))
        }
        // What exactly is wrong helps whoever called; everything else gets the fixed words.
        (_, ErrorKind::Invalid | ErrorKind::Malformed | ErrorKind::IllegalState | ErrorKind::AlreadyExists) => {
            (status, word, format!("{message}: {}", particular(error)))
        }
        (_, _) => (status, word, message.to_owned()),
    }
}

/// What exactly is wrong, in Chinese where there are words for it.
fn particular(error: &ApiError) -> String {
    let number = |name: &str| error.details.get(name).map(ToString::to_string).unwrap_or_default();
    match error.code {
        "user.already_registered" => "邮箱已被注册".to_owned(),
        "username.taken" => "用户名已被占用".to_owned(),
        "verification.too_soon" => format!("请等待 {} 秒后再重新发送", number("seconds")),
        "verification.invalid" => "验证码无效或已过期".to_owned(),
        "verification.wrong" => format!("验证码错误，还剩 {} 次尝试机会", number("remaining_attempts")),
        "recaptcha.failed" => "人机验证失败".to_owned(),
        "user.email_invalid" => "邮箱格式不正确".to_owned(),
        "user.username_invalid" => "用户名长度必须在3到50之间".to_owned(),
        "device.name_out_of_range" => "名称长度必须在1到100之间，且不能包含控制字符".to_owned(),
        "device.type_out_of_range" => "设备类型长度必须在1到50之间，且不能包含控制字符".to_owned(),
        "user.metadata_too_large" | "device.metadata_too_large" => "元数据过大".to_owned(),
        "device.metadata_has_nul" => "元数据包含无效字符".to_owned(),
        "device.low_threshold_out_of_range" => "低电量阈值必须在1到100之间".to_owned(),
        "device.critical_threshold_out_of_range" => "临界电量阈值必须在1到100之间".to_owned(),
        "device.critical_not_below_low" => "临界电量阈值必须小于低电量阈值".to_owned(),
        "device.interval_out_of_range" => "上报间隔必须在10到3600秒之间".to_owned(),
        "device.temperature_out_of_range" => "高温阈值必须在-40到200之间".to_owned(),
        "device.drain_out_of_range" => "快速耗电阈值必须在1到100之间".to_owned(),
        "device.silence_out_of_range" => "离线判定时间必须在30到604800秒之间".to_owned(),
        "device.token_life_out_of_range" => "令牌有效期必须在1到8760小时之间".to_owned(),
        "device.token_rate_out_of_range" => "每分钟请求限制必须在1到1000之间".to_owned(),
        "device.too_many_networks" => "允许的IP地址过多".to_owned(),
        "device.too_many_tokens" => "有效令牌数量已达上限（20个）".to_owned(),
        "device.shared_with_owner" => "不能将设备共享给其所有者".to_owned(),
        "device.too_many_shares" => "共享用户数量已达上限（100个）".to_owned(),
        "device.shown_once" => "该请求已执行过，密钥仅显示一次".to_owned(),
        "battery_reading.level_invalid" => of_reading(error, "电量必须在0到100之间"),
        "battery_reading.temperature_invalid" => of_reading(error, "温度必须在-40到85之间"),
        "battery_reading.voltage_invalid" => of_reading(error, "电压必须在0到10之间"),
        "battery_reading.in_the_future" => of_reading(error, "记录时间不能晚于当前时间"),
        "battery_reading.too_old" => of_reading(error, "记录时间过早，已超出数据保留期"),
        "user.device_info_too_long" => "设备信息过长".to_owned(),
        "user.deactivated" => "账户已被禁用".to_owned(),
        "user.locked" => {
            format!("账户已锁定，请{}分钟后再试", number("remaining_minutes"))
        }
        code => alert_words::refusal(code).map_or_else(|| error.message.clone(), str::to_owned),
    }
}

/// Which reading of several it is, and what is wrong with it.
fn of_reading(error: &ApiError, what: &str) -> String {
    error.details.get("place").map_or_else(|| what.to_owned(), |place| format!("第{place}条：{what}"))
}

fn words(kind: ErrorKind) -> (StatusCode, &'static str, &'static str) {
    match kind {
        ErrorKind::Malformed
        | ErrorKind::Invalid
        | ErrorKind::IllegalState
        | ErrorKind::InsufficientFunds
        | ErrorKind::Expired => (StatusCode::BAD_REQUEST, "validation_error", "请求参数无效"),
        ErrorKind::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthorized", "认证失败"),
        ErrorKind::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "权限不足"),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not_found", "资源不存在"),
        ErrorKind::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "不支持的请求方法"),
        ErrorKind::AlreadyExists => (StatusCode::CONFLICT, "conflict", "资源冲突"),
        ErrorKind::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "请求体过大"),
        ErrorKind::Stale => (StatusCode::PRECONDITION_FAILED, "conflict", "资源已被修改"),
        ErrorKind::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "conflict", "幂等键已用于其他请求"),
        ErrorKind::LimitExceeded | ErrorKind::TooManyRequests => {
            (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", "请求频率过高")
        }
        ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", "服务暂时不可用"),
        ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "服务内部错误"),
    }
}
