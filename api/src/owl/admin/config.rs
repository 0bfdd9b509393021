//! The settings of the tenant: changed by events, in force at once.

use axum::extract::State;
use domain::platform::settings::{Changes, Settings, SettingsCommand, objections};
use projections::platform::settings;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::envelope::{self, Envelope};
use super::super::whole_numbers::whole;
use crate::app::App;
use crate::auth::Admin;
use crate::error::ApiError;
use crate::extract::Body;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_config, change_config))
}

#[derive(Serialize, ToSchema)]
struct ConfigOut {
    /// Unfinished tasks that a user may have at the same time.
    max_concurrent_tasks_per_user: u32,
    /// Seconds.
    default_task_timeout: u32,
    /// New work of users is refused; administrators and sign-in still work.
    maintenance_mode: bool,
    /// What users are told meanwhile; empty for the usual words.
    maintenance_notice: String,
}

impl From<Settings> for ConfigOut {
    fn from(settings: Settings) -> Self {
        Self {
            max_concurrent_tasks_per_user: settings.max_concurrent_tasks_per_user,
            default_task_timeout: settings.default_task_timeout,
            maintenance_mode: settings.maintenance_mode,
            maintenance_notice: settings.maintenance_notice,
        }
    }
}

#[utoipa::path(get, path = "/api/admin/config", operation_id = "get_config",
    responses((status = 200, body = Envelope<ConfigOut>)))]
async fn get_config(State(app): State<App>, Admin(caller): Admin) -> Result<Envelope<ConfigOut>, ApiError> {
    Ok(envelope::ok(settings::of(app.models.read().await, caller.user.tenant).await?.into()))
}

/// What is missing stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ConfigBody {
    #[serde(default, deserialize_with = "whole")]
    max_concurrent_tasks_per_user: Option<u32>,
    #[serde(default, deserialize_with = "whole")]
    default_task_timeout: Option<u32>,
    maintenance_mode: Option<bool>,
    maintenance_notice: Option<String>,
}

#[utoipa::path(put, path = "/api/admin/config", operation_id = "change_config", request_body = ConfigBody,
    responses((status = 200, body = Envelope<ConfigOut>)))]
async fn change_config(
    State(app): State<App>,
    Admin(caller): Admin,
    Body(body): Body<ConfigBody>,
) -> Result<Envelope<ConfigOut>, ApiError> {
    let changes = Changes {
        max_concurrent_tasks_per_user: body.max_concurrent_tasks_per_user,
        default_task_timeout: body.default_task_timeout,
        maintenance_mode: body.maintenance_mode,
        maintenance_notice: body.maintenance_notice,
    };
    if let Some(wrong) = ApiError::of_refusals(objections(&changes)) {
        return Err(wrong);
    }
    let tenant = caller.user.tenant;
    app.change::<Settings>(&caller.request, &tenant.to_string(), SettingsCommand::Change { changes }).await?;
    Ok(envelope::ok(settings::of(app.models.read().await, tenant).await?.into()))
}
