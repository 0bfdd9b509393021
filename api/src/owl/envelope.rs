//! How Owl Factory answers: `{success, message, data, error_code}`, in Chinese.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use projections::Page;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::{ApiError, ErrorKind};

/// The envelope of success.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Envelope<T> {
    success: bool,
    message: &'static str,
    data: T,
    error_code: Option<&'static str>,
}

impl<T: Serialize> IntoResponse for Envelope<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// `data` in the envelope of success.
pub fn ok<T>(data: T) -> Envelope<T> {
    Envelope { success: true, message: "操作成功", data, error_code: None }
}

/// One page of a list.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Items<T> {
    items: Vec<T>,
    total: u64,
    page: u64,
    page_size: u64,
    total_pages: u64,
}

/// A page both in the envelope and at the top level, where the document's page format and real clients look for it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ListEnvelope<T: Clone> {
    #[serde(flatten)]
    envelope: Envelope<Items<T>>,
    #[serde(flatten)]
    top: Items<T>,
}

impl<T: Serialize + Clone> IntoResponse for ListEnvelope<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// A page of rows, each shown as `show` makes it.
pub fn page<R, T: Clone>(page: Page<R>, show: impl Fn(R) -> T) -> ListEnvelope<T> {
    let (total, total_pages) = (page.total, page.pages());
    let (number, page_size) = (page.paging.page, page.paging.per_page);
    let items: Vec<T> = page.rows.into_iter().map(show).collect();
    let of = |items| Items { items, total, page: number, page_size, total_pages };
    ListEnvelope { envelope: ok(of(items.clone())), top: of(items) }
}

/// The error body.
pub fn error(error: &ApiError) -> Response {
    let (status, error_code) = status(error);
    let mut details = error.details.clone();
    if !error.fields.is_empty() {
        let mut field_errors: Map<String, Value> = Map::new();
        for field in &error.fields {
            let messages = field_errors.entry(field.field.clone()).or_insert_with(|| json!([]));
            if let Value::Array(messages) = messages {
                messages.push(Value::String(of_field(error.code).unwrap_or(&field.message).to_owned()));
            }
        }
        details.insert("field_errors".to_owned(), Value::Object(field_errors));
    }
    let message = message(error);
    let body = json!({
        "success": false,
        "message": message,
        "error_code": error_code,
        "details": details,
        "error": format!("HTTP_{}", status.as_u16()),
    });
    (status, Json(body)).into_response()
}

fn status(error: &ApiError) -> (StatusCode, &'static str) {
    match (error.code, error.kind) {
        // Codes cannot be told apart by probing.
        (
            "recharge_code.used_up"
            | "recharge_code.expired"
            | "recharge_code.deactivated"
            | "recharge_code.redeemed_before",
            _,
        )
        | (_, ErrorKind::NotFound) => (StatusCode::NOT_FOUND, "RESOURCE_NOT_FOUND"),
        (_, ErrorKind::Unauthenticated) | ("user.deactivated" | "user.locked", _) => {
            (StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS")
        }
        (_, ErrorKind::Forbidden) => (StatusCode::FORBIDDEN, "ACCESS_DENIED"),
        (_, ErrorKind::Invalid | ErrorKind::Malformed) => (StatusCode::UNPROCESSABLE_ENTITY, "VALIDATION_ERROR"),
        (_, ErrorKind::InsufficientFunds) => (StatusCode::BAD_REQUEST, "INSUFFICIENT_BALANCE"),
        (_, ErrorKind::LimitExceeded) => (StatusCode::TOO_MANY_REQUESTS, "TASK_LIMIT_EXCEEDED"),
        (_, ErrorKind::Unavailable) => (StatusCode::SERVICE_UNAVAILABLE, "SERVER_UNAVAILABLE"),
        (_, ErrorKind::Internal) => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"),
        ("task.lease_lost" | "agent.session_lost", _) => (StatusCode::CONFLICT, "LEASE_LOST"),
        (_, ErrorKind::AlreadyExists | ErrorKind::IllegalState | ErrorKind::Expired) => {
            (StatusCode::BAD_REQUEST, "INVALID_OPERATION")
        }
        (_, ErrorKind::MethodNotAllowed) => (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
        (_, ErrorKind::PayloadTooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE"),
        (_, ErrorKind::Stale) => (StatusCode::PRECONDITION_FAILED, "PRECONDITION_FAILED"),
        (_, ErrorKind::KeyReused) => (StatusCode::UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED"),
        (_, ErrorKind::TooManyRequests) => (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMIT_EXCEEDED"),
    }
}

/// The document's words for a code or, failing that, for a kind.
fn message(error: &ApiError) -> &'static str {
    match error.code {
        "recharge_code.not_found"
        | "recharge_code.used_up"
        | "recharge_code.expired"
        | "recharge_code.deactivated"
        | "recharge_code.redeemed_before" => "充值码无效、已使用或已过期",
        "task.lease_lost" => "任务租约已失效",
        "agent.session_lost" => "服务器会话已失效，请重新注册",
        "agent.token_shown_once" => "令牌只显示一次，请重新生成",
        "maintenance" => "系统维护中，暂不接受新任务",
        "task.insufficient_balance" | "balance.insufficient" => "余额不足，请先充值",
        "balance.below_held" => "余额不能低于已冻结的金额",
        "user.already_registered" => "邮箱已被注册",
        "username.taken" => "用户名已被使用",
        "auth.invalid_credentials" => "邮箱或密码错误",
        "user.deactivated" => "账户已被禁用",
        "user.locked" => "账户已被锁定，请稍后再试",
        "recharge_code.amount_out_of_range" => "充值金额必须大于0，最多1000000，最多两位小数",
        "recharge_code.uses_out_of_range" => "最大使用次数必须在1到10000之间",
        "recharge_code.expiry_in_the_past" => "过期时间必须晚于当前时间",
        _ => of_kind(error.kind),
    }
}

/// The document's words for what is wrong with one field.
fn of_field(code: &str) -> Option<&'static str> {
    match code {
        "task.config_invalid" => Some("任务配置不正确"),
        "user.email_invalid" => Some("邮箱格式不正确"),
        "user.username_invalid" => Some("用户名必须有3到50个字母、数字、_、. 或 -"),
        "user.name_out_of_range" => Some("姓名长度必须在1到100之间"),
        _ => None,
    }
}

fn of_kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Malformed | ErrorKind::Invalid => "请求参数验证失败",
        ErrorKind::Unauthenticated => "无效的认证凭据",
        ErrorKind::Forbidden => "访问被拒绝",
        ErrorKind::NotFound => "资源不存在",
        ErrorKind::MethodNotAllowed => "不支持的请求方法",
        ErrorKind::AlreadyExists => "资源已存在",
        ErrorKind::IllegalState => "当前状态不允许此操作",
        ErrorKind::InsufficientFunds => "余额不足",
        ErrorKind::LimitExceeded => "任务数量超限",
        ErrorKind::Expired => "已过期",
        ErrorKind::PayloadTooLarge => "请求体过大",
        ErrorKind::Stale => "资源已被修改",
        ErrorKind::KeyReused => "幂等键已用于其他请求",
        ErrorKind::TooManyRequests => "请求过于频繁",
        ErrorKind::Unavailable => "服务器不可用",
        ErrorKind::Internal => "服务器内部错误",
    }
}
