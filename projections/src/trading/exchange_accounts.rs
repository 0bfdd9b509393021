//! The exchange accounts of users, with the book of those on the paper exchange.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::event::{DecodeError, Recorded};
use domain::metadata::{TenantId, UserId};
use domain::trading::candle::Symbol;
use domain::trading::exchange_account::{CredentialKind, ExchangeAccount, ExchangeAccountEvent};
use domain::trading::paper::Position;
use rust_decimal::Decimal;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;
use uuid::Uuid;

use super::{read, written};
use crate::decimal_text::DecimalText;
use crate::projection::Projection;

/// One account.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "exchange_accounts_v1")]
#[expect(clippy::struct_excessive_bools, reason = "columns that say which credentials there are")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub tenant: String,
    #[sea_orm(indexed)]
    pub user_id: String,
    pub name: String,
    pub exchange: String,
    pub is_testnet: bool,
    pub connection_error: Option<String>,
    pub has_api_key: bool,
    pub has_api_secret: bool,
    pub has_private_key: bool,
    pub has_passphrase: bool,
    /// Free money on the paper exchange.
    pub cash: Option<DecimalText>,
    /// Positions on the paper exchange by market, as JSON.
    pub positions: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Free money; 0 for an account that has no book.
    pub fn free_money(&self) -> Decimal {
        self.cash.unwrap_or_default().0
    }

    /// What is held, by market.
    ///
    /// # Errors
    /// When the row does not hold positions.
    pub fn held(&self) -> Result<BTreeMap<Symbol, Position>, DbErr> {
        read("positions", &self.positions)
    }

    fn filled(self, symbol: &Symbol, cash: Decimal, position: Option<&Position>, recorded: &Recorded) -> Self {
        let mut held = self.held().unwrap_or_default();
        match position {
            Some(position) => held.insert(symbol.clone(), position.clone()),
            None => held.remove(symbol),
        };
        Self { cash: Some(cash.into()), positions: written(&held), updated_at: recorded.recorded_at, ..self }
    }
}

/// The projection.
pub struct ExchangeAccounts;

impl Projection for ExchangeAccounts {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = ExchangeAccountEvent;

    const NAME: &'static str = "exchange_accounts";
    const TABLE: &'static str = "exchange_accounts_v1";
    const CONSUMES: &'static [&'static str] = &["exchange_account"];

    fn decode(recorded: &Recorded) -> Result<Option<ExchangeAccountEvent>, DecodeError> {
        recorded.decode::<ExchangeAccount>()
    }

    fn keys(_: &ExchangeAccountEvent, recorded: &Recorded) -> Vec<String> {
        vec![recorded.aggregate_id.to_string()]
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &ExchangeAccountEvent, recorded: &Recorded) -> Option<Model> {
        match event {
            ExchangeAccountEvent::Opened {
                user_id,
                name,
                exchange,
                is_testnet,
                credentials,
                connection_error,
                paper,
            } => Some(Model {
                id: key.clone(),
                tenant: recorded.tenant.to_string(),
                user_id: user_id.to_string(),
                name: name.clone(),
                exchange: exchange.as_str().to_owned(),
                is_testnet: *is_testnet,
                connection_error: connection_error.clone(),
                has_api_key: credentials.kinds.contains(&CredentialKind::ApiKey),
                has_api_secret: credentials.kinds.contains(&CredentialKind::ApiSecret),
                has_private_key: credentials.kinds.contains(&CredentialKind::PrivateKey),
                has_passphrase: credentials.kinds.contains(&CredentialKind::Passphrase),
                cash: paper.as_ref().map(|terms| terms.initial_balance.into()),
                positions: written(&BTreeMap::<Symbol, Position>::new()),
                created_at: recorded.recorded_at,
                updated_at: recorded.recorded_at,
                position: recorded.position.cast_signed(),
            }),
            ExchangeAccountEvent::Changed { name } => {
                row.map(|row| Model { name: name.clone(), updated_at: recorded.recorded_at, ..row })
            }
            ExchangeAccountEvent::Deleted => None,
            ExchangeAccountEvent::Filled { symbol, cash_after, position_after, .. } => {
                row.map(|row| row.filled(symbol, *cash_after, position_after.as_ref(), recorded))
            }
            ExchangeAccountEvent::OrderRefused { .. } => row,
        }
    }
}

/// The accounts of one user, the newest first.
///
/// # Errors
/// What the database said.
pub async fn list(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    user: UserId,
    exchange: Option<&str>,
) -> Result<Vec<Model>, DbErr> {
    let mut select = of(tenant, user).order_by_desc(Column::Position);
    if let Some(exchange) = exchange {
        select = select.filter(Column::Exchange.eq(exchange));
    }
    select.all(db).await
}

/// One account of one user.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, tenant: TenantId, user: UserId, id: Uuid) -> Result<Option<Model>, DbErr> {
    of(tenant, user).filter(Column::Id.eq(id.to_string())).one(db).await
}

fn of(tenant: TenantId, user: UserId) -> Select<Entity> {
    Entity::find().filter(Column::Tenant.eq(tenant.to_string())).filter(Column::UserId.eq(user.to_string()))
}
