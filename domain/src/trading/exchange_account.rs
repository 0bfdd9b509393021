//! An account at an exchange. On the built-in paper exchange it holds its own book and fills orders by itself; no
//! other exchange has an adapter, so accounts there are kept but not connected.

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::metadata::UserId;
use crate::plain_text;
use crate::trading::candle::Symbol;
use crate::trading::order::{Fill, MONEY_MAX, Order, OrderOutcome, SCALE};
use crate::trading::paper::{INITIAL_BALANCE, PaperBook, PaperTerms, Position};

mod error;
mod exchange;

pub use error::ExchangeAccountError;
pub use exchange::{CredentialKind, Credentials, Exchange};

/// Longest name of an account.
pub const NAME_LENGTH_MAX: usize = 100;
/// Longest sealed text of credentials.
pub const SEALED_LENGTH_MAX: usize = 20_000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeAccountEvent {
    Opened {
        user_id: UserId,
        name: String,
        exchange: Exchange,
        is_testnet: bool,
        credentials: Credentials,
        /// Why it cannot trade.
        connection_error: Option<String>,
        /// On the paper exchange only.
        paper: Option<PaperTerms>,
    },
    Changed {
        name: String,
    },
    Deleted,
    Filled {
        client_order_id: Uuid,
        symbol: Symbol,
        fill: Fill,
        reference_price: Decimal,
        leverage: Decimal,
        cash_after: Decimal,
        /// `None` when nothing is left of the position.
        position_after: Option<Position>,
    },
    OrderRefused {
        client_order_id: Uuid,
        symbol: Symbol,
        reason: String,
        /// Whether the next order will be refused as well.
        lasting: bool,
    },
}

event_names!(ExchangeAccountEvent {
    Opened => "exchange_account.opened" 1,
    Changed => "exchange_account.changed" 1,
    Deleted => "exchange_account.deleted" 1,
    Filled => "exchange_account.filled" 1,
    OrderRefused => "exchange_account.order_refused" 1,
});

#[derive(Debug, Clone)]
pub enum ExchangeAccountCommand {
    /// Keeps a new account; on the paper exchange it can trade at once.
    Open {
        user_id: UserId,
        name: String,
        exchange: Exchange,
        is_testnet: bool,
        credentials: Credentials,
        /// For the paper exchange; 10,000 when absent.
        initial_balance: Option<Decimal>,
    },
    /// Gives it another name.
    Change { name: String },
    /// Ends it. Its history stays.
    Delete,
    /// Carries an order out, once; a refusal is an event as well, so that its sender hears of it.
    Place(Order),
}

/// What an account can do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum ExchangeAccount {
    #[default]
    Unknown,
    Open {
        name: String,
        exchange: Exchange,
        book: Option<PaperBook>,
    },
    Deleted {
        exchange: Exchange,
    },
}

impl Decider for ExchangeAccount {
    const SECRET_FIELDS: &'static [&'static str] = &["sealed_credentials"];

    fn decide(
        &self,
        command: ExchangeAccountCommand,
        _now: DateTime<Utc>,
    ) -> Result<Vec<ExchangeAccountEvent>, ExchangeAccountError> {
        match command {
            ExchangeAccountCommand::Open { user_id, name, exchange, is_testnet, credentials, initial_balance } => {
                let name = checked_name(&name)?;
                let paper = self.can_be_opened(exchange, &credentials, initial_balance)?;
                Ok(vec![ExchangeAccountEvent::Opened {
                    user_id,
                    name,
                    exchange,
                    is_testnet,
                    credentials,
                    connection_error: exchange.connection_error(),
                    paper,
                }])
            }
            ExchangeAccountCommand::Change { name } => self.rename(&name),
            ExchangeAccountCommand::Delete => match self {
                Self::Unknown => Err(ExchangeAccountError::NotFound),
                Self::Deleted { .. } => Ok(vec![]),
                Self::Open { .. } => Ok(vec![ExchangeAccountEvent::Deleted]),
            },
            ExchangeAccountCommand::Place(order) => self.place(&order),
        }
    }
}

impl ExchangeAccount {
    fn can_be_opened(
        &self,
        exchange: Exchange,
        credentials: &Credentials,
        initial_balance: Option<Decimal>,
    ) -> Result<Option<PaperTerms>, ExchangeAccountError> {
        if *self != Self::Unknown {
            return Err(ExchangeAccountError::AlreadyOpened);
        }
        if credentials.sealed_credentials.as_ref().is_some_and(|sealed| sealed.len() > SEALED_LENGTH_MAX) {
            return Err(ExchangeAccountError::CredentialsTooLong);
        }
        if exchange != Exchange::Paper {
            return if initial_balance.is_some() { Err(ExchangeAccountError::BalanceElsewhere) } else { Ok(None) };
        }
        if *credentials != Credentials::default() {
            return Err(ExchangeAccountError::CredentialsOnPaper);
        }
        let balance = initial_balance.unwrap_or(INITIAL_BALANCE);
        if balance <= Decimal::ZERO || balance > MONEY_MAX || balance.normalize().scale() > SCALE {
            return Err(ExchangeAccountError::BalanceOutOfRange);
        }
        Ok(Some(PaperTerms::with_balance(balance)))
    }

    fn rename(&self, to: &str) -> Result<Vec<ExchangeAccountEvent>, ExchangeAccountError> {
        let Self::Open { name, .. } = self else { return Err(ExchangeAccountError::NotFound) };
        let to = checked_name(to)?;
        Ok(if *name == to { vec![] } else { vec![ExchangeAccountEvent::Changed { name: to }] })
    }

    fn place(&self, order: &Order) -> Result<Vec<ExchangeAccountEvent>, ExchangeAccountError> {
        let refused = |reason: String, lasting| {
            Ok(vec![ExchangeAccountEvent::OrderRefused {
                client_order_id: order.client_order_id,
                symbol: order.symbol.clone(),
                reason,
                lasting,
            }])
        };
        let (exchange, book) = match self {
            Self::Unknown => return Err(ExchangeAccountError::NotFound),
            Self::Deleted { .. } => return refused("The account is deleted".into(), true),
            Self::Open { exchange, book, .. } => (exchange, book),
        };
        let Some(book) = book else { return refused(exchange.connection_error().unwrap_or_default(), true) };
        if book.knows(order.client_order_id) {
            return Ok(vec![]);
        }
        match book.execute(order) {
            Err(refusal) => refused(refusal.to_string(), false),
            Ok(done) => Ok(vec![ExchangeAccountEvent::Filled {
                client_order_id: order.client_order_id,
                symbol: order.symbol.clone(),
                fill: done.fill,
                reference_price: order.reference_price,
                leverage: order.leverage,
                cash_after: done.cash_after,
                position_after: done.position_after,
            }]),
        }
    }

    fn book_mut(&mut self) -> Option<&mut PaperBook> {
        match self {
            Self::Open { book, .. } => book.as_mut(),
            Self::Unknown | Self::Deleted { .. } => None,
        }
    }
}

impl cqrs_es::Aggregate for ExchangeAccount {
    const TYPE: &'static str = "exchange_account";
    type Command = ExchangeAccountCommand;
    type Event = ExchangeAccountEvent;
    type Error = ExchangeAccountError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: ExchangeAccountEvent) {
        match event {
            ExchangeAccountEvent::Opened { name, exchange, paper, .. } => {
                *self = Self::Open { name, exchange, book: paper.map(PaperBook::new) };
            }
            ExchangeAccountEvent::Changed { name: to } => {
                if let Self::Open { name, .. } = self {
                    *name = to;
                }
            }
            ExchangeAccountEvent::Deleted => {
                if let Self::Open { exchange, .. } = self {
                    *self = Self::Deleted { exchange: *exchange };
                }
            }
            ExchangeAccountEvent::Filled { client_order_id, symbol, cash_after, position_after, .. } => {
                if let Some(book) = self.book_mut() {
                    book.remember(client_order_id);
                    book.book(symbol, cash_after, position_after);
                }
            }
            ExchangeAccountEvent::OrderRefused { client_order_id, .. } => {
                if let Some(book) = self.book_mut() {
                    book.remember(client_order_id);
                }
            }
        }
    }
}

/// What an order came to, as its sender is told; `None` for the events of the account itself.
pub fn outcome_of(event: &ExchangeAccountEvent) -> Option<(Uuid, OrderOutcome)> {
    match event {
        ExchangeAccountEvent::Filled { client_order_id, fill, .. } => {
            Some((*client_order_id, OrderOutcome::Filled(fill.clone())))
        }
        ExchangeAccountEvent::OrderRefused { client_order_id, reason, lasting, .. } => {
            Some((*client_order_id, OrderOutcome::Refused { reason: reason.clone(), lasting: *lasting }))
        }
        ExchangeAccountEvent::Opened { .. } | ExchangeAccountEvent::Changed { .. } | ExchangeAccountEvent::Deleted => {
            None
        }
    }
}

fn checked_name(name: &str) -> Result<String, ExchangeAccountError> {
    let name = name.trim();
    if (1..=NAME_LENGTH_MAX).contains(&name.chars().count()) && plain_text::is_line(name) {
        Ok(name.to_owned())
    } else {
        Err(ExchangeAccountError::NameLength)
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;
    use crate::trading::order::{OrderSize, Side};

    fn given(events: Vec<ExchangeAccountEvent>) -> cqrs_es::test::AggregateTestExecutor<ExchangeAccount> {
        TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
    }
    fn open(exchange: Exchange, credentials: Credentials, initial_balance: Option<i64>) -> ExchangeAccountCommand {
        ExchangeAccountCommand::Open {
            user_id: UserId(Uuid::from_u128(9)),
            name: " Main ".into(),
            exchange,
            is_testnet: false,
            credentials,
            initial_balance: initial_balance.map(Decimal::from),
        }
    }
    fn opened(exchange: Exchange, credentials: Credentials, balance: Option<i64>) -> ExchangeAccountEvent {
        ExchangeAccountEvent::Opened {
            user_id: UserId(Uuid::from_u128(9)),
            name: "Main".into(),
            exchange,
            is_testnet: false,
            credentials,
            connection_error: exchange.connection_error(),
            paper: balance.map(|balance| PaperTerms::with_balance(balance.into())),
        }
    }
    fn paper(balance: i64) -> ExchangeAccountEvent {
        opened(Exchange::Paper, Credentials::default(), Some(balance))
    }
    fn keys() -> Credentials {
        Credentials {
            sealed_credentials: Some("sealed".into()),
            kinds: [CredentialKind::ApiKey, CredentialKind::ApiSecret].into(),
        }
    }
    fn order(n: u128, side: Side, amount: OrderSize) -> ExchangeAccountCommand {
        ExchangeAccountCommand::Place(Order {
            client_order_id: Uuid::from_u128(n),
            symbol: "BTC/USDT:USDT".parse().unwrap(),
            side,
            size: amount,
            reference_price: 100_000.into(),
            leverage: Decimal::ONE,
        })
    }
    fn buy(n: u128, money: i64) -> ExchangeAccountCommand {
        order(n, Side::Buy, OrderSize::Quote(money.into()))
    }
    fn refused(n: u128, reason: &str, lasting: bool) -> ExchangeAccountEvent {
        ExchangeAccountEvent::OrderRefused {
            client_order_id: Uuid::from_u128(n),
            symbol: "BTC/USDT:USDT".parse().unwrap(),
            reason: reason.into(),
            lasting,
        }
    }
    /// What a thousand buys at a price of 100,000.
    fn filled(n: u128) -> ExchangeAccountEvent {
        let decimal = |text: &str| text.parse().unwrap();
        ExchangeAccountEvent::Filled {
            client_order_id: Uuid::from_u128(n),
            symbol: "BTC/USDT:USDT".parse().unwrap(),
            fill: Fill {
                side: Side::Buy,
                quantity: decimal("0.009998"),
                price: decimal("100020"),
                notional: decimal("999.99996"),
                fee: decimal("0.49999998"),
                realized_pnl: None,
            },
            reference_price: decimal("100000"),
            leverage: Decimal::ONE,
            cash_after: decimal("8999.50004002"),
            position_after: Some(Position {
                quantity: decimal("0.009998"),
                entry_price: decimal("100020"),
                margin: decimal("999.99996"),
            }),
        }
    }

    #[test]
    fn accounts_are_opened_once() {
        let command = open(Exchange::Paper, Credentials::default(), None);
        given(vec![]).when(command.clone()).then_expect_events(vec![paper(10_000)]);
        given(vec![paper(1)]).when(command).then_expect_error(ExchangeAccountError::AlreadyOpened);
        let real = opened(Exchange::Binance, keys(), None);
        given(vec![]).when(open(Exchange::Binance, keys(), None)).then_expect_events(vec![real]);
    }

    #[test]
    fn impossible_accounts_are_not_opened() {
        let refused = |command, error| given(vec![]).when(command).then_expect_error(error);
        refused(open(Exchange::Paper, keys(), None), ExchangeAccountError::CredentialsOnPaper);
        refused(open(Exchange::Paper, Credentials::default(), Some(0)), ExchangeAccountError::BalanceOutOfRange);
        refused(open(Exchange::Okx, keys(), Some(1)), ExchangeAccountError::BalanceElsewhere);
        let long = Credentials { sealed_credentials: Some("x".repeat(SEALED_LENGTH_MAX + 1)), ..keys() };
        refused(open(Exchange::Okx, long, None), ExchangeAccountError::CredentialsTooLong);
    }

    #[test]
    fn names_change_and_have_a_length() {
        let change = |name: &str| ExchangeAccountCommand::Change { name: name.into() };
        let changed = ExchangeAccountEvent::Changed { name: "Other".into() };
        given(vec![paper(1)]).when(change("Other")).then_expect_events(vec![changed]);
        given(vec![paper(1)]).when(change("Main")).then_expect_events(vec![]);
        given(vec![paper(1)]).when(change(" ")).then_expect_error(ExchangeAccountError::NameLength);
        given(vec![]).when(change("Other")).then_expect_error(ExchangeAccountError::NotFound);
    }

    #[test]
    fn an_order_is_filled_once() {
        given(vec![paper(10_000)]).when(buy(1, 1_000)).then_expect_events(vec![filled(1)]);
        given(vec![paper(10_000), filled(1)]).when(buy(1, 1_000)).then_expect_events(vec![]);
    }

    #[test]
    fn a_refused_order_stays_refused() {
        let reason = "Insufficient balance: the order needs 1000.49995998, 100 is available";
        given(vec![paper(100)]).when(buy(1, 1_000)).then_expect_events(vec![refused(1, reason, false)]);
        given(vec![paper(100), refused(1, reason, false)]).when(buy(1, 10)).then_expect_events(vec![]);
    }

    #[test]
    fn what_was_bought_can_be_sold() {
        let sell = order(2, Side::Sell, OrderSize::Base("0.009998".parse().unwrap()));
        let mut account = ExchangeAccount::default();
        for event in [paper(10_000), filled(1)] {
            cqrs_es::Aggregate::apply(&mut account, event);
        }
        let events = account.decide(sell, DateTime::UNIX_EPOCH).unwrap();
        assert!(
            matches!(&events[..], [ExchangeAccountEvent::Filled { position_after: None, fill, .. }]
                if fill.realized_pnl == Some("-0.39992".parse().unwrap())),
            "{events:?}"
        );
        assert!(matches!(outcome_of(&events[0]), Some((id, OrderOutcome::Filled(_))) if id == Uuid::from_u128(2)));
    }

    #[test]
    fn only_open_paper_accounts_trade() {
        let real = opened(Exchange::Bybit, keys(), None);
        let reason = Exchange::Bybit.connection_error().unwrap();
        given(vec![real]).when(buy(1, 10)).then_expect_events(vec![refused(1, &reason, true)]);
        given(vec![paper(10), ExchangeAccountEvent::Deleted]).when(buy(1, 10)).then_expect_events(vec![refused(
            1,
            "The account is deleted",
            true,
        )]);
        given(vec![]).when(buy(1, 10)).then_expect_error(ExchangeAccountError::NotFound);
    }

    #[test]
    fn deleting_twice_changes_nothing() {
        let delete = ExchangeAccountCommand::Delete;
        given(vec![paper(1)]).when(delete.clone()).then_expect_events(vec![ExchangeAccountEvent::Deleted]);
        given(vec![paper(1), ExchangeAccountEvent::Deleted]).when(delete.clone()).then_expect_events(vec![]);
        given(vec![]).when(delete).then_expect_error(ExchangeAccountError::NotFound);
    }
}
