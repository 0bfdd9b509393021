use chrono::TimeDelta;
use cqrs_es::Aggregate as _;
use cqrs_es::test::{AggregateTestExecutor, TestFramework};
use serde_json::json;

use super::*;
use crate::event::EventNames as _;

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";
const OTHER_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$b3RoZXI";

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}
fn minutes(n: i64) -> TimeDelta {
    TimeDelta::minutes(n)
}
fn session(n: u128) -> Uuid {
    Uuid::from_u128(n)
}
fn given(events: Vec<UserEvent>) -> AggregateTestExecutor<User> {
    TestFramework::with(Now(noon())).given(events)
}
/// A user of `role` to whom all of `then` happened.
fn given_user(role: Role, then: Vec<UserEvent>) -> AggregateTestExecutor<User> {
    let mut events = vec![registered(role)];
    events.extend(then);
    given(events)
}

fn registered(role: Role) -> UserEvent {
    UserEvent::Registered {
        user_id: user_id("ann@example.com"),
        email: "Ann@example.com".into(),
        username: Some("ann".into()),
        name: None,
        password_hash: HASH.into(),
        role,
    }
}
fn register(role: Role, by: Registrar) -> UserCommand {
    UserCommand::Register {
        email: " Ann@example.com ".into(),
        username: Some("ann".into()),
        name: None,
        password_hash: HASH.into(),
        role,
        by,
    }
}
fn check(matches: bool) -> PasswordCheck {
    PasswordCheck { against_hash: HASH.into(), matches }
}
fn new_session(n: u128) -> NewSession {
    NewSession {
        id: session(n),
        surface: "zinnia".into(),
        refresh_hash: Some("r1".into()),
        expires_at: noon() + minutes(60),
        device_info: None,
    }
}
fn sign_in(matches: bool) -> UserCommand {
    UserCommand::SignIn { password: check(matches), session: new_session(1) }
}
fn opened(n: u128, expires_in_minutes: i64) -> UserEvent {
    UserEvent::SessionOpened {
        session_id: session(n),
        surface: "zinnia".into(),
        refresh_hash: Some("r1".into()),
        expires_at: noon() + minutes(expires_in_minutes),
        device_info: None,
    }
}
fn failed(failures: u32) -> UserEvent {
    UserEvent::SignInFailed { surface: "zinnia".into(), failures }
}
fn locked(minutes_left: i64) -> UserEvent {
    UserEvent::Locked { until: noon() + minutes(minutes_left) }
}
fn refresh(presented_hash: &str) -> UserCommand {
    UserCommand::Refresh {
        session_id: session(1),
        presented_hash: presented_hash.into(),
        next_hash: "r2".into(),
        expires_at: noon() + minutes(120),
    }
}
fn refreshed() -> UserEvent {
    UserEvent::SessionRefreshed { session_id: session(1), refresh_hash: "r2".into(), expires_at: noon() + minutes(120) }
}
fn closed(ids: &[u128], reason: CloseReason) -> UserEvent {
    UserEvent::SessionsClosed { session_ids: ids.iter().copied().map(session).collect(), reason }
}
fn by(role: Role) -> Administrator {
    Administrator { id: UserId(Uuid::from_u128(9)), role }
}
fn oneself(role: Role) -> Administrator {
    Administrator { id: user_id("ann@example.com"), role }
}

#[test]
fn an_address_is_one_user_whatever_its_case() {
    assert_eq!(user_id(" Ann@Example.com"), user_id("ann@example.com"));
    assert_ne!(user_id("ann@example.com"), user_id("bob@example.com"));
}

#[test]
fn an_address_registers_once() {
    given(vec![]).when(register(Role::User, Registrar::Public)).then_expect_events(vec![registered(Role::User)]);
    given_user(Role::User, vec![])
        .when(register(Role::User, Registrar::Public))
        .then_expect_error(UserError::AlreadyRegistered);
}

#[test]
fn roles_are_given_by_those_who_manage_them() {
    let refused = |role| UserError::RoleNotTheirs { role };
    given(vec![]).when(register(Role::Admin, Registrar::Public)).then_expect_error(refused(Role::Admin));
    given(vec![]).when(register(Role::Admin, Registrar::Role(Role::Admin))).then_expect_error(refused(Role::Admin));
    given(vec![])
        .when(register(Role::Client, Registrar::Role(Role::Admin)))
        .then_expect_events(vec![registered(Role::Client)]);
    given(vec![])
        .when(register(Role::Owner, Registrar::Installation))
        .then_expect_events(vec![registered(Role::Owner)]);
}

#[test]
fn a_registration_has_an_address_a_proper_name_and_a_hash() {
    let with = |email: &str, username: &str, name: &str, hash: &str| UserCommand::Register {
        email: email.into(),
        username: Some(username.into()),
        name: Some(name.into()),
        password_hash: hash.into(),
        role: Role::User,
        by: Registrar::Public,
    };
    for email in ["", "ann", "@example.com", "ann@", "ann@example", "a b@example.com", "a@b@example.com", "a@.com"] {
        given(vec![]).when(with(email, "ann", "Ann", HASH)).then_expect_error(UserError::EmailInvalid);
    }
    let long = format!("ann@{}.com", "x".repeat(EMAIL_BYTES_MAX));
    given(vec![]).when(with(&long, "ann", "Ann", HASH)).then_expect_error(UserError::EmailInvalid);
    given(vec![]).when(with("a@b.c", "a@", "Ann", HASH)).then_expect_error(UserError::UsernameInvalid);
    given(vec![]).when(with("a@b.c", "ann", " ", HASH)).then_expect_error(UserError::NameOutOfRange);
    given(vec![]).when(with("a@b.c", "ann", "Ann", "secret")).then_expect_error(UserError::HashInvalid);
}

#[test]
fn a_user_takes_another_username() {
    let rename = |username: &str| UserCommand::Rename { username: username.into() };
    let renamed = UserEvent::Renamed { from: Some("ann".into()), to: "anna".into() };
    given_user(Role::User, vec![]).when(rename("anna")).then_expect_events(vec![renamed.clone()]);
    given_user(Role::User, vec![renamed]).when(rename("anna")).then_expect_events(vec![]);
    given_user(Role::User, vec![]).when(rename("a")).then_expect_error(UserError::UsernameInvalid);
    given(vec![]).when(rename("anna")).then_expect_error(UserError::NotFound);
}

#[test]
fn a_profile_changes_where_it_differs() {
    let metadata = |value: Value| Some(value.as_object().cloned().unwrap_or_default());
    let change = |name: Option<&str>, metadata| UserCommand::ChangeProfile { name: name.map(Into::into), metadata };
    let changed = |name: Option<&str>, metadata| UserEvent::ProfileChanged { name: name.map(Into::into), metadata };
    let dark = metadata(json!({"theme": "dark"}));
    given_user(Role::User, vec![])
        .when(change(Some(" Ann "), dark.clone()))
        .then_expect_events(vec![changed(Some("Ann"), dark.clone())]);
    given_user(Role::User, vec![changed(Some("Ann"), dark.clone())])
        .when(change(Some("Ann"), dark.clone()))
        .then_expect_events(vec![]);
    given_user(Role::User, vec![changed(Some("Ann"), None)])
        .when(change(None, dark.clone()))
        .then_expect_events(vec![changed(None, dark.clone())]);
    let large = metadata(json!({"x": "x".repeat(METADATA_BYTES_MAX)}));
    given_user(Role::User, vec![]).when(change(None, large)).then_expect_error(UserError::MetadataTooLarge);
    given_user(Role::User, vec![])
        .when(change(Some(&"x".repeat(NAME_CHARS_MAX + 1)), None))
        .then_expect_error(UserError::NameOutOfRange);
    given(vec![]).when(change(None, dark)).then_expect_error(UserError::NotFound);
}

#[test]
fn another_password_ends_the_other_sessions() {
    let change = |current, hash: &str| UserCommand::ChangePassword {
        current,
        password_hash: hash.into(),
        keep: Some(session(2)),
    };
    let changed = UserEvent::PasswordChanged { password_hash: OTHER_HASH.into() };
    given_user(Role::User, vec![]).when(change(check(true), OTHER_HASH)).then_expect_events(vec![changed.clone()]);
    given_user(Role::User, vec![opened(1, 60), opened(2, 60), opened(3, 60)])
        .when(change(check(true), OTHER_HASH))
        .then_expect_events(vec![changed.clone(), closed(&[1, 3], CloseReason::PasswordChanged)]);
    given_user(Role::User, vec![]).when(change(check(false), OTHER_HASH)).then_expect_error(UserError::WrongPassword);
    given_user(Role::User, vec![changed])
        .when(change(check(true), HASH))
        .then_expect_error(UserError::PasswordChangedMeanwhile);
    given_user(Role::User, vec![]).when(change(check(true), "plain")).then_expect_error(UserError::HashInvalid);
    given(vec![]).when(change(check(true), OTHER_HASH)).then_expect_error(UserError::NotFound);
}

#[test]
fn a_plan_changes_by_those_who_manage_the_user() {
    let change = |plan, by| UserCommand::ChangePlan { plan, by };
    let changed = UserEvent::PlanChanged { plan: Plan::Basic };
    given_user(Role::Client, vec![])
        .when(change(Plan::Basic, by(Role::Admin)))
        .then_expect_events(vec![changed.clone()]);
    given_user(Role::Client, vec![changed]).when(change(Plan::Basic, by(Role::Admin))).then_expect_events(vec![]);
    given_user(Role::Client, vec![])
        .when(change(Plan::Pro, oneself(Role::Client)))
        .then_expect_error(UserError::Oneself);
}

#[test]
fn clients_and_customers_are_the_people_of_one_customer() {
    let change = |customer_id, by| UserCommand::ChangeCustomer { customer_id, by };
    let changed = |customer_id| UserEvent::CustomerChanged { customer_id };
    for role in [Role::Client, Role::Customer] {
        given_user(role, vec![]).when(change(Some(7), by(Role::Admin))).then_expect_events(vec![changed(Some(7))]);
    }
    let linked = || given_user(Role::Client, vec![changed(Some(7))]);
    linked().when(change(Some(7), by(Role::Admin))).then_expect_events(vec![]);
    linked().when(change(None, by(Role::Admin))).then_expect_events(vec![changed(None)]);
    let refused = UserError::RoleNotTheirs { role: Role::Client };
    linked().when(change(None, by(Role::User))).then_expect_error(refused);
    let nobodys = UserError::NobodysPerson { role: Role::User };
    given_user(Role::User, vec![]).when(change(Some(7), by(Role::Admin))).then_expect_error(nobodys);
}

#[test]
fn a_role_changes_by_those_who_manage_both() {
    let change = |role, by| UserCommand::ChangeRole { role, by };
    given_user(Role::User, vec![])
        .when(change(Role::Client, by(Role::Admin)))
        .then_expect_events(vec![UserEvent::RoleChanged { role: Role::Client }]);
    given_user(Role::User, vec![]).when(change(Role::User, by(Role::Admin))).then_expect_events(vec![]);
    for (present, next, theirs) in [(Role::User, Role::Admin, Role::Admin), (Role::Admin, Role::User, Role::Admin)] {
        given_user(present, vec![])
            .when(change(next, by(Role::Admin)))
            .then_expect_error(UserError::RoleNotTheirs { role: theirs });
    }
    given_user(Role::Owner, vec![])
        .when(change(Role::User, oneself(Role::Owner)))
        .then_expect_error(UserError::Oneself);
    given(vec![]).when(change(Role::User, by(Role::Owner))).then_expect_error(UserError::NotFound);
}

#[test]
fn a_deactivated_user_is_out_until_activated() {
    let deactivate = |by| UserCommand::Deactivate { by };
    let activate = |by| UserCommand::Activate { by };
    given_user(Role::User, vec![opened(1, 60)])
        .when(deactivate(by(Role::Admin)))
        .then_expect_events(vec![UserEvent::Deactivated, closed(&[1], CloseReason::Deactivated)]);
    given_user(Role::User, vec![UserEvent::Deactivated]).when(deactivate(by(Role::Admin))).then_expect_events(vec![]);
    given_user(Role::Admin, vec![])
        .when(deactivate(by(Role::Admin)))
        .then_expect_error(UserError::RoleNotTheirs { role: Role::Admin });
    given_user(Role::Owner, vec![]).when(deactivate(oneself(Role::Owner))).then_expect_error(UserError::Oneself);
    given_user(Role::User, vec![UserEvent::Deactivated]).when(sign_in(true)).then_expect_error(UserError::Deactivated);
    given_user(Role::User, vec![UserEvent::Deactivated]).when(sign_in(false)).then_expect_events(vec![failed(1)]);
    given_user(Role::User, vec![UserEvent::Deactivated])
        .when(activate(by(Role::Admin)))
        .then_expect_events(vec![UserEvent::Activated]);
    given_user(Role::User, vec![]).when(activate(by(Role::Admin))).then_expect_events(vec![]);
    given_user(Role::User, vec![UserEvent::Deactivated, UserEvent::Activated])
        .when(sign_in(true))
        .then_expect_events(vec![opened(1, 60)]);
}

#[test]
fn a_right_password_opens_a_session() {
    given_user(Role::User, vec![]).when(sign_in(true)).then_expect_events(vec![opened(1, 60)]);
    given_user(Role::User, vec![opened(1, 60)]).when(sign_in(true)).then_expect_error(UserError::SessionExists);
    given(vec![]).when(sign_in(true)).then_expect_error(UserError::NotFound);
    given_user(Role::User, vec![UserEvent::PasswordChanged { password_hash: OTHER_HASH.into() }])
        .when(sign_in(true))
        .then_expect_error(UserError::PasswordChangedMeanwhile);
}

#[test]
fn the_fifth_wrong_password_in_a_row_locks_for_a_quarter_of_an_hour() {
    given_user(Role::User, vec![failed(3)]).when(sign_in(false)).then_expect_events(vec![failed(4)]);
    given_user(Role::User, vec![failed(4)]).when(sign_in(false)).then_expect_events(vec![failed(5), locked(15)]);
    given_user(Role::User, vec![failed(4), opened(2, 60)]).when(sign_in(false)).then_expect_events(vec![failed(1)]);
    for matches in [true, false] {
        given_user(Role::User, vec![failed(5), locked(15)])
            .when(sign_in(matches))
            .then_expect_error(UserError::Locked { remaining_minutes: 15 });
    }
    given_user(Role::User, vec![failed(5), locked(0)]).when(sign_in(true)).then_expect_events(vec![opened(1, 60)]);
    given_user(Role::User, vec![failed(5), locked(0)]).when(sign_in(false)).then_expect_events(vec![failed(1)]);
}

#[test]
fn sessions_end_in_time_and_describe_their_device_briefly() {
    let with = |expires_at, device_info: Option<String>| UserCommand::SignIn {
        password: check(true),
        session: NewSession { expires_at, device_info, ..new_session(1) },
    };
    for expires_at in [noon(), noon() + TimeDelta::days(SESSION_DAYS_MAX) + minutes(1)] {
        given_user(Role::User, vec![])
            .when(with(expires_at, None))
            .then_expect_error(UserError::SessionExpiryOutOfRange);
    }
    given_user(Role::User, vec![])
        .when(with(noon() + minutes(1), Some("x".repeat(DEVICE_INFO_CHARS_MAX + 1))))
        .then_expect_error(UserError::DeviceInfoTooLong);
}

#[test]
fn the_session_that_ends_first_makes_room() {
    let full = (100..100 + SESSIONS_MAX as u128).map(|n| opened(n, if n == 120 { 5 } else { 60 })).collect();
    given_user(Role::User, full)
        .when(sign_in(true))
        .then_expect_events(vec![closed(&[120], CloseReason::CrowdedOut), opened(1, 60)]);
}

#[test]
fn a_refresh_token_is_good_once() {
    given_user(Role::User, vec![opened(1, 60)]).when(refresh("r1")).then_expect_events(vec![refreshed()]);
    given_user(Role::User, vec![opened(1, 60), refreshed()])
        .when(refresh("r1"))
        .then_expect_events(vec![closed(&[1], CloseReason::RefreshReused)]);
    given_user(Role::User, vec![opened(1, 60), closed(&[1], CloseReason::RefreshReused)])
        .when(refresh("r2"))
        .then_expect_error(UserError::SessionClosed);
    given_user(Role::User, vec![opened(1, 0)]).when(refresh("r1")).then_expect_error(UserError::SessionExpired);
    given(vec![]).when(refresh("r1")).then_expect_error(UserError::NotFound);
}

#[test]
fn signing_out_ends_one_session_or_all() {
    let sign_out = UserCommand::SignOut { session_id: session(1) };
    given_user(Role::User, vec![opened(1, 60), opened(2, 60)])
        .when(sign_out.clone())
        .then_expect_events(vec![closed(&[1], CloseReason::SignedOut)]);
    given_user(Role::User, vec![opened(2, 60)]).when(sign_out.clone()).then_expect_events(vec![]);
    given(vec![]).when(sign_out).then_expect_error(UserError::NotFound);
    given_user(Role::User, vec![opened(1, 60), opened(2, 60)])
        .when(UserCommand::SignOutEverywhere)
        .then_expect_events(vec![closed(&[1, 2], CloseReason::SignedOutEverywhere)]);
    given_user(Role::User, vec![]).when(UserCommand::SignOutEverywhere).then_expect_events(vec![]);
}

#[test]
fn the_state_knows_which_sessions_are_open() {
    let mut user = User::default();
    for event in [registered(Role::User), opened(1, 60), opened(2, 0), opened(3, 60)] {
        user.apply(event);
    }
    user.apply(closed(&[3], CloseReason::SignedOut));
    let open = |n| user.account().unwrap().sessions.is_open(session(n), noon());
    assert!(open(1) && !open(2) && !open(3) && !open(4));
}

#[test]
fn secrets_are_named_as_they_are_stored() {
    for event in [registered(Role::User), opened(1, 60), refreshed()] {
        let stored = serde_json::to_string(&event).unwrap();
        let secret = User::SECRET_FIELDS.iter().any(|field| stored.contains(&format!("\"{field}\":")));
        assert!(secret, "{} stores a secret under another name", event.name().0);
    }
}

#[test]
fn a_reset_replaces_the_password_ends_all_sessions_and_verifies_the_address() {
    let reset = || UserCommand::ResetPassword { password_hash: OTHER_HASH.into() };
    let changed = || UserEvent::PasswordChanged { password_hash: OTHER_HASH.into() };
    given_user(Role::User, vec![]).when(reset()).then_expect_events(vec![changed(), UserEvent::EmailVerified]);
    given_user(Role::User, vec![UserEvent::EmailVerified]).when(reset()).then_expect_events(vec![changed()]);
    // Whoever forgot a password has often tried too many.
    let new_password = PasswordCheck { against_hash: OTHER_HASH.into(), matches: true };
    let enter = UserCommand::SignIn { password: new_password, session: new_session(1) };
    given_user(Role::User, vec![failed(5), locked(15), changed()]).when(enter).then_expect_events(vec![opened(1, 60)]);
    let plain = UserCommand::ResetPassword { password_hash: "plain".into() };
    given_user(Role::User, vec![]).when(plain).then_expect_error(UserError::HashInvalid);
    given(vec![]).when(reset()).then_expect_error(UserError::NotFound);
}

#[test]
fn a_deleted_user_is_gone_for_good() {
    let admin = Administrator { id: user_id("boss@example.com"), role: Role::Admin };
    let deleted = || UserEvent::Deleted { username: Some("ann".into()) };
    let delete = |by| UserCommand::Delete { by };
    given_user(Role::User, vec![]).when(delete(admin)).then_expect_events(vec![deleted()]);
    given_user(Role::User, vec![deleted()]).when(delete(admin)).then_expect_error(UserError::NotFound);
    given_user(Role::User, vec![deleted()])
        .when(register(Role::User, Registrar::Public))
        .then_expect_error(UserError::AlreadyRegistered);
    given_user(Role::Admin, vec![])
        .when(delete(admin))
        .then_expect_error(UserError::RoleNotTheirs { role: Role::Admin });
    let oneself = Administrator { id: user_id("ann@example.com"), role: Role::Owner };
    given_user(Role::User, vec![]).when(delete(oneself)).then_expect_error(UserError::Oneself);
}
