use cqrs_es::test::TestFramework;
use uuid::Uuid;

use super::*;

fn details(max_concurrent_tasks: u32) -> ServerDetails {
    ServerDetails {
        name: "GPU-Server-01".into(),
        host: "192.168.1.100".into(),
        port: 22,
        description: None,
        max_concurrent_tasks,
        is_active: true,
    }
}
fn by() -> UserId {
    UserId(Uuid::nil())
}
fn register(max_concurrent_tasks: u32) -> GpuServerCommand {
    GpuServerCommand::Register { details: details(max_concurrent_tasks), token_hash: "x".into(), by: by() }
}
fn registered() -> GpuServerEvent {
    GpuServerEvent::Registered { details: details(4), token_hash: "x".into(), by: by() }
}
fn online(session: u32) -> GpuServerEvent {
    GpuServerEvent::Online { session, equipment: None }
}
fn offline(session: u32) -> GpuServerEvent {
    GpuServerEvent::Offline { session, cause: OfflineCause::HeartbeatLost }
}
fn disconnect(session: u32) -> GpuServerCommand {
    GpuServerCommand::Disconnect { session, cause: OfflineCause::HeartbeatLost }
}
fn connect() -> GpuServerCommand {
    GpuServerCommand::Connect { equipment: None }
}
fn given(events: Vec<GpuServerEvent>) -> cqrs_es::test::AggregateTestExecutor<GpuServer> {
    TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
}

#[test]
fn a_server_is_registered_once_and_within_limits() {
    given(vec![]).when(register(4)).then_expect_events(vec![registered()]);
    given(vec![registered()]).when(register(4)).then_expect_error(GpuServerError::AlreadyRegistered);
    given(vec![]).when(register(0)).then_expect_error(GpuServerError::TasksOutOfRange);
    given(vec![]).when(register(65)).then_expect_error(GpuServerError::TasksOutOfRange);
}

#[test]
fn every_connection_is_a_session_of_its_own() {
    given(vec![registered()]).when(connect()).then_expect_events(vec![online(1)]);
    given(vec![registered(), online(1)]).when(connect()).then_expect_events(vec![online(2)]);
    let equipment = Some(Equipment { gpu_count: 2, memory_gb: 24.into() });
    let found = GpuServerEvent::Online { session: 2, equipment };
    given(vec![registered(), online(1)]).when(GpuServerCommand::Connect { equipment }).then_expect_events(vec![found]);
    given(vec![registered(), online(1)]).when(disconnect(1)).then_expect_events(vec![offline(1)]);
    given(vec![registered(), online(1), online(2)]).when(disconnect(1)).then_expect_events(vec![]);
    given(vec![registered(), online(1), offline(1)]).when(disconnect(1)).then_expect_events(vec![]);
}

#[test]
fn changes_are_recorded_once() {
    let tasks_of = |tasks| ServerChange { max_concurrent_tasks: Some(tasks), ..ServerChange::default() };
    let change = |tasks| GpuServerCommand::Change { change: tasks_of(tasks), by: by() };
    let changed = GpuServerEvent::Changed { details: details(2), by: by() };
    given(vec![registered()]).when(change(2)).then_expect_events(vec![changed]);
    given(vec![registered()]).when(change(4)).then_expect_events(vec![]);
    given(vec![]).when(change(4)).then_expect_error(GpuServerError::NotFound);
    let renew = GpuServerCommand::RenewToken { token_hash: "y".into(), by: by() };
    let renewed = GpuServerEvent::TokenRenewed { token_hash: "y".into(), by: by() };
    given(vec![registered()]).when(renew).then_expect_events(vec![renewed]);
}

#[test]
fn a_removed_server_is_gone() {
    let remove = GpuServerCommand::Remove { by: by() };
    let removed = GpuServerEvent::Removed { by: by() };
    given(vec![registered()]).when(remove.clone()).then_expect_events(vec![removed.clone()]);
    given(vec![registered(), removed.clone()]).when(remove).then_expect_error(GpuServerError::NotFound);
    given(vec![registered(), removed]).when(connect()).then_expect_error(GpuServerError::NotFound);
}
