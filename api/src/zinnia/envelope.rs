//! How Zinnia answers: `{code, message, data, timestamp}`, in Chinese.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::error::{ApiError, ErrorKind};

/// The error body.
pub fn error(error: &ApiError) -> Response {
    let (status, word, message) = words(error.kind);
    // What exactly is wrong helps whoever called; everything else gets the fixed words.
    let explained = [ErrorKind::Invalid, ErrorKind::Malformed, ErrorKind::IllegalState, ErrorKind::AlreadyExists];
    let message =
        if explained.contains(&error.kind) { format!("{message}: {}", error.message) } else { message.to_owned() };
    (status, Json(json!({ "code": status.as_u16(), "message": message, "error": word }))).into_response()
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
