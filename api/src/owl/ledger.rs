//! The own account: what it comes to, and every entry that made it so.

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::billing::balance::Figures;
use projections::Paging;
use projections::billing::{balances, ledger_entries};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::envelope::{self, Envelope, ListEnvelope};
use crate::amount::Amount;
use crate::app::App;
use crate::as_of::Lists;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::Query;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_balance)).routes(routes!(list_entries))
}

#[derive(Serialize, ToSchema)]
struct BalanceOut {
    /// All of the user's money.
    balance: Amount,
    /// The part of it that is set aside for tasks that run.
    held: Amount,
    /// The part of it that new tasks can use.
    available: Amount,
    /// All that tasks have cost, refunds taken off.
    spent: Amount,
}

impl From<Figures> for BalanceOut {
    fn from(figures: Figures) -> Self {
        Self {
            balance: Amount(figures.balance),
            held: Amount(figures.held),
            available: Amount(figures.available()),
            spent: Amount(figures.spent),
        }
    }
}

#[utoipa::path(get, path = "/api/recharge/balance", operation_id = "get_balance",
    responses((status = 200, body = Envelope<BalanceOut>)))]
async fn get_balance(State(app): State<App>, caller: Caller) -> Result<Envelope<BalanceOut>, ApiError> {
    let figures = balances::figures(app.models.read().await, caller.user.tenant, caller.user.id).await?;
    Ok(envelope::ok(figures.into()))
}

#[derive(Deserialize)]
struct EntriesQuery {
    page: Option<u64>,
    page_size: Option<u64>,
}

#[derive(Clone, Serialize, ToSchema)]
struct EntryOut {
    id: String,
    /// `credit`, `hold`, `capture`, `release`, `refund` or `adjustment`.
    kind: String,
    amount: Amount,
    balance_after: Amount,
    held_after: Option<Amount>,
    spent_after: Option<Amount>,
    task_id: Option<String>,
    recharge_record_id: Option<String>,
    reason: Option<String>,
    created_at: DateTime<Utc>,
}

#[utoipa::path(get, path = "/api/recharge/ledger", operation_id = "list_ledger_entries",
    params(("page" = Option<u64>, Query), ("page_size" = Option<u64>, Query), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = ListEnvelope<EntryOut>)))]
async fn list_entries(
    lists: Lists,
    caller: Caller,
    Query(query): Query<EntriesQuery>,
) -> Result<ListEnvelope<EntryOut>, ApiError> {
    let paging = Paging::new(query.page, query.page_size, 20, 100);
    let db = lists.of(&["ledger_entries"]).await?;
    let entries = ledger_entries::list(&db, caller.user.tenant, caller.user.id, paging).await?;
    Ok(envelope::page(entries, EntryOut::from))
}

impl From<ledger_entries::Model> for EntryOut {
    fn from(row: ledger_entries::Model) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            amount: row.amount.into(),
            balance_after: row.balance_after.into(),
            held_after: row.held_after.map(Amount::from),
            spent_after: row.spent_after.map(Amount::from),
            task_id: row.task_id,
            recharge_record_id: row.recharge_record_id,
            reason: row.reason,
            created_at: row.created_at,
        }
    }
}
