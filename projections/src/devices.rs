//! Lists about battery devices.

pub mod device_shares;
pub mod device_tokens;
#[expect(clippy::module_inception, reason = "the list of devices, in the context of devices")]
pub mod devices;
