//! Credit the balance of whoever redeems a recharge code.

use async_trait::async_trait;
use domain::billing::balance::{Balance, BalanceCommand};
use domain::billing::recharge_code::{RechargeCode, RechargeCodeEvent};
use domain::event::Recorded;

use super::{Process, ProcessError};
use crate::bus::CommandBus;

/// The process manager.
pub struct CreditBalanceOnRedeem;

#[async_trait]
impl Process for CreditBalanceOnRedeem {
    fn name(&self) -> &'static str {
        "credit_balance_on_redeem"
    }

    fn consumes(&self) -> &'static [&'static str] {
        &["recharge_code"]
    }

    async fn react(&self, bus: &CommandBus, event: &Recorded) -> Result<Option<u64>, ProcessError> {
        let Some(RechargeCodeEvent::Redeemed { code_id, redemption_id, by, amount, .. }) =
            event.decode::<RechargeCode>()?
        else {
            return Ok(None);
        };
        let context = self.context(bus, event, "credit")?;
        let credit = BalanceCommand::Credit { amount, redemption_id, code_id };
        let receipt = bus.execute::<Balance>(&by.to_string(), credit, &context).await?;
        Ok(Some(receipt.position))
    }
}
