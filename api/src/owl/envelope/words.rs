//! The document's words, in Chinese, for what can go wrong.

use std::borrow::Cow;

use crate::error::{ApiError, ErrorKind};

/// What the whole error says.
pub(super) fn message(error: &ApiError) -> &str {
    match error.code {
        // Administrators wrote it themselves.
        "maintenance" => &error.message,
        "recharge_code.not_found"
        | "recharge_code.used_up"
        | "recharge_code.expired"
        | "recharge_code.deactivated"
        | "recharge_code.redeemed_before" => "充值码无效、已使用或已过期",
        "task.lease_lost" => "任务租约已失效",
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
        _ => of_kind(error.kind),
    }
}

/// The field that a refusal is about when the refusal itself names none, and what is wrong with it.
pub(super) fn field_of(code: &str) -> Option<(&'static str, &'static str)> {
    match code {
        "recharge_code.amount_out_of_range" => Some(("amount", "充值金额必须大于0，最多1000000，最多两位小数")),
        "recharge_code.uses_out_of_range" => Some(("max_uses", "最大使用次数必须在1到10000之间")),
        "recharge_code.expiry_in_the_past" => Some(("expires_at", "过期时间必须晚于当前时间")),
        "settings.tasks_per_user_out_of_range" => {
            Some(("max_concurrent_tasks_per_user", "每个用户的最大并发任务数必须在1到10000之间"))
        }
        "settings.task_timeout_out_of_range" => Some(("default_task_timeout", "默认任务超时必须在1到604800秒之间")),
        "settings.notice_too_long" => Some(("maintenance_notice", "维护公告最多200个字符")),
        "task.title_out_of_range" => Some(("title", "标题长度必须在1到200之间")),
        "task.description_out_of_range" => Some(("description", "描述最多5000个字符")),
        "task.type_invalid" => Some(("task_type", "任务类型最多50个字母、数字、_ 或 -")),
        "task.priority_out_of_range" => Some(("priority", "优先级必须在1到5之间")),
        "task.duration_out_of_range" => Some(("estimated_duration", "预计时长必须在1到10080分钟之间")),
        "task.config_invalid" => Some(("config", "任务配置不正确")),
        "task.progress_out_of_range" => Some(("progress", "进度必须在0到100之间")),
        "task.result_unfit" => Some(("result", "任务结果最多256KB")),
        "gpu_server.name_out_of_range" => Some(("name", "服务器名称长度必须在1到100之间")),
        "gpu_server.host_out_of_range" => Some(("host", "主机长度必须在1到255之间")),
        "gpu_server.description_out_of_range" => Some(("description", "描述最多500个字符")),
        "gpu_server.tasks_out_of_range" => Some(("max_concurrent_tasks", "最大并发任务数必须在1到64之间")),
        "balance.amount_out_of_range" => Some(("balance", "金额超出范围，最多两位小数")),
        "balance.too_much" => Some(("balance", "余额不能超过1000000000")),
        "balance.reason_out_of_range" => Some(("reason", "原因长度必须在1到500之间")),
        _ => None,
    }
}

/// What is wrong with one field.
pub(super) fn of_field<'a>(code: &str, message: &'a str) -> Cow<'a, str> {
    match code {
        "task.config_invalid" => "任务配置不正确".into(),
        "user.email_invalid" => "邮箱格式不正确".into(),
        "user.username_invalid" => "用户名必须有3到50个字母、数字、_、. 或 -".into(),
        "user.name_out_of_range" => "姓名长度必须在1到100之间".into(),
        _ if message.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)) => message.into(),
        _ => of_reader(message).into(),
    }
}

/// What the readers of bodies and queries say.
fn of_reader(message: &str) -> String {
    const WORDS: [(&str, &str); 12] = [
        ("missing field", "此字段为必填项"),
        ("invalid type", "字段类型不正确"),
        ("must be a number", "必须是数字"),
        ("invalid digit", "必须是整数"),
        ("cannot parse integer", "必须是整数"),
        ("number too large", "数值过大"),
        ("provided string was not", "必须是 true 或 false"),
        ("input contains invalid", "时间格式不正确"),
        ("premature end of input", "时间格式不正确"),
        ("input is out of range", "时间超出范围"),
        ("unknown field", "未知字段"),
        ("duplicate field", "字段重复"),
    ];
    if let Some((least, most)) = message.strip_prefix("must be between ").and_then(|rest| rest.split_once(" and ")) {
        return format!("必须在{least}到{most}之间");
    }
    if let Some(most) = message.strip_prefix("must have at most ") {
        return format!("最多{}个字符", most.trim_end_matches(" characters"));
    }
    let known = WORDS.iter().find(|(english, _)| message.contains(english));
    known.map_or("字段取值无效", |(_, chinese)| chinese).to_owned()
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
    use super::*;

    #[test]
    fn readers_are_translated() {
        assert_eq!(of_field("invalid_request", "missing field `email`"), "此字段为必填项");
        assert_eq!(of_field("invalid_request", "must be between 1 and 1000"), "必须在1到1000之间");
        assert_eq!(of_field("invalid_request", "must have at most 500 characters"), "最多500个字符");
        assert_eq!(of_field("invalid_request", "密码长度至少6位"), "密码长度至少6位");
        assert_eq!(of_field("invalid_request", "whatever"), "字段取值无效");
        assert_eq!(of_field("user.email_invalid", "this is not an e-mail address"), "邮箱格式不正确");
    }
}
