//! Give whoever registers with Zinnia the alert rules to begin with.

use async_trait::async_trait;
use domain::devices::alert_rule::{AlertRule, AlertRules, AlertRulesCommand};
use domain::devices::alert_type::{AlertLevel, AlertType};
use domain::event::Recorded;
use domain::identity::user::{User, UserEvent};
use domain::metadata::UserId;
use uuid::Uuid;

use super::{Process, ProcessError};
use crate::bus::CommandBus;

/// Name, type, level, cooldown in minutes, and whether it is enabled.
const RULES: [(&str, AlertType, AlertLevel, u32, bool); 4] = [
    ("低电量预警", AlertType::LowBattery, AlertLevel::Warning, 20, true),
    ("临界电量预警", AlertType::CriticalBattery, AlertLevel::Critical, 5, false),
    ("高温预警", AlertType::HighTemperature, AlertLevel::Warning, 50, false),
    ("设备离线预警", AlertType::DeviceOffline, AlertLevel::Info, 1_440, false),
];

/// The process manager.
pub struct SetUpAlertRulesOnRegistration;

#[async_trait]
impl Process for SetUpAlertRulesOnRegistration {
    fn name(&self) -> &'static str {
        "set_up_alert_rules_on_registration"
    }

    fn consumes(&self) -> &'static [&'static str] {
        &["user"]
    }

    async fn react(&self, bus: &CommandBus, event: &Recorded) -> Result<Option<u64>, ProcessError> {
        let Some(UserEvent::Registered { user_id, .. }) = event.decode::<User>()? else { return Ok(None) };
        if event.metadata()?.surface != "zinnia" {
            return Ok(None);
        }
        let context = self.context(bus, event, "set_up")?;
        let set_up = AlertRulesCommand::SetUp(RULES.map(|rule| rule_of(user_id, rule)).into());
        let receipt = bus.execute::<AlertRules>(&user_id.to_string(), set_up, &context).await?;
        Ok(Some(receipt.position))
    }
}

fn rule_of(
    user: UserId,
    (name, alert_type, level, cooldown_minutes, enabled): (&str, AlertType, AlertLevel, u32, bool),
) -> AlertRule {
    AlertRule {
        rule_id: Uuid::new_v5(&user.0, alert_type.name().as_bytes()),
        name: name.to_owned(),
        alert_type,
        level,
        cooldown_minutes,
        duration_minutes: 0,
        enabled,
    }
}
