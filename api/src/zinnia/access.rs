//! Who may do what with a device: the one place that decides it, for every operation on devices, readings and alerts.
//!
//! The owner may do everything. Whoever the device is shared with may do what the share says. Administrators may do
//! everything with the devices of their tenant. To everybody else there is no such device.

use domain::devices::device::SharePermission;
use projections::devices::{device_shares, devices};
use uuid::Uuid;

use crate::app::Server;
use crate::auth::AuthUser;
use crate::error::ApiError;

/// What an operation needs; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Look at it, its readings and its alerts.
    Read,
    /// Change name, status and settings, deal with its alerts.
    Write,
    /// Share it with others.
    Share,
    /// Rotate its key, hand out tokens, delete it.
    Own,
}

/// The device, if `user` may do with it what is needed.
///
/// # Errors
/// Not found for whoever may not even look at it; forbidden for whoever may do less than is needed.
pub async fn device(server: &Server, user: &AuthUser, id: Uuid, need: Need) -> Result<devices::Model, ApiError> {
    let device = devices::find(&server.models.read, user.tenant, id).await?.ok_or_else(ApiError::not_found)?;
    let may = if device.owner()? == user.id || user.role.administers() {
        Need::Own
    } else {
        let share = device_shares::find(&server.models.read, id, user.id).await?.ok_or_else(ApiError::not_found)?;
        granted(share.share_permission()?)
    };
    if may >= need { Ok(device) } else { Err(ApiError::forbidden("The device is shared with less permission")) }
}

fn granted(share: SharePermission) -> Need {
    match share {
        SharePermission::Read => Need::Read,
        SharePermission::Write => Need::Write,
        SharePermission::Admin => Need::Share,
    }
}
