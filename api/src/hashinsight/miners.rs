//! Miners: registered one by one or in batches, and listed.

mod batch;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use axum::extract::State;
use commands::CommandError;
use domain::hosting::miner::registration::Registration;
use domain::hosting::miner::{Miner, MinerCommand};
use domain::hosting::unique_name::NameOf;
use domain::metadata::TenantId;
use projections::Paging;
use projections::crm::customers;
use projections::hosting::miners::{self, Filter, MinerStatus};
use projections::hosting::sites;
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::shown::shown;
pub(super) use self::shown::{MinerOut, hashrate, model_name, power};
use super::crm::one_of;
use super::envelope::{self, Envelope, Pagination};
use super::unique_names::Name;
use crate::app::{App, Server};
use crate::as_of::Lists;
use crate::auth::{Caller, Full, Permitted, Read, module};
use crate::error::ApiError;
use crate::extract::{Body, Query};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_miners)).routes(routes!(create_miner)).merge(batch::routes())
}

#[derive(Deserialize)]
struct MinersQuery {
    site_id: Option<i64>,
    customer_id: Option<i64>,
    status: Option<String>,
    model_id: Option<i64>,
    page: Option<u64>,
    per_page: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct MinersOut {
    miners: Vec<MinerOut>,
    counts: MinerCounts,
    pagination: Pagination,
}

/// Of all miners that the filter lets through, whatever their status.
#[derive(Serialize, ToSchema)]
struct MinerCounts {
    total: u64,
    active: u64,
    inactive: u64,
    maintenance: u64,
    /// Nobody has to approve miners.
    pending: u64,
}

#[utoipa::path(get, path = "/hosting/api/miners", operation_id = "list_miners",
    params(("site_id" = Option<i64>, Query), ("customer_id" = Option<i64>, Query), ("status" = Option<String>, Query),
        ("model_id" = Option<i64>, Query), ("page" = Option<u64>, Query), ("per_page" = Option<u64>, Query),
        ("as_of" = Option<String>, Query)),
    responses((status = 200, body = Envelope<MinersOut>)))]
async fn list_miners(
    lists: Lists,
    Permitted { caller, .. }: Permitted<Read<module::HostingStatusMonitor>>,
    Query(query): Query<MinersQuery>,
) -> Result<Envelope<MinersOut>, ApiError> {
    let status = query.status.as_deref().map(miner_status).transpose()?;
    let whole = Filter {
        only_of: caller.only_of(),
        site_id: query.site_id,
        customer_id: query.customer_id,
        model_id: query.model_id,
        status: None,
    };
    let paging = Paging::new(query.page, query.per_page, 20, 100);
    let db = lists.of(&["miners", "sites"]).await?;
    let tenant = caller.user.tenant;
    let page = miners::list(&db, tenant, Filter { status, ..whole }, paging).await?;
    let counts = counts(&db, tenant, whole).await?;
    let pagination = Pagination::of(&page);
    let names = site_names(&db, tenant, page.rows.iter().map(|row| row.site_id)).await?;
    let shown = page.rows.into_iter().map(|row| shown(row, &names)).collect();
    Ok(envelope::ok(MinersOut { miners: shown, counts, pagination }))
}

async fn counts(db: &impl ConnectionTrait, tenant: TenantId, whole: Filter<'_>) -> Result<MinerCounts, ApiError> {
    let of = async |status| miners::count(db, tenant, Filter { status: Some(status), ..whole }).await;
    let (active, inactive) = (of(MinerStatus::Active).await?, of(MinerStatus::Inactive).await?);
    let maintenance = of(MinerStatus::Maintenance).await?;
    Ok(MinerCounts { total: active + inactive + maintenance, active, inactive, maintenance, pending: 0 })
}

fn miner_status(word: &str) -> Result<MinerStatus, ApiError> {
    one_of("status", word, MinerStatus::of_word(word), ["active", "inactive", "maintenance"])
}

/// A miner as it is registered. Both the document's names and those of older clients are read.
#[derive(Deserialize, ToSchema)]
struct CreateMinerBody {
    #[serde(alias = "serial_number")]
    sn: String,
    #[serde(alias = "miner_model_id")]
    model_id: i64,
    site_id: i64,
    customer_id: Option<i64>,
    #[schema(value_type = Option<String>)]
    ip_address: Option<IpAddr>,
    location_slot: Option<String>,
    /// In TH/s, when it differs from the plate.
    #[serde(alias = "hashrate_ths")]
    actual_hashrate: Option<f64>,
    /// In watts, when it differs from the plate.
    #[serde(alias = "power_w")]
    actual_power: Option<f64>,
}

#[derive(Serialize, ToSchema)]
struct MinerDone {
    message: &'static str,
    miner_id: i64,
    miner: MinerOut,
}

#[utoipa::path(post, path = "/hosting/api/miners/create", operation_id = "create_miner",
    request_body = CreateMinerBody, responses((status = 200, body = Envelope<MinerDone>)))]
async fn create_miner(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::HostingSiteMgmt>>,
    Body(body): Body<CreateMinerBody>,
) -> Result<Envelope<MinerDone>, ApiError> {
    let registration = Registration::from(body);
    let name = registrable(&app, &caller, &registration).await?;
    let id = app.bus.allocate("miner", 1, &caller.request.command()).await?;
    name.give::<Miner>(&app, &caller.request, "miner", (id, MinerCommand::Register { id, registration })).await?;
    app.settled(&caller.request).await;
    let miner = known_miner(&app, caller.user.tenant, id).await?;
    Ok(envelope::ok(MinerDone { message: "Miner created successfully", miner_id: id, miner }))
}

/// The serial number of a miner that can be registered.
async fn registrable(app: &Server, caller: &Caller, registration: &Registration) -> Result<Name, ApiError> {
    registration.check().map_err(CommandError::Refused)?;
    let (db, tenant) = (app.models.read().await, caller.user.tenant);
    if sites::find(db, tenant, registration.site_id).await?.is_none() {
        return Err(ApiError::field("site_id", "there is no such site"));
    }
    if let Some(customer_id) = registration.customer_id
        && customers::find(db, tenant, customer_id).await?.is_none()
    {
        return Err(ApiError::field("customer_id", "there is no such customer"));
    }
    Name::free(app, &caller.request, NameOf::Miner, &registration.serial_number).await
}

impl From<CreateMinerBody> for Registration {
    fn from(body: CreateMinerBody) -> Self {
        Self {
            serial_number: body.sn.trim().to_owned(),
            model_id: body.model_id,
            site_id: body.site_id,
            customer_id: body.customer_id,
            ip_address: body.ip_address,
            location_slot: super::crm::text(body.location_slot),
            hashrate_ths: body.actual_hashrate,
            power_w: body.actual_power,
        }
    }
}

/// A miner of the caller's tenant, as it is now.
///
/// # Errors
/// That there is none, or that the read models do not answer.
pub(super) async fn known_miner(app: &Server, tenant: TenantId, id: i64) -> Result<MinerOut, ApiError> {
    let db = app.models.read().await;
    let row = miners::find(db, tenant, id).await?.ok_or_else(ApiError::not_found)?;
    let names = site_names(db, tenant, [row.site_id]).await?;
    Ok(shown(row, &names))
}

async fn site_names(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    ids: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, String>, ApiError> {
    let ids: BTreeSet<i64> = ids.into_iter().collect();
    Ok(sites::among(db, tenant, ids).await?.into_iter().map(|site| (site.id, site.name)).collect())
}
