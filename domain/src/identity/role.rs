//! Roles, and what each may do in HashInsight's permission modules.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a user is in the own tenant. One role for all four products; each shows it in its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs the tenant; the owner of the default tenant runs the installation.
    Owner,
    /// Runs the tenant, except for its owners and administrators.
    Admin,
    /// Runs mining sites and the customers on them.
    MiningSiteOwner,
    /// Has machines hosted.
    Client,
    /// Buys, without machines of its own.
    Customer,
    /// Looks around.
    Guest,
    /// What public registration gives.
    User,
    /// Reads what a user reads and changes nothing.
    Readonly,
}

impl Role {
    /// Every role, highest first.
    pub const ALL: [Self; 8] = [
        Self::Owner,
        Self::Admin,
        Self::MiningSiteOwner,
        Self::Client,
        Self::Customer,
        Self::User,
        Self::Guest,
        Self::Readonly,
    ];

    /// The storage name, which is also the name in HashInsight.
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::MiningSiteOwner => "mining_site_owner",
            Self::Client => "client",
            Self::Customer => "customer",
            Self::Guest => "guest",
            Self::User => "user",
            Self::Readonly => "readonly",
        }
    }

    /// `admin`, `user` or `readonly`.
    pub fn in_zinnia(self) -> &'static str {
        match self {
            Self::Owner | Self::Admin => "admin",
            Self::MiningSiteOwner | Self::Client | Self::Customer | Self::User => "user",
            Self::Guest | Self::Readonly => "readonly",
        }
    }

    /// `super_admin`, `admin` or `user`.
    pub fn in_owl(self) -> &'static str {
        match self {
            Self::Owner => "super_admin",
            Self::Admin => "admin",
            Self::MiningSiteOwner | Self::Client | Self::Customer | Self::Guest | Self::User | Self::Readonly => "user",
        }
    }

    /// Owners and administrators see their whole tenant.
    pub fn administers(self) -> bool {
        match self {
            Self::Owner | Self::Admin => true,
            Self::MiningSiteOwner | Self::Client | Self::Customer | Self::Guest | Self::User | Self::Readonly => false,
        }
    }

    /// Whether a user of this role may change anything at all.
    pub fn writes(self) -> bool {
        match self {
            Self::Owner | Self::Admin | Self::MiningSiteOwner | Self::Client | Self::Customer | Self::User => true,
            Self::Guest | Self::Readonly => false,
        }
    }

    /// Whether users of this role are the people of one customer, and see nothing but what is that customer's.
    pub fn belongs_to_a_customer(self) -> bool {
        match self {
            Self::Client | Self::Customer => true,
            Self::Owner | Self::Admin | Self::MiningSiteOwner | Self::Guest | Self::User | Self::Readonly => false,
        }
    }

    /// Whether this role may create, change or deactivate users of role `other`: an owner all, an administrator
    /// those who administer nothing.
    pub fn manages(self, other: Self) -> bool {
        self == Self::Owner || (self == Self::Admin && !other.administers())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a role")]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.name() == name).ok_or_else(|| UnknownRole(name.to_owned()))
    }
}

/// A permission module of HashInsight (appendix B of its document, and those its hosting pages add).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Module {
    /// Hosting status monitoring.
    HostingStatusMonitor,
    /// Site management.
    HostingSiteMgmt,
    /// What was used and what it cost.
    HostingUsageTracking,
    /// Miners created in batches.
    BatchCreate,
    /// Curtailment strategies.
    CurtailmentStrategy,
    /// Curtailment runs started and stopped.
    CurtailmentExecute,
    /// Past curtailment runs.
    CurtailmentHistory,
    /// Customer viewing.
    CrmCustomerView,
    /// Customer management.
    CrmCustomerMgmt,
    /// Deal management.
    CrmTransaction,
    /// Batch calculation.
    AnalyticsBatchCalc,
    /// Excel report export.
    ReportExcel,
    /// PDF report export.
    ReportPdf,
}

impl Module {
    /// Every module.
    pub const ALL: [Self; 13] = [
        Self::HostingStatusMonitor,
        Self::HostingSiteMgmt,
        Self::HostingUsageTracking,
        Self::BatchCreate,
        Self::CurtailmentStrategy,
        Self::CurtailmentExecute,
        Self::CurtailmentHistory,
        Self::CrmCustomerView,
        Self::CrmCustomerMgmt,
        Self::CrmTransaction,
        Self::AnalyticsBatchCalc,
        Self::ReportExcel,
        Self::ReportPdf,
    ];

    /// The name in the document.
    pub fn name(self) -> &'static str {
        match self {
            Self::HostingStatusMonitor => "HOSTING_STATUS_MONITOR",
            Self::HostingSiteMgmt => "HOSTING_SITE_MGMT",
            Self::HostingUsageTracking => "HOSTING_USAGE_TRACKING",
            Self::BatchCreate => "BATCH_CREATE",
            Self::CurtailmentStrategy => "CURTAILMENT_STRATEGY",
            Self::CurtailmentExecute => "CURTAILMENT_EXECUTE",
            Self::CurtailmentHistory => "CURTAILMENT_HISTORY",
            Self::CrmCustomerView => "CRM_CUSTOMER_VIEW",
            Self::CrmCustomerMgmt => "CRM_CUSTOMER_MGMT",
            Self::CrmTransaction => "CRM_TRANSACTION",
            Self::AnalyticsBatchCalc => "ANALYTICS_BATCH_CALC",
            Self::ReportExcel => "REPORT_EXCEL",
            Self::ReportPdf => "REPORT_PDF",
        }
    }
}

/// How far a role may go in a module; ordered, so that `Full >= Read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Not at all.
    None,
    /// Look, not touch.
    Read,
    /// Everything.
    Full,
}

impl Access {
    /// The word in HashInsight's refusals.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Full => "full",
        }
    }
}

/// The permission table: those who run sites have all modules, those who have machines or buy look at what concerns
/// them, and calculations and their reports are for everybody who signed in.
pub fn access(role: Role, module: Module) -> Access {
    match module {
        Module::AnalyticsBatchCalc | Module::ReportExcel | Module::ReportPdf => Access::Full,
        Module::HostingSiteMgmt
        | Module::BatchCreate
        | Module::CurtailmentExecute
        | Module::CrmCustomerView
        | Module::CrmCustomerMgmt => access_of(role, Access::None),
        Module::HostingStatusMonitor
        | Module::HostingUsageTracking
        | Module::CurtailmentStrategy
        | Module::CurtailmentHistory
        | Module::CrmTransaction => access_of(role, Access::Read),
    }
}

/// Full for those who run sites, `buyers` for clients and customers, nothing for the rest.
fn access_of(role: Role, buyers: Access) -> Access {
    match role {
        Role::Owner | Role::Admin | Role::MiningSiteOwner => Access::Full,
        Role::Client | Role::Customer => buyers,
        Role::Guest | Role::User | Role::Readonly => Access::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_stored_names_are_the_same_and_read_back() {
        for role in Role::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(UnknownRole("root".into())));
    }

    #[test]
    fn an_administrator_manages_neither_owners_nor_administrators() {
        assert!(Role::Owner.manages(Role::Owner) && Role::Owner.manages(Role::Admin));
        assert!(Role::Admin.manages(Role::MiningSiteOwner) && Role::Admin.manages(Role::User));
        assert!(!Role::Admin.manages(Role::Admin) && !Role::Admin.manages(Role::Owner));
        assert!(Role::ALL.iter().all(|other| !Role::User.manages(*other)));
    }

    #[test]
    fn each_product_sees_its_own_words() {
        let seen: Vec<_> = Role::ALL.iter().map(|role| (role.name(), role.in_zinnia(), role.in_owl())).collect();
        assert_eq!(
            seen,
            [
                ("owner", "admin", "super_admin"),
                ("admin", "admin", "admin"),
                ("mining_site_owner", "user", "user"),
                ("client", "user", "user"),
                ("customer", "user", "user"),
                ("user", "user", "user"),
                ("guest", "readonly", "user"),
                ("readonly", "readonly", "user"),
            ]
        );
    }

    #[test]
    fn the_permission_table_is_the_documented_one() {
        let of =
            |role| Module::ALL.map(|module| access(role, module)).into_iter().map(Access::name).collect::<Vec<_>>();
        assert_eq!(of(Role::MiningSiteOwner), ["full"; 13]);
        assert_eq!(of(Role::Owner), of(Role::Admin));
        assert_eq!(
            of(Role::Client),
            ["read", "none", "read", "none", "read", "none", "read", "none", "none", "read", "full", "full", "full"]
        );
        assert_eq!(of(Role::Client), of(Role::Customer));
        for role in [Role::Guest, Role::User, Role::Readonly] {
            assert!(Module::ALL[..10].iter().all(|module| access(role, *module) == Access::None));
            assert!(Module::ALL[10..].iter().all(|module| access(role, *module) == Access::Full));
        }
    }
}
