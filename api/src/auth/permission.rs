//! HashInsight's permission modules as extractors: `Permitted<Full<module::HostingSiteMgmt>>` in a handler's signature
//! lets nobody in whose role has less.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::identity::role::{Access, Module, access};

use super::Caller;
use crate::error::ApiError;

/// What a handler requires.
pub trait Permission {
    /// In which module.
    const MODULE: Module;
    /// At least how much.
    const ACCESS: Access;
}

/// The right to look at what belongs to module `M`.
pub struct Read<M>(PhantomData<M>);

/// The right to change what belongs to module `M`.
pub struct Full<M>(PhantomData<M>);

/// A permission module as a type.
pub trait ModuleType {
    /// The module.
    const MODULE: Module;
}

impl<M: ModuleType> Permission for Read<M> {
    const MODULE: Module = M::MODULE;
    const ACCESS: Access = Access::Read;
}

impl<M: ModuleType> Permission for Full<M> {
    const MODULE: Module = M::MODULE;
    const ACCESS: Access = Access::Full;
}

macro_rules! modules {
    ($($module:ident)+) => {
        /// The permission modules as types, named as in the domain.
        pub mod module {
            $(
                /// The module of this name.
                pub enum $module {}
                impl super::ModuleType for $module {
                    const MODULE: domain::identity::role::Module = domain::identity::role::Module::$module;
                }
            )+
        }
    };
}

modules! {
    HostingStatusMonitor HostingSiteMgmt HostingUsageTracking BatchCreate CurtailmentStrategy CurtailmentExecute
    CurtailmentHistory CrmCustomerView CrmCustomerMgmt CrmTransaction AnalyticsBatchCalc ReportExcel ReportPdf
}

/// A signed-in user whose role has permission `P`.
pub struct Permitted<P> {
    pub caller: Caller,
    permission: PhantomData<P>,
}

impl<S: Send + Sync, P: Permission> FromRequestParts<S> for Permitted<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let actual = access(caller.user.role, P::MODULE);
        if actual >= P::ACCESS {
            return Ok(Self { caller, permission: PhantomData });
        }
        let sentence = format!("{} access to {} is required", P::ACCESS.name(), P::MODULE.name());
        Err(ApiError::forbidden(sentence)
            .with("error_code", "PERMISSION_DENIED")
            .with("required_access", P::ACCESS.name())
            .with("actual_access", actual.name()))
    }
}
