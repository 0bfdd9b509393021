//! Commands that may be repeated.

use domain::TenantId;
use domain::log::{Append, Appended, KeptCommand, Log};
use futures::future::join_all;
use tests::events::{append, key};
use uuid::Uuid;

use super::{Engine, done};

const TENANT: TenantId = TenantId::DEFAULT;

pub(super) async fn a_repeated_key_appends_nothing(engine: &impl Engine) {
    let log = engine.open().await;
    done(&*log, append("lead", "0", 0, 1)).await;
    let command = Append { key: Some(key("first", b"body")), ..append("lead", "1", 0, 2) };
    done(&*log, command.clone()).await;
    let kept = KeptCommand { fingerprint: b"body".to_vec(), first_position: 2, last_position: 3, answer: None };
    assert_eq!(repeated(&*log, command).await, kept);
    // The log only says what the key stands for; that it was asked something else now is for the caller to see.
    let other = Append { key: Some(key("first", b"another body")), ..append("lead", "2", 0, 1) };
    assert_eq!(repeated(&*log, other).await, kept);
    assert_eq!(log.command(TENANT, "first").await.unwrap(), Some(kept));
    assert_eq!(log.command(TENANT, "second").await.unwrap(), None);
    assert_eq!(log.head().await.unwrap(), 3);
}

pub(super) async fn a_key_is_used_once_by_racing_writers(engine: &impl Engine) {
    let log = engine.open().await;
    for round in 0..20 {
        // Each to a stream of its own, so that only the key stands between them.
        let writers = (0..16).map(|writer| {
            let mut command = append("lead", &format!("{round}/{writer}"), 0, 1);
            command.key = Some(key(&round.to_string(), b"body"));
            log.append(command)
        });
        let appended: Vec<_> = join_all(writers).await.into_iter().map(Result::unwrap).collect();
        let won = appended.iter().filter(|appended| matches!(appended, Appended::Done(_))).count();
        let told = appended.iter().filter(|appended| matches!(appended, Appended::Repeated(_))).count();
        assert_eq!((won, told), (1, 15), "{appended:?}");
    }
    assert_eq!(log.head().await.unwrap(), 20);
}

pub(super) async fn keys_belong_to_a_tenant(engine: &impl Engine) {
    let log = engine.open().await;
    for tenant in [TENANT, TenantId(Uuid::from_u128(2))] {
        let mut command = append("lead", &tenant.to_string(), 0, 1);
        command.tenant = tenant;
        command.key = Some(key("same", b"body"));
        assert_eq!(done(&*log, command).await[0].tenant, tenant);
    }
    assert_eq!(log.command(TenantId(Uuid::from_u128(3)), "same").await.unwrap(), None);
}

pub(super) async fn a_refused_append_keeps_no_key(engine: &impl Engine) {
    let log = engine.open().await;
    let mut command = append("lead", "1", 7, 1);
    command.key = Some(key("stale", b"body"));
    assert!(matches!(log.append(command.clone()).await.unwrap(), Appended::Conflict));
    assert_eq!(log.command(TENANT, "stale").await.unwrap(), None);
    command.expected_sequence = 0;
    done(&*log, command).await;
}

pub(super) async fn an_answer_is_kept_once(engine: &impl Engine) {
    let log = engine.open().await;
    let asked = key("asked", b"body");
    let mut command = append("lead", "1", 0, 1);
    command.key = Some(asked.clone());
    done(&*log, command.clone()).await;
    log.keep_answer(TENANT, &key("asked", b"another body"), b"stranger".to_vec()).await.unwrap();
    assert_eq!(log.command(TENANT, "asked").await.unwrap().unwrap().answer, None);
    log.keep_answer(TENANT, &asked, b"first".to_vec()).await.unwrap();
    log.keep_answer(TENANT, &asked, b"second".to_vec()).await.unwrap();
    assert_eq!(repeated(&*log, command).await.answer, Some(b"first".to_vec()));
}

pub(super) async fn a_command_without_events_is_kept(engine: &impl Engine) {
    let log = engine.open().await;
    let idle = key("idle", b"body");
    log.keep_answer(TENANT, &idle, b"nothing to do".to_vec()).await.unwrap();
    log.keep_answer(TENANT, &idle, b"again".to_vec()).await.unwrap();
    let mut command = append("lead", "1", 0, 1);
    command.key = Some(idle);
    let kept = repeated(&*log, command).await;
    assert_eq!((kept.first_position, kept.last_position), (0, 0));
    assert_eq!(kept.answer, Some(b"nothing to do".to_vec()));
    assert_eq!(log.head().await.unwrap(), 0);
}

async fn repeated(log: &dyn Log, command: Append) -> KeptCommand {
    match log.append(command).await.unwrap() {
        Appended::Repeated(kept) => kept,
        other @ (Appended::Done(_) | Appended::Conflict) => panic!("not repeated: {other:?}"),
    }
}
