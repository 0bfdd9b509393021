//! The document's words, in Chinese, for what can go wrong.

use std::borrow::Cow;

use domain::compute::task::refusal::{ConfigFault, TaskError};
use domain::payload::UnfitPayload;

use crate::error::{ApiError, ErrorKind, FieldError};
use crate::extract::json::BodyFault;
use crate::fault::{Fault, Mismatch, alternatives};

/// What the whole error says.
pub(super) fn message(error: &ApiError) -> Cow<'_, str> {
    let is_of_the_whole = error.kind == ErrorKind::Malformed || error.fields.iter().any(|field| field.field.is_empty());
    if let Some(TaskError::TooMany(limit)) = error.cause() {
        return format!("任务数量超限：最多同时有{limit}个等待或运行中的任务").into();
    }
    match error.code {
        // Administrators wrote it themselves.
        "maintenance" => error.message.as_str().into(),
        "invalid_request" if is_of_the_whole => of_body(error),
        code => of_code(code).unwrap_or_else(|| of_kind(error.kind)).into(),
    }
}

/// What a refusal says, whoever it is about.
fn of_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "recharge_code.not_found"
        | "recharge_code.used_up"
        | "recharge_code.expired"
        | "recharge_code.deactivated"
        | "recharge_code.redeemed_before" => "充值码无效、已使用或已过期",
        "task.lease_lost" => "任务租约已失效",
        "agent.not_leading" => "该服务器不是主服务器，请连接主服务器",
        "agent.session_lost" => "服务器会话已失效，请重新注册",
        "agent.token_shown_once" => "令牌只显示一次，请重新生成",
        "task.insufficient_balance" | "balance.insufficient" => "余额不足，请先充值",
        "user.already_registered" => "邮箱已被注册",
        "username.taken" => "用户名已被使用",
        "auth.invalid_credentials" => "邮箱或密码错误",
        "user.deactivated" => "账户已被禁用",
        "user.locked" => "账户已被锁定，请稍后再试",
        "user.wrong_password" => "当前密码错误",
        "user.oneself" => "不能停用自己或更改自己的角色",
        "user.role_not_theirs" => "无权管理该角色的用户",
        "balance.below_held" => "余额不能低于运行中任务已冻结的金额",
        "recharge_code.shown_once" => "该幂等键下的充值码已生成，只显示一次",
        _ => return None,
    })
}

/// What is wrong with a body as a whole.
fn of_body(error: &ApiError) -> Cow<'static, str> {
    if let Some(unfit) = error.cause() {
        return match unfit {
            UnfitPayload::Nul => "文本不能包含NUL字符".into(),
            UnfitPayload::TooDeep(levels) => format!("请求体最多嵌套{levels}层").into(),
        };
    }
    match error.cause() {
        Some(BodyFault::NoJson(_)) => "请求体不是有效的JSON",
        Some(BodyFault::NoObject) => "请求体必须是JSON对象",
        None => of_kind(ErrorKind::Malformed),
    }
    .into()
}

/// The field that a refusal with this code is about, and what is wrong with it.
pub(super) fn field_of_code(code: &str) -> Option<(&'static str, &'static str)> {
    match code {
        "recharge_code.amount_out_of_range" => Some(("amount", "充值金额必须大于0，最多1000000，最多两位小数")),
        "recharge_code.uses_out_of_range" => Some(("max_uses", "最大使用次数必须在1到10000之间")),
        "recharge_code.expiry_in_the_past" => Some(("expires_at", "过期时间必须晚于当前时间")),
        "settings.tasks_per_user_out_of_range" => {
            Some(("max_concurrent_tasks_per_user", "每个用户的最大并发任务数必须在1到10000之间"))
        }
        "settings.task_timeout_out_of_range" => Some(("default_task_timeout", "默认任务超时必须在1到604800秒之间")),
        "settings.notice_too_long" => Some(("maintenance_notice", "维护公告最多200个字符，且不能包含控制字符")),
        "task.title_out_of_range" => Some(("title", "标题长度必须在1到200之间，且不能包含控制字符")),
        "task.description_out_of_range" => Some(("description", "描述最多5000个字符，且不能包含控制字符")),
        "task.type_invalid" => Some(("task_type", "任务类型最多50个字母、数字、_ 或 -")),
        "task.priority_out_of_range" => Some(("priority", "优先级必须在1到5之间")),
        "task.duration_out_of_range" => Some(("estimated_duration", "预计时长必须在1到10080分钟之间")),
        "task.progress_out_of_range" => Some(("progress", "进度必须在0到100之间")),
        "task.result_unfit" => Some(("result", "任务结果最多256KB")),
        "gpu_server.name_out_of_range" => Some(("name", "服务器名称长度必须在1到100之间，且不能包含控制字符")),
        "gpu_server.host_out_of_range" => Some(("host", "主机长度必须在1到255之间，且不能包含控制字符")),
        "gpu_server.description_out_of_range" | "recharge_code.description_out_of_range" => {
            Some(("description", "描述最多500个字符，且不能包含控制字符"))
        }
        "gpu_server.tasks_out_of_range" => Some(("max_concurrent_tasks", "最大并发任务数必须在1到64之间")),
        "balance.amount_out_of_range" => Some(("balance", "金额超出范围，最多两位小数")),
        "balance.too_much" => Some(("balance", "余额不能超过1000000000")),
        "balance.reason_out_of_range" => Some(("reason", "原因长度必须在1到500之间，且不能包含控制字符")),
        _ => None,
    }
}

/// What is wrong with the `config` of a task.
fn of_config(fault: ConfigFault) -> &'static str {
    match fault {
        ConfigFault::NoObject => "任务配置必须是对象",
        ConfigFault::TooLarge => "任务配置最多64KB",
        ConfigFault::Nul => "任务配置不能包含NUL字符",
        ConfigFault::NoWords => "command 必须是字符串列表",
        ConfigFault::NoProgram => "command 必须指明要运行的程序",
        ConfigFault::CommandOutOfRange => "command 最多100个词，且不能包含NUL字符",
        ConfigFault::Image => "image 必须是字符串",
        ConfigFault::GpuCount => "gpu_count 必须是0到16之间的整数",
        ConfigFault::MemoryGb => "memory_gb 必须是0到10000之间的数字",
        ConfigFault::TimeoutSeconds => "timeout_seconds 必须是5到604800之间的整数",
        ConfigFault::TtlSeconds => "ttl_seconds 必须是10到604800之间的整数",
    }
}

/// What is wrong with one field.
pub(super) fn of_field(field: &FieldError) -> Cow<'_, str> {
    match field.code {
        "user.email_invalid" => "邮箱格式不正确".into(),
        "user.username_invalid" => "用户名必须有3到50个字母、数字、_、. 或 -".into(),
        "user.name_out_of_range" => "姓名长度必须在1到100之间，且不能包含控制字符".into(),
        _ => of_fault(&field.fault),
    }
}

fn of_fault(fault: &Fault) -> Cow<'_, str> {
    match fault {
        Fault::NotBetween(least, most) => format!("必须在{least}到{most}之间").into(),
        Fault::TooLong(most) => format!("最多{most}个字符").into(),
        Fault::NoneOf(words) => format!("必须是 {}", alternatives(words, "、", " 或 ")).into(),
        Fault::Config(fault) => of_config(*fault).into(),
        Fault::NoMoment(_) => "必须是日志位置或时间，例如 2026-01-31T12:00:00Z".into(),
        Fault::Unread(mismatch, _) => of_mismatch(*mismatch).into(),
        // Handlers of this product say it in its words.
        Fault::Other(said) if said.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)) => said.into(),
        Fault::Other(_) => OTHER.into(),
    }
}

const OTHER: &str = "字段取值无效";

/// What the readers of bodies and queries say.
fn of_mismatch(mismatch: Mismatch) -> &'static str {
    match mismatch {
        Mismatch::Missing => "此字段为必填项",
        Mismatch::Unknown => "未知字段",
        Mismatch::Duplicate => "字段重复",
        Mismatch::WrongType => "字段类型不正确",
        Mismatch::NoNumber => "必须是数字",
        Mismatch::NoWholeNumber => "必须是整数",
        Mismatch::NumberTooLarge => "数值过大",
        Mismatch::NumberOutOfRange => "数值超出范围",
        Mismatch::NoBoolean => "必须是 true 或 false",
        Mismatch::NoTime => "时间格式不正确",
        Mismatch::TimeOutOfRange => "时间超出范围",
        Mismatch::Other => OTHER,
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

#[cfg(test)]
mod tests {
    use commands::CommandError;
    use domain::compute::task::work::Work;
    use serde_json::json;

    use super::*;

    fn said(fault: impl Into<Fault>) -> String {
        of_fault(&fault.into()).into_owned()
    }

    #[test]
    fn readers_are_translated() {
        assert_eq!(said(Fault::unread("missing field `email`".to_owned())), "此字段为必填项");
        assert_eq!(said(Fault::unread("must be a number".to_owned())), "必须是数字");
        assert_eq!(said(Fault::unread("whatever".to_owned())), "字段取值无效");
        assert_eq!(said(Fault::NotBetween(1, 1000)), "必须在1到1000之间");
        assert_eq!(said(Fault::TooLong(500)), "最多500个字符");
        assert_eq!(said(Fault::NoneOf(&["a_b", "c", "d"])), "必须是 a_b、c 或 d");
        assert_eq!(said(Fault::NoneOf(&["asc", "desc"])), "必须是 asc 或 desc");
        assert_eq!(said(replay::NoMoment), "必须是日志位置或时间，例如 2026-01-31T12:00:00Z");
        assert_eq!(said("密码长度至少6位"), "密码长度至少6位");
        assert_eq!(said("whatever"), "字段取值无效");
        let email = ApiError::field_by("user.email_invalid", "email", "this is not an e-mail address");
        assert_eq!(of_field(&email.fields[0]), "邮箱格式不正确");
    }

    #[test]
    fn the_wrong_key_of_a_config_is_named() {
        let said = |config| of_config(Work::of(&config).unwrap_err());
        for wrong in [
            json!({ "command": "rm" }),
            json!({ "command": [] }),
            json!({ "command": vec!["x"; 101] }),
            json!({ "gpu_count": 17 }),
            json!({ "memory_gb": 10_001 }),
            json!({ "timeout_seconds": 4 }),
            json!({ "ttl_seconds": 9 }),
        ] {
            let key = wrong.as_object().unwrap().keys().next().unwrap().clone();
            assert!(said(wrong).starts_with(&key), "{key}");
        }
        assert_eq!(said(json!([])), "任务配置必须是对象");
        assert_eq!(said(json!({ "x": "x".repeat(70_000) })), "任务配置最多64KB");
        assert_eq!(said(json!({ "x": "\u{0}" })), "任务配置不能包含NUL字符");
    }

    #[test]
    fn the_limit_of_tasks_is_named() {
        let error = ApiError::from(CommandError::Refused(TaskError::TooMany(5)));
        assert_eq!(message(&error), "任务数量超限：最多同时有5个等待或运行中的任务");
    }
}
