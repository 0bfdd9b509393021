//! What an alert says, in Chinese: on lists, in pushes and in notifications.

use domain::devices::alert_type::{AlertLevel, AlertType};

/// The sentence of an alert.
pub(crate) fn sentence(alert_type: AlertType, value: f64) -> String {
    match alert_type {
        AlertType::LowBattery => format!("设备电量低: {value:.0}%"),
        AlertType::CriticalBattery => format!("设备电量临界: {value:.0}%"),
        AlertType::HighTemperature => format!("设备温度过高: {value:.1}°C"),
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
