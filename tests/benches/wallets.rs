//! One event a command on one of 10,000 wallets: load or take from the cache, decide, append durably, project.

mod corelog;

use std::iter;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use domain::UserId;
use domain::billing::balance::BalanceCommand;
use rand::RngExt;
use rust_decimal::Decimal;
use tests::engine::Engine;
use tests::fresh_id;

use self::corelog::{Corelog, Lists};
use crate::idiomatic::Idiomatic;
use crate::measure::{Load, clients, rate, runtime};
use crate::settings::Settings;
use crate::stores;
use crate::table::{Table, milliseconds, times, whole};

const WALLETS: usize = 10_000;
const CLIENTS: [usize; 3] = [1, 8, 64];

/// Something that carries out commands on wallets.
#[async_trait]
pub(crate) trait Stack: Send + Sync {
    /// Credits 1 to `wallet`. Durable when it returns.
    async fn credit(&self, wallet: &str);
    /// Returns when the read model shows every command.
    async fn caught_up(&self);
    /// What the read model says that all wallets hold.
    async fn total(&self) -> Decimal;
}

/// The command that every stack carries out.
pub(crate) fn credit() -> BalanceCommand {
    BalanceCommand::Credit { amount: Decimal::ONE, redemption_id: fresh_id(), code_id: fresh_id() }
}

/// Which stack, and under which names it is asked for and shown.
struct Candidate {
    option: &'static str,
    shown: String,
    /// `None`: the idiomatic stack.
    ours: Option<(Engine, Lists)>,
}

const IDIOMATIC: &str = "wallets.idiomatic";
/// Ours does the work of the idiomatic stack, which keeps one list, and that of a server, which keeps all there are.
const OURS: [(&str, Engine, Lists); 4] = [
    ("wallets.postgres.one", Engine::Postgres, Lists::Balances),
    ("wallets.postgres.all", Engine::Postgres, Lists::All),
    ("wallets.sqlite.one", Engine::Sqlite, Lists::Balances),
    ("wallets.sqlite.all", Engine::Sqlite, Lists::All),
];

pub(crate) fn section(settings: &Settings) -> String {
    let idiomatic =
        Candidate { option: IDIOMATIC, shown: "cqrs-es + postgres-es, one GenericQuery".into(), ours: None };
    let ours = OURS.map(|(option, engine, lists)| {
        let shown = format!("Corelog, {}, {}", stores::name(engine), lists.shown());
        Candidate { option, shown, ours: Some((engine, lists)) }
    });
    let mut candidates: Vec<Candidate> = iter::once(idiomatic).chain(ours).collect();
    candidates.retain(|candidate| settings.wants(candidate.option));
    let counts = settings.clients(&CLIENTS);
    let mut loads = vec![vec![Vec::new(); counts.len()]; candidates.len()];
    // Round by round, so that a noisy minute of the machine meets all of them.
    for _ in 0..settings.runs {
        for (candidate, loads) in candidates.iter().zip(&mut loads) {
            for (clients, loads) in counts.iter().zip(loads) {
                loads.push(runtime().block_on(load(candidate, *clients, settings)));
            }
        }
    }
    let medians: Vec<Vec<Load>> =
        loads.iter().map(|loads| loads.iter().map(|loads| Load::median(loads)).collect()).collect();
    aims(settings, |option, clients| {
        let candidate = candidates.iter().position(|candidate| candidate.option == option)?;
        let count = counts.iter().position(|count| *count == clients)?;
        Some(medians[candidate][count].per_second)
    });
    shown(&candidates, &counts, &medians)
}

/// Compared with the same work, which is one list; what was not measured is left out.
fn aims(settings: &Settings, per_second: impl Fn(&str, usize) -> Option<f64>) {
    let aim = |what: &str, clients, times: f64, than: &str, ours: &str| {
        if let (Some(aim), Some(reached)) = (per_second(than, clients), per_second(ours, clients)) {
            settings.aims.at_least(format!("wallets, {clients} clients: {what}"), times * aim, reached, "/s");
        }
    };
    aim("PostgreSQL, 10 × the idiomatic stack", 64, 10.0, IDIOMATIC, "wallets.postgres.one");
    aim("SQLite, as many as PostgreSQL", 64, 1.0, "wallets.postgres.one", "wallets.sqlite.one");
    aim("PostgreSQL, as many as the idiomatic stack", 1, 1.0, IDIOMATIC, "wallets.postgres.one");
    aim("SQLite, as many as the idiomatic stack", 1, 1.0, IDIOMATIC, "wallets.sqlite.one");
}

fn shown(candidates: &[Candidate], counts: &[usize], medians: &[Vec<Load>]) -> String {
    let columns = ["stack", "clients", "commands/s", "p50", "p99", "to the idiomatic stack"];
    let mut table = Table::new("One event a command, 10,000 wallets", &columns);
    let idiomatic = candidates.iter().position(|candidate| candidate.ours.is_none());
    for (candidate, loads) in candidates.iter().zip(medians) {
        for (place, load) in loads.iter().enumerate() {
            let base = idiomatic.map(|idiomatic| medians[idiomatic][place].per_second);
            table.row(&[
                candidate.shown.clone(),
                counts[place].to_string(),
                whole(load.per_second),
                milliseconds(load.p50),
                milliseconds(load.p99),
                base.map_or_else(|| "not measured".to_owned(), |base| times(load.per_second / base)),
            ]);
        }
    }
    table.into_text()
}

async fn load(candidate: &Candidate, count: usize, settings: &Settings) -> Load {
    let stack: Arc<dyn Stack> = match candidate.ours {
        Some((engine, lists)) => Arc::new(Corelog::start(engine, lists).await),
        None => Arc::new(Idiomatic::start().await),
    };
    let wallets: Arc<[String]> = (0..WALLETS).map(|_| UserId(fresh_id()).to_string()).collect();
    let commands = {
        let stack = Arc::clone(&stack);
        move || {
            let (stack, wallets) = (Arc::clone(&stack), Arc::clone(&wallets));
            async move {
                let wallet = rand::rng().random_range(0..WALLETS);
                stack.credit(&wallets[wallet]).await;
            }
        }
    };
    let begun = Instant::now();
    let latencies = clients(count, settings.lasting, commands).await;
    stack.caught_up().await;
    let elapsed = begun.elapsed();
    let done = latencies.len();
    assert_eq!(stack.total().await, Decimal::from(done), "the read model of {} is wrong", candidate.shown);
    Load { per_second: rate(done, elapsed), ..Load::of(latencies, elapsed) }
}
