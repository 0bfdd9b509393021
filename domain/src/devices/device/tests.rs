use chrono::TimeDelta;
use cqrs_es::test::{AggregateTestExecutor, TestFramework};
use serde_json::json;

use super::*;

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}
fn user(n: u128) -> UserId {
    UserId(Uuid::from_u128(n))
}
fn secret(word: &str) -> HashedSecret {
    HashedSecret { hash: word.to_owned(), prefix: "zn_live_ABCDEFGH...".to_owned() }
}
fn register(name: &str, device_type: &str) -> DeviceCommand {
    DeviceCommand::Register {
        device_id: Uuid::from_u128(1),
        owner: user(1),
        name: name.to_owned(),
        device_type: device_type.to_owned(),
        metadata: Map::new(),
        key: secret("k1"),
    }
}
fn registered() -> DeviceEvent {
    DeviceEvent::Registered {
        device_id: Uuid::from_u128(1),
        owner_id: user(1),
        name: "hall".into(),
        device_type: "sensor".into(),
        metadata: Map::new(),
        key_hash: "k1".into(),
        key_prefix: "zn_live_ABCDEFGH...".into(),
    }
}
fn token(n: u128, expires_at: Option<DateTime<Utc>>) -> NewToken {
    NewToken {
        id: Uuid::from_u128(n),
        name: "probe".into(),
        permission: TokenPermission::Write,
        secret: secret("t"),
        expires_at,
        allowed_ips: vec![],
        rate_limit_per_minute: None,
    }
}
fn issued(n: u128, expires_at: Option<DateTime<Utc>>) -> DeviceEvent {
    DeviceEvent::TokenIssued {
        token_id: Uuid::from_u128(n),
        name: "probe".into(),
        permission: TokenPermission::Write,
        token_hash: "t".into(),
        token_prefix: "zn_live_ABCDEFGH...".into(),
        expires_at,
        allowed_ips: vec![],
        rate_limit_per_minute: None,
    }
}
fn shared(n: u128, permission: SharePermission) -> DeviceEvent {
    DeviceEvent::Shared { user_id: user(n), permission }
}
fn changed(status: DeviceStatus) -> DeviceEvent {
    DeviceEvent::Changed { name: None, status: Some(status), metadata: None }
}
fn given(events: Vec<DeviceEvent>) -> AggregateTestExecutor<Device> {
    TestFramework::with(Now(noon())).given(events)
}
fn deleted() -> DeviceEvent {
    DeviceEvent::Deleted { token_ids: vec![], shared_with: vec![] }
}

#[test]
fn a_device_is_registered_once_and_for_good() {
    given(vec![]).when(register(" hall ", "sensor")).then_expect_events(vec![registered()]);
    given(vec![registered()]).when(register("hall", "sensor")).then_expect_error(DeviceError::AlreadyRegistered);
    given(vec![registered(), deleted()])
        .when(register("hall", "sensor"))
        .then_expect_error(DeviceError::AlreadyRegistered);
}

#[test]
fn names_types_and_metadata_have_their_limits() {
    given(vec![]).when(register(" ", "sensor")).then_expect_error(DeviceError::NameOutOfRange);
    given(vec![]).when(register(&"名".repeat(101), "sensor")).then_expect_error(DeviceError::NameOutOfRange);
    given(vec![]).when(register("hall", &"x".repeat(51))).then_expect_error(DeviceError::TypeOutOfRange);
    let large = json!({ "x": "y".repeat(METADATA_BYTES_MAX) });
    let change = DeviceCommand::Change { name: None, status: None, metadata: large.as_object().cloned() };
    given(vec![registered()]).when(change).then_expect_error(DeviceError::MetadataTooLarge);
}

#[test]
fn a_change_that_changes_nothing_is_no_event() {
    let change = |name: &str| DeviceCommand::Change { name: Some(name.into()), status: None, metadata: None };
    given(vec![registered()]).when(change("hall")).then_expect_events(vec![]);
    let renamed = DeviceEvent::Changed { name: Some("attic".into()), status: None, metadata: None };
    given(vec![registered()]).when(change("attic")).then_expect_events(vec![renamed]);
    given(vec![]).when(change("attic")).then_expect_error(DeviceError::NotFound);
}

#[test]
fn settings_stay_within_their_ranges() {
    let refused = |changes: SettingsChanges, error| {
        given(vec![registered()]).when(DeviceCommand::Configure { changes }).then_expect_error(error);
    };
    let none = SettingsChanges::default;
    refused(SettingsChanges { low_battery_threshold: Some(0), ..none() }, DeviceError::LowThresholdOutOfRange);
    refused(SettingsChanges { low_battery_threshold: Some(101), ..none() }, DeviceError::LowThresholdOutOfRange);
    refused(
        SettingsChanges { critical_battery_threshold: Some(0), ..none() },
        DeviceError::CriticalThresholdOutOfRange,
    );
    refused(SettingsChanges { critical_battery_threshold: Some(20), ..none() }, DeviceError::CriticalNotBelowLow);
    refused(SettingsChanges { low_battery_threshold: Some(10), ..none() }, DeviceError::CriticalNotBelowLow);
    refused(SettingsChanges { report_interval_seconds: Some(9), ..none() }, DeviceError::IntervalOutOfRange);
    refused(SettingsChanges { report_interval_seconds: Some(3_601), ..none() }, DeviceError::IntervalOutOfRange);
    refused(SettingsChanges { high_temperature_threshold: Some(200.5), ..none() }, DeviceError::TemperatureOutOfRange);
    refused(
        SettingsChanges { high_temperature_threshold: Some(f64::NAN), ..none() },
        DeviceError::TemperatureOutOfRange,
    );
    refused(SettingsChanges { rapid_drain_threshold: Some(0), ..none() }, DeviceError::DrainOutOfRange);
    refused(SettingsChanges { offline_after_seconds: Some(29), ..none() }, DeviceError::SilenceOutOfRange);
    let both = SettingsChanges { low_battery_threshold: Some(10), critical_battery_threshold: Some(9), ..none() };
    let settings = Settings { low_battery_threshold: 10, critical_battery_threshold: 9, ..Settings::default() };
    given(vec![registered()])
        .when(DeviceCommand::Configure { changes: both })
        .then_expect_events(vec![DeviceEvent::Configured { settings }]);
    given(vec![registered()]).when(DeviceCommand::Configure { changes: none() }).then_expect_events(vec![]);
}

#[test]
fn silence_is_three_reports_but_three_minutes_at_least() {
    let seconds = |report_interval_seconds, offline_after_seconds| {
        Settings { report_interval_seconds, offline_after_seconds, ..Settings::default() }.silence_seconds()
    };
    assert_eq!((seconds(10, None), seconds(60, None), seconds(3_600, None)), (180, 180, 10_800));
    assert_eq!(seconds(3_600, Some(30)), 30);
}

#[test]
fn a_device_has_twenty_valid_tokens_at_most() {
    let issue = |token| DeviceCommand::IssueToken { token };
    let hour = Some(noon() + TimeDelta::hours(1));
    given(vec![registered()]).when(issue(token(7, hour))).then_expect_events(vec![issued(7, hour)]);
    let with =
        |expires_at| std::iter::once(registered()).chain((0..20).map(|n| issued(n, expires_at))).collect::<Vec<_>>();
    given(with(None)).when(issue(token(99, None))).then_expect_error(DeviceError::TooManyTokens);
    given(with(Some(noon()))).when(issue(token(99, None))).then_expect_events(vec![issued(99, None)]);
}

#[test]
fn tokens_stay_within_their_ranges() {
    let refused = |token, error| {
        given(vec![registered()]).when(DeviceCommand::IssueToken { token }).then_expect_error(error);
    };
    refused(token(1, Some(noon())), DeviceError::TokenLifeOutOfRange);
    refused(token(1, Some(noon() + TimeDelta::hours(8_761))), DeviceError::TokenLifeOutOfRange);
    refused(NewToken { rate_limit_per_minute: Some(0), ..token(1, None) }, DeviceError::TokenRateOutOfRange);
    refused(NewToken { rate_limit_per_minute: Some(1_001), ..token(1, None) }, DeviceError::TokenRateOutOfRange);
    refused(NewToken { allowed_ips: vec![String::new(); 51], ..token(1, None) }, DeviceError::TooManyNetworks);
    refused(NewToken { name: String::new(), ..token(1, None) }, DeviceError::NameOutOfRange);
}

#[test]
fn tokens_are_taken_back_one_or_all() {
    let both = || vec![registered(), issued(1, None), issued(2, Some(noon()))];
    let revoked =
        |ids: &[u128]| DeviceEvent::TokensRevoked { token_ids: ids.iter().copied().map(Uuid::from_u128).collect() };
    let revoke = |n| DeviceCommand::RevokeToken { token_id: Uuid::from_u128(n) };
    given(both()).when(revoke(1)).then_expect_events(vec![revoked(&[1])]);
    given(both()).when(revoke(3)).then_expect_error(DeviceError::TokenNotFound);
    // The second one has expired already.
    given(both()).when(DeviceCommand::RevokeAllTokens).then_expect_events(vec![revoked(&[1])]);
    given(vec![registered()]).when(DeviceCommand::RevokeAllTokens).then_expect_events(vec![]);
}

#[test]
fn a_device_is_shared_with_others_not_with_its_owner() {
    let share = |n, permission| DeviceCommand::Share { user: user(n), permission };
    let read = SharePermission::Read;
    given(vec![registered()]).when(share(2, read)).then_expect_events(vec![shared(2, read)]);
    given(vec![registered(), shared(2, read)]).when(share(2, read)).then_expect_events(vec![]);
    given(vec![registered(), shared(2, read)])
        .when(share(2, SharePermission::Admin))
        .then_expect_events(vec![shared(2, SharePermission::Admin)]);
    given(vec![registered()]).when(share(1, read)).then_expect_error(DeviceError::SharedWithOwner);
    let many = std::iter::once(registered()).chain((2..102).map(|n| shared(n, read))).collect();
    given(many).when(share(200, read)).then_expect_error(DeviceError::TooManyShares);
    let unshare = |n| DeviceCommand::Unshare { user: user(n) };
    given(vec![registered(), shared(2, read)])
        .when(unshare(2))
        .then_expect_events(vec![DeviceEvent::Unshared { user_id: user(2) }]);
    given(vec![registered()]).when(unshare(2)).then_expect_error(DeviceError::NotShared);
}

#[test]
fn reports_and_silence_move_a_device_between_online_and_offline() {
    let hear = || DeviceCommand::Hear { seen_at: noon() };
    let silence = || DeviceCommand::FallSilent { last_seen_at: Some(noon()) };
    let online = || DeviceEvent::CameOnline { seen_at: noon() };
    let offline = || DeviceEvent::WentOffline { last_seen_at: Some(noon()) };
    given(vec![registered()]).when(hear()).then_expect_events(vec![online()]);
    given(vec![registered(), online()]).when(hear()).then_expect_events(vec![]);
    given(vec![registered(), online()]).when(silence()).then_expect_events(vec![offline()]);
    given(vec![registered(), online(), offline()]).when(silence()).then_expect_events(vec![]);
    given(vec![registered(), changed(DeviceStatus::Maintenance)]).when(silence()).then_expect_events(vec![]);
    given(vec![registered(), changed(DeviceStatus::Maintenance)]).when(hear()).then_expect_events(vec![]);
    given(vec![registered(), changed(DeviceStatus::Disabled)]).when(hear()).then_expect_error(DeviceError::Disabled);
}

#[test]
fn a_deleted_device_takes_tokens_and_shares_along() {
    let deletion = DeviceEvent::Deleted { token_ids: vec![Uuid::from_u128(5)], shared_with: vec![user(2)] };
    given(vec![registered(), issued(5, None), shared(2, SharePermission::Read)])
        .when(DeviceCommand::Delete)
        .then_expect_events(vec![deletion]);
    given(vec![registered(), deleted()]).when(DeviceCommand::Delete).then_expect_error(DeviceError::NotFound);
    given(vec![registered(), deleted()])
        .when(DeviceCommand::RotateKey { key: secret("k2") })
        .then_expect_error(DeviceError::NotFound);
}
