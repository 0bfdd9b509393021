//! Live connections: readings and alerts as they come, and reports without a request each.

mod callers;
mod connection;
mod feed;
mod message;
mod registry;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::feed::LiveFeed;
use crate::app::App;
use crate::error::{ApiError, ErrorKind};
use crate::request::RequestContext;

/// Largest message of a client: a thousand readings.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(connect))
}

/// Upgrades to a WebSocket. Credentials come in the first message, never in the address.
#[utoipa::path(get, path = "/api/v1/battery/ws", operation_id = "connect_live", responses((status = 101)))]
async fn connect(
    State(app): State<App>,
    request: RequestContext,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade =
        upgrade.map_err(|_| ApiError::new(ErrorKind::Malformed, "live.no_websocket", "需要 WebSocket 连接"))?;
    let listener = feed::admit(&app).ok_or_else(|| ApiError::unavailable(&"there are too many live connections"))?;
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(move |socket| connection::serve(app, request, listener, socket)))
}
