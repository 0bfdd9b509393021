//! Miners registered in batches: what is right is registered, what is wrong is listed.

use std::collections::BTreeSet;

use axum::extract::State;
use domain::hosting::miner::registration::Registration;
use domain::hosting::miner::{Miner, MinerCommand};
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{CreateMinerBody, registrable};
use crate::app::{App, Server};
use crate::auth::{Caller, Full, Permitted, module};
use crate::error::{ApiError, ErrorKind};
use crate::extract::Body;
use crate::hashinsight::envelope::{self, Envelope};
use crate::hashinsight::unique_names::Name;

/// Most miners of one batch.
const BATCH_MAX: usize = 1_000;
/// Miners registered at the same time: they share the flushes of the log.
const AT_ONCE: usize = 128;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create_miners))
}

#[derive(Deserialize, ToSchema)]
struct CreateMinersBody {
    miners: Vec<serde_json::Value>,
}

#[derive(Serialize, ToSchema)]
struct BatchDone {
    message: String,
    created_count: usize,
    error_count: usize,
    created: Vec<CreatedOut>,
    errors: Vec<RowError>,
}

#[derive(Clone, Serialize, ToSchema)]
struct CreatedOut {
    index: usize,
    miner_id: i64,
    sn: String,
}

/// A row of the batch that was not registered.
#[derive(Clone, Serialize, ToSchema)]
struct RowError {
    /// Its place in the batch, from 0.
    index: usize,
    sn: Option<String>,
    message: String,
}

#[utoipa::path(post, path = "/hosting/api/miners/batch", operation_id = "create_miners",
    request_body = CreateMinersBody, responses((status = 200, body = Envelope<BatchDone>)))]
async fn create_miners(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::BatchCreate>>,
    Body(body): Body<CreateMinersBody>,
) -> Result<Envelope<BatchDone>, ApiError> {
    if !(1..=BATCH_MAX).contains(&body.miners.len()) {
        return Err(ApiError::field("miners", format!("must list 1 to {BATCH_MAX} miners")));
    }
    // A number for each row, whether it will do or not: repeated, each has the number that it had.
    let count = u32::try_from(body.miners.len()).unwrap_or(u32::MAX);
    let (ready, mut errors) = checked(&app, &caller, body.miners).await?;
    let mut created = Vec::new();
    if !ready.is_empty() {
        let first = app.bus.allocate("miner", count, &caller.request.command()).await?;
        let registering = ready.into_iter().map(|row| register(&app, &caller, first, row));
        let registered: Vec<_> = stream::iter(registering).buffered(AT_ONCE).collect().await;
        for outcome in registered {
            match outcome {
                Ok(row) => created.push(row),
                Err(error) => errors.push(error),
            }
        }
        app.settled(&caller.request).await;
    }
    errors.sort_by_key(|error| error.index);
    batch_answer(created, errors)
}

struct ReadyRow {
    index: usize,
    registration: Registration,
    name: Name,
}

/// The rows that can be registered, and what is wrong with the others.
async fn checked(
    app: &Server,
    caller: &Caller,
    rows: Vec<serde_json::Value>,
) -> Result<(Vec<ReadyRow>, Vec<RowError>), ApiError> {
    let (mut ready, mut errors, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (index, row) in rows.into_iter().enumerate() {
        let sn = ["sn", "serial_number"].iter().find_map(|key| row.get(key)?.as_str()).map(str::to_owned);
        match checked_row(app, caller, row, &mut seen).await {
            Ok((registration, name)) => ready.push(ReadyRow { index, registration, name }),
            Err(error) if error.kind.status().is_client_error() => {
                errors.push(RowError { index, sn, message: error.message });
            }
            Err(error) => return Err(error),
        }
    }
    Ok((ready, errors))
}

async fn checked_row(
    app: &Server,
    caller: &Caller,
    row: serde_json::Value,
    seen: &mut BTreeSet<String>,
) -> Result<(Registration, Name), ApiError> {
    if !row.is_object() {
        return Err(ApiError::field("", "must be an object"));
    }
    let row: CreateMinerBody = serde_json::from_value(row).map_err(|error| ApiError::field("", error.to_string()))?;
    let registration = Registration::from(row);
    let name = registrable(app, caller, &registration).await?;
    if !seen.insert(registration.serial_number.to_lowercase()) {
        return Err(ApiError::field("sn", "stands in this batch before"));
    }
    Ok((registration, name))
}

async fn register(app: &Server, caller: &Caller, first: i64, row: ReadyRow) -> Result<CreatedOut, RowError> {
    let ReadyRow { index, registration, name } = row;
    let sn = registration.serial_number.clone();
    let id = first + i64::try_from(index).unwrap_or(i64::MAX);
    let register = MinerCommand::Register { id, registration };
    match name.give::<Miner>(app, &caller.request, &format!("miner/{index}"), (id, register)).await {
        Ok(_) => Ok(CreatedOut { index, miner_id: id, sn }),
        Err(error) => Err(RowError { index, sn: Some(sn), message: error.message }),
    }
}

fn batch_answer(created: Vec<CreatedOut>, errors: Vec<RowError>) -> Result<Envelope<BatchDone>, ApiError> {
    if created.is_empty() {
        let refused =
            ApiError::new(ErrorKind::Invalid, "miner.nothing_registered", "no miner of the batch was created");
        let errors_json = serde_json::to_value(&errors).map_err(|error| ApiError::internal(&error))?;
        return Err(refused.with("created_count", 0).with("error_count", errors.len()).with("errors", errors_json));
    }
    let message = format!("{} miners created, {} refused", created.len(), errors.len());
    Ok(envelope::ok(BatchDone { message, created_count: created.len(), error_count: errors.len(), created, errors }))
}
