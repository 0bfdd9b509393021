//! What an alert says, in Chinese: on lists, in pushes and in notifications.

use domain::devices::alert_type::{AlertLevel, AlertType};

/// The sentence of an alert.
pub(crate) fn sentence(alert_type: AlertType, value: f64) -> String {
    match alert_type {
        AlertType::LowBattery => format!("设备电量低: {value:.0}%"),
        AlertType::CriticalBattery => format!("设备电量临界: {value:.0}%"),
        AlertType::HighTemperature => format!("设备温度过高: {value:.1}°C"),
        AlertType::DeviceOffline if value < 1.0 => "设备离线: 未上报已有不到 1 分钟".to_owned(),
        AlertType::DeviceOffline => format!("设备离线: 已 {value:.0} 分钟未上报"),
        AlertType::RapidDrain => format!("设备电量下降过快: 一小时内下降 {value:.0}%"),
    }
}

/// The word for a level.
pub(crate) fn level(level: AlertLevel) -> &'static str {
    match level {
        AlertLevel::Info => "提示",
        AlertLevel::Warning => "警告",
        AlertLevel::Critical => "严重",
    }
}

/// What a code about alerts and notifications means.
pub(crate) fn refusal(code: &str) -> Option<&'static str> {
    Some(match code {
        "alert_rule.type_taken" => "该类型已有启用的预警规则",
        "alert_rule.name_length" => "规则名称长度必须在1到100之间，且不能包含控制字符",
        "alert_rule.cooldown_out_of_range" => "冷却时间必须在1到1440分钟之间",
        "alert_rule.duration_out_of_range" => "持续时间必须在0到1440分钟之间",
        "alert_rule.too_many" => "预警规则数量已达上限（50条）",
        "alert.over" => "预警已解决",
        "alert.cannot_be_reopened" => "已确认或已解决的预警不能恢复为活跃状态",
        "notification_preferences.too_many_subscriptions" => "推送订阅数量已达上限（20个）",
        "notification_preferences.address_too_long" => "地址过长",
        "notification_preferences.webhook_missing" => "启用 Webhook 需要提供地址",
        "notification_preferences.offset_out_of_range" => "时差超出范围",
        _ => return None,
    })
}
