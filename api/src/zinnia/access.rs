//! Who may do what with a device: the one place that decides it, for every operation on devices, readings and alerts.
//!
//! The owner may do everything. Whoever the device is shared with may do what the share says. Administrators may do
//! everything with the devices of their tenant. To everybody else there is no such device.

use std::sync::Arc;

use domain::devices::device::SharePermission;
use domain::metadata::UserId;
use projections::devices::{device_shares, devices};
use uuid::Uuid;

use super::known_devices::FoundDevice;
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
    let device = devices::find(server.models.read().await, user.tenant, id).await?.ok_or_else(ApiError::not_found)?;
    permit(server, user, (id, device.owner()?), need).await?;
    Ok(device)
}

/// The same from memory, for questions that are asked again and again.
///
/// # Errors
/// As [`device`].
pub async fn known_device(
    server: &Server,
    user: &AuthUser,
    id: Uuid,
    need: Need,
) -> Result<Arc<FoundDevice>, ApiError> {
    let device = server.devices.by_id(server, id).await?.filter(|device| device.tenant == user.tenant);
    let device = device.ok_or_else(ApiError::not_found)?;
    permit(server, user, (id, device.owner), need).await?;
    Ok(device)
}

/// Refuses whoever may not do what is needed with this device of the user's tenant.
async fn permit(server: &Server, user: &AuthUser, (device, owner): (Uuid, UserId), need: Need) -> Result<(), ApiError> {
    let may = if owner == user.id || user.role.administers() {
        Need::Own
    } else {
        let share = device_shares::find(server.models.read().await, device, user.id).await?;
        granted(share.ok_or_else(ApiError::not_found)?.share_permission()?)
    };
    if may >= need { Ok(()) } else { Err(ApiError::forbidden("The device is shared with less permission")) }
}

fn granted(share: SharePermission) -> Need {
    match share {
        SharePermission::Read => Need::Read,
        SharePermission::Write => Need::Write,
        SharePermission::Admin => Need::Share,
    }
}
