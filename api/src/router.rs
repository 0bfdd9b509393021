//! All surfaces on one router, and their OpenAPI documents.

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use commands::Waits;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::App;
use crate::config::Mode;
use crate::cors;
use crate::error::{ApiError, ErrorKind};
use crate::extract::BODY_BYTES_MAX;
use crate::metrics;
use crate::openapi::document;
use crate::pipeline::{self, Pipeline};
use crate::surface::Surface;
use crate::unread::Unread;

/// How long whoever asks how the server is waits for its databases.
pub(crate) const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// Everything on one port.
pub(crate) fn router(app: &App) -> Router {
    let mut router = Router::new();
    for surface in Surface::ALL {
        router = router.merge(of_surface(app, surface));
    }
    let unknown = Router::new().fallback(unknown_path).with_state(app.clone());
    let mut router = router.fallback_service(unknown).merge(
        Router::new().route("/health", get(health)).route("/metrics", get(metrics::show)).with_state(app.clone()),
    );
    if app.config.mode == Mode::Development {
        let documents =
            Surface::ALL.map(|surface| (format!("/platform/docs/{}.json", surface.name()), document(surface)));
        let ui =
            documents.into_iter().fold(SwaggerUi::new("/platform/docs"), |ui, (url, document)| ui.url(url, document));
        router = router.merge(ui).merge(documents_of_bitrun());
    }
    // Together, the outermost first: each on its own would be one more box around every route.
    router.layer((
        cors::layer(&app.config.cors_origins),
        CatchPanicLayer::custom(panicked),
        DefaultBodyLimit::max(BODY_BYTES_MAX),
    ))
}

/// The operations of a surface, with their descriptions.
pub(crate) fn routes(surface: Surface) -> OpenApiRouter<App> {
    match surface {
        Surface::HashInsight => crate::hashinsight::routes(),
        Surface::Zinnia => crate::zinnia::routes(),
        Surface::Bitrun => crate::bitrun::routes(),
        Surface::Owl => crate::owl::routes(),
        Surface::Platform => crate::platform::routes(),
    }
}

/// Where BITRUN's document says that its descriptions are.
fn documents_of_bitrun() -> Router {
    let browse = || async { Redirect::temporary("/platform/docs/?urls.primaryName=/platform/docs/bitrun.json") };
    Router::new()
        .route("/api/v1/openapi.json", get(|| async { Json(document(Surface::Bitrun)) }))
        .route("/api/v1/docs", get(browse))
        .route("/api/v1/redoc", get(browse))
}

fn of_surface(app: &App, surface: Surface) -> Router {
    let pipeline = Pipeline { app: app.clone(), surface };
    let router: Router<App> = routes(surface).into();
    router
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(pipeline, pipeline::serve))
        .with_state(app.clone())
}

async fn method_not_allowed() -> ApiError {
    ApiError::new(ErrorKind::MethodNotAllowed, "method_not_allowed", "Method not allowed")
}

async fn unknown_path(request: Request) -> Response {
    let (request, unread) = Unread::of(request);
    let mut response = Surface::of_path(request.uri().path()).render(None, ApiError::not_found().into_response());
    if let Some(unread) = unread {
        unread.end(&mut response).await;
    }
    response
}

/// A bug: the request fails, the server goes on.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!(critical = true, "a handler panicked");
    ApiError::internal(&"a handler panicked").into_response()
}

/// Whether the log and the read models answer, and whether all projections, process managers and gateways get on.
async fn health(State(app): State<App>) -> Response {
    let read_models = app.models.as_they_are().read.ping();
    let (log, read_models) = tokio::join!(
        tokio::time::timeout(ANSWERED_WITHIN, app.log().head()),
        tokio::time::timeout(ANSWERED_WITHIN, read_models)
    );
    let (log, read_models) = (matches!(log, Ok(Ok(_))), matches!(read_models, Ok(Ok(()))));
    let append_failed = app.bus.append_failed();
    let halted = app.statuses.borrow().values().any(|status| status.halted.is_some());
    let paused = app.paused.borrow().is_some();
    let word = |good: bool| if good { "ok" } else { "unavailable" };
    let waits = app.holdups.waits();
    let waiting = |pieces: u64| if pieces == 0 { "ok" } else { "waiting" };
    let healthy = log && read_models && !halted && !paused;
    // Requests are served as far as can be: to take the server out for that would help nobody.
    let degraded = waits != Waits::default() || append_failed;
    let body = serde_json::json!({
        "status": if !healthy { "unhealthy" } else if degraded { "degraded" } else { "healthy" },
        "version": env!("CARGO_PKG_VERSION"),
        "environment": app.config.mode,
        "leading": *app.leading.borrow(),
        "components": {
            "log": if log && append_failed { "takes_no_events" } else { word(log) },
            "read_models": word(read_models),
            "projections": if halted { "halted" } else if paused { "paused" } else { "ok" },
            "processes": waiting(waits.of_processes),
            "gateways": waiting(waits.of_gateways),
        },
    });
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}
