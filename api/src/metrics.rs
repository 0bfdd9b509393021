//! Figures for operators, as Prometheus reads them.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use commands::Waits;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::app::{App, Server};
use crate::router::ANSWERED_WITHIN;
use crate::surface::Surface;

const REQUESTS: &str = "corelog_requests_total";
const SECONDS: &str = "corelog_request_seconds";
/// Bounds of the buckets of [`SECONDS`].
const BUCKETS: [f64; 8] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 5.0];
/// How often samples are put into their buckets when nobody asks for them.
const UPKEEP: Duration = Duration::from_secs(5);

/// The recorder of this process; all servers in it share one.
pub(crate) fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let made = RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        let builder = builder
            .set_buckets_for_metric(Matcher::Full(SECONDS.to_owned()), &BUCKETS)
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("this process had a recorder of metrics already; /metrics stays empty");
        }
        handle
    });
    made.clone()
}

/// Keeps the recorder small for ever.
pub(crate) async fn keep_up(recorder: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        recorder.run_upkeep();
    }
}

/// Counts a request and how long it took.
pub(crate) fn count_request(surface: Surface, status: StatusCode, began: Instant) {
    metrics::counter!(REQUESTS, "surface" => surface.name(), "status" => status.as_u16().to_string()).increment(1);
    metrics::histogram!(SECONDS, "surface" => surface.name()).record(began.elapsed().as_secs_f64());
}

/// Everything that is measured.
pub(crate) async fn show(State(app): State<App>) -> impl IntoResponse {
    measure(&app).await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render())
}

async fn measure(server: &Server) {
    let handled = server.readers.handled().through;
    set("corelog_processes_position", &[], handled);
    // Where the log ends is not known while it does not answer: what depends on it stays as it was.
    let head = tokio::time::timeout(ANSWERED_WITHIN, server.log().head()).await.ok().and_then(Result::ok);
    if let Some(head) = head {
        set("corelog_log_position", &[], head);
        set("corelog_processes_lag", &[], head.saturating_sub(handled));
    }
    set("corelog_log_answers", &[], u64::from(head.is_some()));
    set("corelog_log_append_failed", &[], u64::from(server.bus.append_failed()));
    set("corelog_projections_paused", &[], u64::from(server.paused.borrow().is_some()));
    let Waits { of_processes, of_gateways } = server.holdups.waits();
    set("corelog_processes_waiting", &[], of_processes);
    set("corelog_gateways_waiting", &[], of_gateways);
    for (name, status) in server.statuses.borrow().iter() {
        let label = [("projection", *name)];
        set("corelog_projection_position", &label, status.checkpoint.position);
        if let Some(head) = head {
            set("corelog_projection_lag", &label, head.saturating_sub(status.checkpoint.position));
        }
        set("corelog_projection_events", &label, status.checkpoint.tally.events);
        set("corelog_projection_halted", &label, u64::from(status.halted.is_some()));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; positions stay far below 2^52")]
fn set(name: &'static str, labels: &[(&'static str, &'static str)], value: u64) {
    metrics::gauge!(name, labels).set(value as f64);
}
