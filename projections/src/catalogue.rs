//! Every read model there is. A new one is one line here.

use crate::billing::balances::Balances;
use crate::billing::recharge_codes::RechargeCodes;
use crate::billing::recharge_records::RechargeRecords;
use crate::crm::customers::Customers;
use crate::crm::deals::Deals;
use crate::crm::leads::Leads;
use crate::projector::{AnyProjector, Projector};

/// Fresh projectors of all read models.
pub fn catalogue() -> Vec<Box<dyn AnyProjector>> {
    vec![
        Projector::<RechargeCodes>::boxed(),
        Projector::<RechargeRecords>::boxed(),
        Projector::<Balances>::boxed(),
        Projector::<Leads>::boxed(),
        Projector::<Customers>::boxed(),
        Projector::<Deals>::boxed(),
    ]
}
