//! Process managers: events in, commands out. The name of each is a sentence.
//!
//! They follow the log from a kept position. A command caused by an event carries the event's id as its key, so an
//! event that is handled again after a crash causes nothing twice. They do not run in a replay.

pub mod carry_out_decisions_of_strategies;
pub mod close_alerts_of_deleted_device;
pub mod confirm_username_on_use;
pub mod convert_won_lead;
pub mod credit_balance_on_redeem;
pub mod hold_estimate_when_task_is_leased;
pub mod notify_owner_of_alert;
pub mod report_miner_commands_to_curtailment;
pub mod set_up_alert_rules_on_registration;
pub mod settle_hold_when_run_of_task_ends;
pub mod switch_miner_on_confirmed_command;
pub mod tell_miners_of_curtailment;

mod runner;

use async_trait::async_trait;
use domain::event::{DecodeError, Recorded};
use domain::log::LogError;

use crate::bus::{CommandBus, CommandError};
use crate::context::CommandContext;

pub use runner::ProcessRunner;

/// A process manager.
#[async_trait]
pub trait Process: Send + Sync + 'static {
    /// Its sentence, such as `credit_balance_on_redeem`.
    fn name(&self) -> &'static str;
    /// The sorts of aggregates whose events it looks at.
    fn consumes(&self) -> &'static [&'static str];
    /// Gives the commands that `event` calls for. Answers the position of the last event this caused.
    async fn react(&self, bus: &CommandBus, event: &Recorded) -> Result<Option<u64>, ProcessError>;

    /// What a command carries that `event` calls for, for one `purpose`: handled again, it is the same command.
    ///
    /// # Errors
    /// When the event's metadata cannot be read.
    fn context(&self, bus: &CommandBus, event: &Recorded, purpose: &str) -> Result<CommandContext, ProcessError> {
        let actor = format!("process:{}", self.name());
        Ok(CommandContext::caused_by(event, actor, purpose, bus.clock().new_id())?)
    }
}

/// Why an event was not handled.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// May pass: the event is handled again.
    #[error("{0}")]
    Retry(String),
    /// A rule refuses the command; handling it again would not help.
    #[error("{0}")]
    Refused(String),
}

impl<E: std::error::Error> From<CommandError<E>> for ProcessError {
    fn from(error: CommandError<E>) -> Self {
        match error {
            CommandError::Contended | CommandError::Log(_) => Self::Retry(error.to_string()),
            CommandError::Refused(_)
            | CommandError::Foreign
            | CommandError::Stale { .. }
            | CommandError::KeyReused
            | CommandError::Unfit(_) => Self::Refused(error.to_string()),
        }
    }
}

/// An event that this program cannot read was written by a newer one, which will lead soon: to pass over it would lose
/// what it calls for.
impl From<DecodeError> for ProcessError {
    fn from(error: DecodeError) -> Self {
        Self::Retry(error.to_string())
    }
}

impl From<LogError> for ProcessError {
    fn from(error: LogError) -> Self {
        Self::Retry(error.to_string())
    }
}

/// Every process manager there is. A new one is one line here.
pub fn all() -> Vec<Box<dyn Process>> {
    vec![
        Box::new(confirm_username_on_use::ConfirmUsernameOnUse),
        Box::new(convert_won_lead::ConvertWonLead),
        Box::new(credit_balance_on_redeem::CreditBalanceOnRedeem),
        Box::new(hold_estimate_when_task_is_leased::HoldEstimateWhenTaskIsLeased),
        Box::new(settle_hold_when_run_of_task_ends::SettleHoldWhenRunOfTaskEnds),
        Box::new(tell_miners_of_curtailment::TellMinersOfCurtailment),
        Box::new(report_miner_commands_to_curtailment::ReportMinerCommandsToCurtailment),
        Box::new(switch_miner_on_confirmed_command::SwitchMinerOnConfirmedCommand),
        Box::new(carry_out_decisions_of_strategies::CarryOutDecisionsOfStrategies),
        Box::new(set_up_alert_rules_on_registration::SetUpAlertRulesOnRegistration),
        Box::new(notify_owner_of_alert::NotifyOwnerOfAlert),
        Box::new(close_alerts_of_deleted_device::CloseAlertsOfDeletedDevice),
    ]
}
