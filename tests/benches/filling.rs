//! Long logs, made before anything is measured.

use std::sync::Arc;

use domain::UserId;
use domain::billing::balance::BalanceEvent;
use domain::event::EventNames;
use domain::log::{Append, Appended, Log, NewEvent};
use domain::metadata::{Metadata, TenantId};
use futures::{StreamExt, stream};
use rust_decimal::Decimal;
use tests::fresh_id;

use crate::idiomatic::Idiomatic;
use crate::wallets::Stack;

const WALLETS: u64 = 10_000;
const AT_ONCE: usize = 1_000;

/// `events` credits to 10,000 wallets, one after the other, so that their streams are mixed.
pub(crate) async fn credits(log: &Arc<dyn Log>, events: u64) {
    let wallets: Vec<String> = (0..WALLETS).map(|_| UserId(fresh_id()).to_string()).collect();
    for round in 0..events.div_ceil(WALLETS) {
        let appends = wallets.iter().map(|wallet| {
            let append = credit(wallet, round);
            async move { assert!(matches!(log.append(append).await.unwrap(), Appended::Done(_))) }
        });
        stream::iter(appends).buffer_unordered(AT_ONCE).collect::<()>().await;
    }
}

fn credit(wallet: &str, sequence: u64) -> Append {
    let event = BalanceEvent::Credited {
        amount: Decimal::ONE,
        balance_after: Decimal::from(sequence + 1),
        redemption_id: fresh_id(),
        code_id: fresh_id(),
    };
    let (event_type, event_version) = event.name();
    let payload = serde_json::to_string(&event).unwrap();
    let metadata = Metadata::of(TenantId::DEFAULT, format!("user:{wallet}"), "owl", fresh_id());
    Append {
        aggregate_type: "balance",
        aggregate_id: wallet.to_owned(),
        expected_sequence: sequence,
        events: vec![NewEvent { event_id: fresh_id(), event_type, event_version, payload }],
        tenant: TenantId::DEFAULT,
        metadata: serde_json::to_string(&metadata).unwrap(),
        key: None,
    }
}

/// `events` credits to 1,000 wallets of the idiomatic stack.
pub(crate) async fn idiomatic(stack: &Idiomatic, events: usize) {
    let wallets: Vec<String> = (0..1_000).map(|_| UserId(fresh_id()).to_string()).collect();
    let commands = (0..events).map(|number| stack.credit(&wallets[number % wallets.len()]));
    stream::iter(commands).buffer_unordered(64).collect::<()>().await;
}
