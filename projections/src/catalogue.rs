//! Every read model there is. A new one is one line here.

use crate::billing::balances::Balances;
use crate::billing::ledger_entries::LedgerEntries;
use crate::billing::recharge_codes::RechargeCodes;
use crate::billing::recharge_records::RechargeRecords;
use crate::billing::revenues::Revenues;
use crate::compute::gpu_servers::GpuServers;
use crate::compute::task_counts::TaskCounts;
use crate::compute::tasks::Tasks;
use crate::crm::customers::Customers;
use crate::crm::deals::Deals;
use crate::crm::leads::Leads;
use crate::devices::alert_rules::AlertRules;
use crate::devices::alerts::Alerts;
use crate::devices::device_shares::DeviceShares;
use crate::devices::device_tokens::DeviceTokens;
use crate::devices::devices::Devices;
use crate::devices::notification_preferences::NotificationPreferences;
use crate::devices::push_subscriptions::PushSubscriptions;
use crate::hosting::curtailment_runs::CurtailmentRuns;
use crate::hosting::curtailment_targets::CurtailmentTargets;
use crate::hosting::miner_commands::MinerCommands;
use crate::hosting::miners::Miners;
use crate::hosting::sites::Sites;
use crate::identity::sessions::Sessions;
use crate::identity::tenants::Tenants;
use crate::identity::users::Users;
use crate::platform::mails::Mails;
use crate::platform::settings::SettingsOfTenants;
use crate::projector::{AnyProjector, Projector};
use crate::trading::decisions::Decisions;
use crate::trading::exchange_accounts::ExchangeAccounts;
use crate::trading::quant_strategies::QuantStrategies;

/// Fresh projectors of all read models.
pub fn catalogue() -> Vec<Box<dyn AnyProjector>> {
    vec![
        Projector::<RechargeCodes>::boxed(),
        Projector::<RechargeRecords>::boxed(),
        Projector::<Balances>::boxed(),
        Projector::<Revenues>::boxed(),
        Projector::<LedgerEntries>::boxed(),
        Projector::<Tasks>::boxed(),
        Projector::<TaskCounts>::boxed(),
        Projector::<GpuServers>::boxed(),
        Projector::<Leads>::boxed(),
        Projector::<Customers>::boxed(),
        Projector::<Deals>::boxed(),
        Projector::<Sites>::boxed(),
        Projector::<Miners>::boxed(),
        Projector::<MinerCommands>::boxed(),
        Projector::<CurtailmentRuns>::boxed(),
        Projector::<CurtailmentTargets>::boxed(),
        Projector::<ExchangeAccounts>::boxed(),
        Projector::<QuantStrategies>::boxed(),
        Projector::<Decisions>::boxed(),
        Projector::<Devices>::boxed(),
        Projector::<DeviceTokens>::boxed(),
        Projector::<DeviceShares>::boxed(),
        Projector::<AlertRules>::boxed(),
        Projector::<Alerts>::boxed(),
        Projector::<NotificationPreferences>::boxed(),
        Projector::<PushSubscriptions>::boxed(),
        Projector::<Users>::boxed(),
        Projector::<Sessions>::boxed(),
        Projector::<Tenants>::boxed(),
        Projector::<Mails>::boxed(),
        Projector::<SettingsOfTenants>::boxed(),
    ]
}
