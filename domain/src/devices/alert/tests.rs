use std::sync::Arc;

use cqrs_es::Aggregate;

use super::*;
use crate::devices::alert_type::AlertType::{CriticalBattery, DeviceOffline, HighTemperature, LowBattery, RapidDrain};

const DEVICE: Uuid = Uuid::from_u128(7);
const OWNER: UserId = UserId(Uuid::from_u128(9));

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + minute * 60, 0).unwrap()
}

/// A device whose owner has a rule of each of these types, after some commands.
struct Scene {
    alerts: DeviceAlerts,
    watch: Arc<Watch>,
    arrivals: u64,
    /// Reports its temperature.
    temperature: Option<f64>,
    drained: Option<u8>,
}

fn scene(types: &[AlertType], duration_minutes: u32) -> Scene {
    let rule = |alert_type: AlertType| AlertRule {
        rule_id: Uuid::from_u128(alert_type as u128),
        name: "a rule".into(),
        alert_type,
        level: AlertLevel::Warning,
        cooldown_minutes: 30,
        duration_minutes,
        enabled: true,
    };
    let rules = types.iter().map(|alert_type| (*alert_type, rule(*alert_type))).collect();
    let watch = Arc::new(Watch { device_id: DEVICE, owner: OWNER, settings: Settings::default(), rules });
    Scene { alerts: DeviceAlerts::default(), watch, arrivals: 0, temperature: None, drained: None }
}

impl Scene {
    fn give(&mut self, command: DeviceAlertsCommand, minute: i64) -> Vec<String> {
        let events = self.alerts.decide(command, at(minute)).unwrap();
        events.iter().for_each(|event| self.alerts.apply(event.clone()));
        events.iter().map(told).collect()
    }
    fn observation(&mut self, minute: i64, level: u8, is_charging: bool) -> Observation {
        self.arrivals += 1;
        Observation {
            arrival: self.arrivals,
            received_at: at(minute),
            recorded_at: at(minute),
            is_late: false,
            level,
            is_charging,
            temperature: self.temperature,
            drained: self.drained,
        }
    }
    fn observe(&mut self, observation: Observation) -> Vec<String> {
        let minute = (observation.received_at - at(0)).num_minutes();
        let watch = Arc::clone(&self.watch);
        self.give(DeviceAlertsCommand::Observe { observation, watch }, minute)
    }
    fn report(&mut self, minute: i64, level: u8) -> Vec<String> {
        let observation = self.observation(minute, level, false);
        self.observe(observation)
    }
    fn charge(&mut self, minute: i64, level: u8) -> Vec<String> {
        let observation = self.observation(minute, level, true);
        self.observe(observation)
    }
    fn silent(&mut self, since: i64, now: i64) -> Vec<String> {
        let watch = Arc::clone(&self.watch);
        self.give(DeviceAlertsCommand::MissReports { last_seen_at: at(since), watch }, now)
    }
    fn alert_id(&self, alert_type: AlertType) -> Uuid {
        self.alerts.active(alert_type).unwrap().alert_id
    }
}

/// `triggered low_battery 15` and the like.
fn told(event: &DeviceAlertsEvent) -> String {
    match event {
        DeviceAlertsEvent::ConditionBegan { alert_type, .. } => format!("began {alert_type}"),
        DeviceAlertsEvent::ConditionEnded { alert_type, .. } => format!("ended {alert_type}"),
        DeviceAlertsEvent::Triggered { alert_type, value, .. } => format!("triggered {alert_type} {value}"),
        DeviceAlertsEvent::Worsened { alert_type, value, .. } => format!("worsened {alert_type} {value}"),
        DeviceAlertsEvent::Acknowledged { alert_type, .. } => format!("acknowledged {alert_type}"),
        DeviceAlertsEvent::Resolved { alert_type, .. } => format!("resolved {alert_type}"),
        DeviceAlertsEvent::Cleared { alert_type, reason, .. } => format!("cleared {alert_type} {reason:?}"),
    }
}

const NOTHING: Vec<String> = vec![];

#[test]
fn a_low_battery_is_told_once() {
    let mut scene = scene(&[LowBattery], 0);
    assert_eq!(scene.report(0, 20), NOTHING);
    assert_eq!(scene.report(1, 19), ["triggered low_battery 19"]);
    assert_eq!(scene.report(2, 18), NOTHING);
    assert_eq!(scene.report(3, 14), ["worsened low_battery 14"]);
    assert_eq!(scene.report(90, 13), NOTHING);
}

#[test]
fn an_alert_clears_beyond_its_threshold_or_when_charging() {
    let mut scene = scene(&[LowBattery], 0);
    scene.report(0, 19);
    assert_eq!(scene.report(1, 24), NOTHING);
    assert_eq!(scene.report(2, 25), ["cleared low_battery Recovered"]);
    scene.report(40, 10);
    assert_eq!(scene.charge(41, 10), ["cleared low_battery Charging"]);
    assert_eq!(scene.charge(42, 11), NOTHING);
}

#[test]
fn after_an_alert_there_is_none_until_the_cooldown_is_over() {
    let mut scene = scene(&[LowBattery], 0);
    scene.report(0, 19);
    scene.charge(1, 19);
    assert_eq!(scene.report(29, 19), NOTHING);
    assert_eq!(scene.report(30, 19), ["triggered low_battery 19"]);
}

#[test]
fn critical_beats_low() {
    let mut scene = scene(&[LowBattery, CriticalBattery], 0);
    assert_eq!(scene.report(0, 15), ["triggered low_battery 15"]);
    assert_eq!(scene.report(1, 9), ["triggered critical_battery 9", "cleared low_battery Superseded"]);
    assert_eq!(scene.report(2, 12), NOTHING, "still critical, so not low either");
    assert_eq!(scene.report(3, 15), ["cleared critical_battery Recovered"]);
    assert_eq!(scene.report(4, 9), NOTHING, "critical a while ago, so not low either");
    assert_eq!(scene.report(40, 16), ["triggered low_battery 16"]);
}

#[test]
fn without_a_rule_for_critical_it_is_low() {
    let mut scene = scene(&[LowBattery], 0);
    assert_eq!(scene.report(0, 3), ["triggered low_battery 3"]);
}

#[test]
fn a_battery_that_charges_is_not_low() {
    assert_eq!(scene(&[LowBattery, CriticalBattery], 0).charge(0, 1), NOTHING);
}

#[test]
fn heat_is_told_above_the_threshold_and_clears_two_degrees_below() {
    let mut scene = scene(&[HighTemperature], 0);
    let mut at_degrees = |minute, degrees| {
        scene.temperature = degrees;
        scene.report(minute, 50)
    };
    assert_eq!(at_degrees(0, Some(45.0)), NOTHING);
    assert_eq!(at_degrees(1, Some(45.5)), ["triggered high_temperature 45.5"]);
    assert_eq!(at_degrees(2, None), NOTHING);
    assert_eq!(at_degrees(3, Some(47.5)), ["worsened high_temperature 47.5"]);
    assert_eq!(at_degrees(4, Some(43.5)), NOTHING);
    assert_eq!(at_degrees(5, Some(43.0)), ["cleared high_temperature Recovered"]);
}

#[test]
fn a_rapid_drain_is_told_from_twenty_points_on() {
    let mut scene = scene(&[RapidDrain], 0);
    let mut lost = |minute, lost| {
        scene.drained = lost;
        scene.report(minute, 50)
    };
    assert_eq!(lost(0, Some(19)), NOTHING);
    assert_eq!(lost(1, Some(20)), ["triggered rapid_drain 20"]);
    assert_eq!(lost(2, Some(16)), NOTHING);
    assert_eq!(lost(3, None), NOTHING);
    assert_eq!(lost(4, Some(15)), ["cleared rapid_drain Recovered"]);
}

#[test]
fn a_silent_device_is_told_once_and_clears_with_its_next_report() {
    let mut scene = scene(&[DeviceOffline], 0);
    scene.report(0, 50);
    assert_eq!(scene.silent(0, 2), NOTHING);
    assert_eq!(scene.silent(0, 3), ["triggered device_offline 3"]);
    assert_eq!(scene.silent(0, 60), NOTHING);
    assert_eq!(scene.report(61, 50), ["cleared device_offline Reported"]);
    assert_eq!(scene.silent(61, 64), ["triggered device_offline 3"]);
}

#[test]
fn a_report_that_overtakes_the_clock_wins() {
    let mut scene = scene(&[DeviceOffline], 0);
    scene.silent(0, 5);
    scene.report(6, 50);
    // The clock had looked before the report came.
    assert_eq!(scene.silent(0, 40), NOTHING);
    assert!(scene.alerts.active(DeviceOffline).is_none());
}

#[test]
fn a_report_from_before_the_silence_does_not_end_it() {
    let mut scene = scene(&[DeviceOffline], 0);
    let report = scene.observation(0, 50, false);
    assert_eq!(scene.silent(0, 5), ["triggered device_offline 5"]);
    assert_eq!(scene.observe(report), NOTHING);
    assert_eq!(scene.report(1, 50), ["cleared device_offline Reported"], "it came while the alert was being raised");
}

#[test]
fn a_late_reading_ends_a_silence_and_nothing_else() {
    let mut scene = scene(&[LowBattery, DeviceOffline], 0);
    scene.report(0, 50);
    scene.silent(0, 5);
    let late = Observation { is_late: true, recorded_at: at(-5), ..scene.observation(6, 3, false) };
    assert_eq!(scene.observe(late), ["cleared device_offline Reported"]);
    scene.report(7, 15);
    scene.report(50, 50);
    // What was judged before a restart stands in events.
    let late = Observation { recorded_at: at(45), ..scene.observation(51, 3, false) };
    assert_eq!(scene.observe(late), NOTHING);
}

#[test]
fn a_reading_is_judged_once() {
    let mut scene = scene(&[LowBattery], 0);
    let low = scene.observation(0, 15, false);
    assert_eq!(scene.observe(low), ["triggered low_battery 15"]);
    scene.charge(60, 90);
    assert_eq!(scene.observe(low), NOTHING);
}

#[test]
fn a_duration_is_counted_from_the_first_reading_and_survives_a_restart() {
    let mut scene = scene(&[LowBattery], 10);
    assert_eq!(scene.report(0, 15), ["began low_battery"]);
    assert_eq!(scene.report(7, 14), NOTHING);
    // What is left after a restart is what the events say.
    let kept = serde_json::to_string(&scene.alerts).unwrap();
    scene.alerts = serde_json::from_str(&kept).unwrap();
    assert_eq!(scene.report(9, 14), NOTHING);
    assert_eq!(scene.report(10, 14), ["triggered low_battery 14"]);
}

#[test]
fn what_ends_before_its_duration_is_no_alert() {
    let mut scene = scene(&[LowBattery], 10);
    scene.report(0, 15);
    assert_eq!(scene.report(9, 21), ["ended low_battery"]);
    assert_eq!(scene.report(10, 15), ["began low_battery"]);
    assert_eq!(scene.report(19, 15), NOTHING);
}

#[test]
fn alerts_are_acknowledged_and_resolved() {
    let mut scene = scene(&[LowBattery], 0);
    scene.report(0, 15);
    let alert_id = scene.alert_id(LowBattery);
    let (acknowledge, resolve) = (
        DeviceAlertsCommand::Acknowledge { alert_id, by: OWNER },
        DeviceAlertsCommand::Resolve { alert_id, by: OWNER },
    );
    let reopen = DeviceAlertsCommand::Reopen { alert_id };
    assert_eq!(scene.give(reopen.clone(), 1), NOTHING);
    assert_eq!(scene.give(acknowledge.clone(), 1), ["acknowledged low_battery"]);
    assert_eq!(scene.give(acknowledge.clone(), 2), NOTHING);
    assert_eq!(scene.alerts.decide(reopen, at(2)), Err(AlertError::CannotBeReopened));
    assert_eq!(scene.report(3, 15), NOTHING);
    assert_eq!(scene.give(resolve.clone(), 60), ["resolved low_battery"]);
    assert_eq!(scene.give(resolve, 60), NOTHING);
    assert_eq!(scene.alerts.decide(acknowledge, at(60)), Err(AlertError::Over));
    // It is quiet for one more cooldown, then it is told again if it still is so.
    assert_eq!(scene.report(89, 15), NOTHING);
    assert_eq!(scene.report(90, 15), ["triggered low_battery 15"]);
    assert_ne!(scene.alert_id(LowBattery), alert_id);
}

#[test]
fn without_rules_nothing_begins_but_what_is_active_still_clears() {
    let mut with_rule = scene(&[LowBattery], 0);
    with_rule.report(0, 15);
    let mut scene = Scene { watch: scene(&[], 0).watch, ..with_rule };
    assert_eq!(scene.report(1, 14), NOTHING);
    assert_eq!(scene.charge(2, 30), ["cleared low_battery Charging"]);
    assert_eq!(scene.report(60, 3), NOTHING);
}

#[test]
fn the_alerts_of_a_deleted_device_are_over() {
    let mut scene = scene(&[LowBattery, DeviceOffline], 0);
    scene.report(0, 15);
    scene.silent(0, 10);
    let closed = scene.give(DeviceAlertsCommand::Close, 11);
    assert_eq!(closed, ["cleared low_battery DeviceDeleted", "cleared device_offline DeviceDeleted"]);
}
