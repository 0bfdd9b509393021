//! Exchange accounts. Those on the built-in paper exchange trade; others are kept, and say that they cannot.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use data_encoding::BASE64;
use domain::trading::exchange_account::{
    CredentialKind, Credentials, Exchange, ExchangeAccount, ExchangeAccountCommand,
};
use domain::trading::verdict::AccountSnapshot;
use projections::trading::exchange_accounts::{self, ExchangeAccounts};
use rust_decimal::Decimal;
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::envelope::Timestamp;
use crate::amount::Amount;
use crate::app::{App, Server, row_after};
use crate::as_of::Lists;
use crate::auth::{AuthUser, Caller};
use crate::error::{ApiError, ErrorKind};
use crate::extract::{Body, Path, Query};

/// Longest credential.
const CREDENTIAL_CHARS_MAX: usize = 4_096;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(open_account, list_accounts))
        .routes(routes!(show_account))
        .routes(routes!(show_balance))
}

#[derive(Deserialize, ToSchema)]
struct OpenAccountBody {
    name: String,
    /// `paper`, `binance`, `bybit`, `okx` or `hyperliquid`.
    exchange: String,
    #[serde(default)]
    is_testnet: bool,
    api_key: Option<String>,
    api_secret: Option<String>,
    private_key: Option<String>,
    /// Stands for a private key.
    mnemonic: Option<String>,
    passphrase: Option<String>,
    /// For the paper exchange: 10,000 unless given.
    initial_balance: Option<Amount>,
}

#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the fields of the document")]
struct AccountOut {
    id: String,
    name: String,
    exchange: String,
    is_testnet: bool,
    is_connected: bool,
    connection_error: Option<String>,
    created_at: Timestamp,
    has_api_key: bool,
    has_api_secret: bool,
    has_private_key: bool,
    has_passphrase: bool,
}

#[utoipa::path(post, path = "/api/v1/accounts", operation_id = "open_account", request_body = OpenAccountBody,
    responses((status = 200, body = AccountOut)))]
async fn open_account(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<OpenAccountBody>,
) -> Result<Json<AccountOut>, ApiError> {
    let id = caller.request.id_for("exchange_account").to_string();
    let command = ExchangeAccountCommand::Open {
        user_id: caller.user.id,
        exchange: exchange(&body.exchange)?,
        is_testnet: body.is_testnet,
        credentials: sealed(&app, &id, &body)?,
        initial_balance: body.initial_balance.map(|balance| balance.0),
        name: body.name,
    };
    let receipt = app.execute::<ExchangeAccount>(&caller.request, &id, command).await?;
    let row = row_after::<_, ExchangeAccounts>(None, &id, &receipt);
    row.map(|row| Json(row.into())).ok_or_else(|| ApiError::internal(&"an account without its event"))
}

#[derive(Deserialize)]
struct AccountsQuery {
    exchange: Option<String>,
}

#[utoipa::path(get, path = "/api/v1/accounts", operation_id = "list_accounts",
    params(("exchange" = Option<String>, Query), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = Vec<AccountOut>)))]
async fn list_accounts(
    lists: Lists,
    caller: Caller,
    Query(query): Query<AccountsQuery>,
) -> Result<Json<Vec<AccountOut>>, ApiError> {
    let db = lists.of(&["exchange_accounts"]).await?;
    let exchange = query.exchange.as_deref();
    let rows = exchange_accounts::list(&db, caller.user.tenant, caller.user.id, exchange).await?;
    Ok(Json(rows.into_iter().map(AccountOut::from).collect()))
}

#[utoipa::path(get, path = "/api/v1/accounts/{account_id}", operation_id = "show_account",
    params(("account_id" = Uuid, Path)), responses((status = 200, body = AccountOut)))]
async fn show_account(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<AccountOut>, ApiError> {
    Ok(Json(find(app.models.read().await, &caller.user, id).await?.into()))
}

#[derive(Serialize, ToSchema)]
struct BalanceOut {
    account_id: String,
    equity: Amount,
    available_balance: Amount,
    total_margin_used: Amount,
    unrealized_pnl: Amount,
    positions: Vec<PositionOut>,
}

#[derive(Serialize, ToSchema)]
struct PositionOut {
    symbol: String,
    side: &'static str,
    size: Amount,
    size_usd: Amount,
    entry_price: Amount,
    /// The last close that is known; the entry price when none is.
    mark_price: Amount,
    leverage: Amount,
    unrealized_pnl: Amount,
    unrealized_pnl_percent: Amount,
}

#[utoipa::path(get, path = "/api/v1/accounts/{account_id}/balance", operation_id = "show_balance",
    params(("account_id" = Uuid, Path)), responses((status = 200, body = BalanceOut)))]
async fn show_balance(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<BalanceOut>, ApiError> {
    let row = find(app.models.read().await, &caller.user, id).await?;
    if let Some(reason) = row.connection_error {
        return Err(ApiError::new(ErrorKind::IllegalState, "exchange_account.not_connected", reason));
    }
    let account = snapshot(&app, &row, app.clock().now()).await?;
    Ok(Json(BalanceOut::of(row.id, account)))
}

/// The account `id` of `user`.
pub(super) async fn find(
    db: &impl ConnectionTrait,
    user: &AuthUser,
    id: Uuid,
) -> Result<exchange_accounts::Model, ApiError> {
    let row = exchange_accounts::find(db, user.tenant, user.id, id).await?;
    row.ok_or_else(|| ApiError::new(ErrorKind::NotFound, "exchange_account.not_found", "Account not found"))
}

/// What an account is worth at the last known prices.
pub(super) async fn snapshot(
    app: &Server,
    row: &exchange_accounts::Model,
    now: DateTime<Utc>,
) -> Result<AccountSnapshot, ApiError> {
    let held = row.held()?;
    let mut prices = BTreeMap::new();
    for symbol in held.keys() {
        prices.extend(app.market.last(symbol, now).await?.map(|(_, candle)| (symbol.clone(), candle.close)));
    }
    Ok(AccountSnapshot::of(row.free_money(), &held, |symbol| prices.get(symbol).copied()))
}

fn exchange(word: &str) -> Result<Exchange, ApiError> {
    let known = Exchange::ALL.into_iter().find(|exchange| exchange.as_str() == word.to_lowercase());
    known.ok_or_else(|| {
        let words = Exchange::ALL.map(Exchange::as_str).join(", ");
        let sentence = format!("Unsupported exchange. Supported are: {words}");
        ApiError::new(ErrorKind::IllegalState, "exchange_account.unknown_exchange", sentence)
    })
}

/// The credentials of a body, sealed for the account `id` before they leave this function.
fn sealed(app: &Server, id: &str, body: &OpenAccountBody) -> Result<Credentials, ApiError> {
    let given = [
        ("api_key", &body.api_key, CredentialKind::ApiKey),
        ("api_secret", &body.api_secret, CredentialKind::ApiSecret),
        ("private_key", &body.private_key, CredentialKind::PrivateKey),
        ("mnemonic", &body.mnemonic, CredentialKind::PrivateKey),
        ("passphrase", &body.passphrase, CredentialKind::Passphrase),
    ];
    let given: Vec<_> = given
        .into_iter()
        .filter_map(|(name, value, kind)| Some((name, value.as_deref().filter(|value| !value.is_empty())?, kind)))
        .collect();
    if let Some((name, ..)) = given.iter().find(|(_, value, _)| value.chars().count() > CREDENTIAL_CHARS_MAX) {
        return Err(ApiError::field(*name, format!("must have at most {CREDENTIAL_CHARS_MAX} characters")));
    }
    if given.is_empty() {
        return Ok(Credentials::default());
    }
    let kinds: BTreeSet<CredentialKind> = given.iter().map(|(_, _, kind)| *kind).collect();
    let plain: BTreeMap<&str, &str> = given.iter().map(|(name, value, _)| (*name, *value)).collect();
    let plain = serde_json::to_vec(&plain).map_err(|error| ApiError::internal(&error))?;
    let sealed = BASE64.encode(&app.secrets.seal(&format!("exchange-account/{id}"), &plain));
    Ok(Credentials { sealed_credentials: Some(sealed), kinds })
}

impl From<exchange_accounts::Model> for AccountOut {
    fn from(row: exchange_accounts::Model) -> Self {
        Self {
            id: row.id,
            name: row.name,
            exchange: row.exchange,
            is_testnet: row.is_testnet,
            is_connected: row.connection_error.is_none(),
            connection_error: row.connection_error,
            created_at: Timestamp(row.created_at),
            has_api_key: row.has_api_key,
            has_api_secret: row.has_api_secret,
            has_private_key: row.has_private_key,
            has_passphrase: row.has_passphrase,
        }
    }
}

impl BalanceOut {
    fn of(account_id: String, account: AccountSnapshot) -> Self {
        let positions = account.positions.into_iter().map(|held| {
            let size_usd = held.quantity.saturating_mul(held.mark_price);
            let cost = held.quantity.saturating_mul(held.entry_price);
            let part = held.unrealized_pnl.checked_div(held.margin).unwrap_or_default();
            let percent = part.saturating_mul(Decimal::ONE_HUNDRED);
            PositionOut {
                symbol: held.symbol.to_string(),
                side: "long",
                size: Amount(held.quantity),
                size_usd: Amount(size_usd.round_dp(8)),
                entry_price: Amount(held.entry_price),
                mark_price: Amount(held.mark_price),
                leverage: Amount(cost.checked_div(held.margin).unwrap_or_default().round_dp(2)),
                unrealized_pnl: Amount(held.unrealized_pnl),
                unrealized_pnl_percent: Amount(percent.round_dp(4)),
            }
        });
        Self {
            account_id,
            positions: positions.collect(),
            equity: Amount(account.equity),
            available_balance: Amount(account.available_balance),
            total_margin_used: Amount(account.margin_used),
            unrealized_pnl: Amount(account.unrealized_pnl),
        }
    }
}
