//! Maintenance: while it lasts, nobody but administrators starts new work.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use projections::platform::settings;

use crate::app::App;
use crate::auth::Caller;
use crate::error::{ApiError, ErrorKind};

/// What clients are told when administrators have said nothing else.
const NOTICE: &str = "系统维护中，暂不接受新任务，请稍后再试";
/// Seconds after which to ask again.
const RETRY_AFTER: u64 = 60;

/// A signed-in user who starts new work, when new work may be started.
#[derive(Clone)]
pub struct WorkGiver(pub Caller);

impl FromRequestParts<App> for WorkGiver {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let settings = settings::of(app.models.read().await, caller.user.tenant).await?;
        if settings.maintenance_mode && !caller.user.role.administers() {
            return Err(under_maintenance(&settings.maintenance_notice));
        }
        Ok(Self(caller))
    }
}

fn under_maintenance(notice: &str) -> ApiError {
    let notice = if notice.is_empty() { NOTICE } else { notice };
    let refusal = ApiError::new(ErrorKind::Unavailable, "maintenance", notice).with("maintenance_mode", true);
    ApiError { retry_after: Some(RETRY_AFTER), ..refusal }
}
