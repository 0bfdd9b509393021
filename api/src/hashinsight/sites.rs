//! Hosting sites.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::hosting::site::{Site, SiteChanges, SiteCommand, SiteDetails, SiteStatus, check_slug};
use domain::hosting::unique_name::NameOf;
use projections::hosting::miners::{self, Filter, MinerStatus};
use projections::hosting::sites;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::crm::{one_of, text};
use super::envelope::{self, Envelope};
use super::unique_names::Name;
use crate::amount::Amount;
use crate::app::{App, Server};
use crate::as_of::Lists;
use crate::auth::{Full, Permitted, Read, module};
use crate::error::ApiError;
use crate::extract::{Body, Path};

const WATTS_A_MEGAWATT: f64 = 1e6;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_sites, create_site)).routes(routes!(get_site, change_site))
}

#[derive(Serialize, ToSchema)]
struct SiteOut {
    id: i64,
    name: String,
    slug: String,
    location: String,
    status: String,
    capacity_mw: f64,
    /// What the active devices draw by the figures they were registered with.
    used_capacity_mw: f64,
    available_capacity_mw: f64,
    /// In percent.
    utilization_rate: f64,
    /// Where `used_capacity_mw` comes from: not measured.
    power_source: &'static str,
    device_count: i64,
    devices_count: i64,
    active_devices: i64,
    /// In US dollars per kilowatt-hour; null when nobody said it.
    electricity_rate: Option<Amount>,
    operator_name: Option<String>,
    contact_email: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
struct SitesOut {
    sites: Vec<SiteOut>,
}

#[utoipa::path(get, path = "/hosting/api/sites", operation_id = "list_sites",
    params(("as_of" = Option<String>, Query)), responses((status = 200, body = Envelope<SitesOut>)))]
async fn list_sites(
    lists: Lists,
    Permitted { caller, .. }: Permitted<Read<module::HostingSiteMgmt>>,
) -> Result<Envelope<SitesOut>, ApiError> {
    let db = lists.of(&["sites"]).await?;
    let rows = sites::list(&db, caller.user.tenant).await?;
    Ok(envelope::ok(SitesOut { sites: rows.into_iter().map(SiteOut::from).collect() }))
}

#[derive(Deserialize, ToSchema)]
struct CreateSiteBody {
    name: String,
    slug: String,
    location: String,
    capacity_mw: f64,
    electricity_rate: Option<Amount>,
    operator_name: Option<String>,
    contact_email: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct SiteDone {
    site_id: i64,
    message: &'static str,
}

#[utoipa::path(post, path = "/hosting/api/sites", operation_id = "create_site", request_body = CreateSiteBody,
    responses((status = 201, body = Envelope<SiteDone>)))]
async fn create_site(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::HostingSiteMgmt>>,
    Body(body): Body<CreateSiteBody>,
) -> Result<(StatusCode, Envelope<SiteDone>), ApiError> {
    let (slug, details) = (body.slug.clone(), SiteDetails::from(body));
    check_slug(&slug).and_then(|()| details.check()).map_err(commands::CommandError::Refused)?;
    let name = Name::free(&app, &caller.request, NameOf::Site, &slug).await?;
    let id = app.bus.allocate("site", 1, &caller.request.command()).await?;
    let receipt =
        name.give::<Site>(&app, &caller.request, "site", (id, SiteCommand::Create { id, slug, details })).await?;
    app.settled(&caller.request).await;
    caller.request.version(receipt.sequence);
    let done = SiteDone { site_id: id, message: "Site created successfully" };
    Ok((StatusCode::CREATED, envelope::ok(done)))
}

#[derive(Serialize, ToSchema)]
struct OneSiteOut {
    site: SiteDetailOut,
}

#[derive(Serialize, ToSchema)]
struct SiteDetailOut {
    #[serde(flatten)]
    site: SiteOut,
    miners_stats: Vec<StatusCount>,
}

#[derive(Serialize, ToSchema)]
struct StatusCount {
    status: &'static str,
    count: u64,
}

#[utoipa::path(get, path = "/hosting/api/sites/{site_id}", operation_id = "get_site",
    params(("site_id" = i64, Path), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = Envelope<OneSiteOut>)))]
async fn get_site(
    lists: Lists,
    Permitted { caller, .. }: Permitted<Read<module::HostingSiteMgmt>>,
    Path(site_id): Path<i64>,
) -> Result<Envelope<OneSiteOut>, ApiError> {
    let db = lists.of(&["sites", "miners"]).await?;
    let tenant = caller.user.tenant;
    let site = sites::find(&db, tenant, site_id).await?.ok_or_else(ApiError::not_found)?;
    let mut miners_stats = Vec::new();
    for status in [MinerStatus::Active, MinerStatus::Inactive, MinerStatus::Maintenance] {
        let filter = Filter { site_id: Some(site_id), status: Some(status), ..Filter::default() };
        miners_stats.push(StatusCount { status: status.word(), count: miners::count(&db, tenant, filter).await? });
    }
    caller.request.version(site.version.cast_unsigned());
    Ok(envelope::ok(OneSiteOut { site: SiteDetailOut { site: site.into(), miners_stats } }))
}

/// What is left out stays as it is.
#[derive(Deserialize, ToSchema)]
struct ChangeSiteBody {
    name: Option<String>,
    slug: Option<String>,
    location: Option<String>,
    capacity_mw: Option<f64>,
    electricity_rate: Option<Amount>,
    operator_name: Option<String>,
    contact_email: Option<String>,
    /// `online`, `offline` or `maintenance`.
    status: Option<String>,
}

#[utoipa::path(put, path = "/hosting/api/sites/{site_id}", operation_id = "change_site", request_body = ChangeSiteBody,
    params(("site_id" = i64, Path)), responses((status = 200, body = Envelope<SiteDone>)))]
async fn change_site(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::HostingSiteMgmt>>,
    Path(site_id): Path<i64>,
    Body(body): Body<ChangeSiteBody>,
) -> Result<Envelope<SiteDone>, ApiError> {
    let site = known_site(&app, caller.user.tenant, site_id).await?;
    if body.slug.as_ref().is_some_and(|slug| *slug != site.slug) {
        return Err(ApiError::field("slug", "a site keeps its slug"));
    }
    let status = body.status.as_deref().map(site_status).transpose()?;
    let id = site_id.to_string();
    let changes = SiteChanges::from(body);
    app.change::<Site>(&caller.request, &id, SiteCommand::Change { changes }).await?;
    if let Some(status) = status {
        let receipt = app.execute::<Site>(&caller.request, &id, SiteCommand::ChangeStatus { status }).await?;
        caller.request.version(receipt.sequence);
    }
    Ok(envelope::ok(SiteDone { site_id, message: "Site updated successfully" }))
}

/// A site of the caller's tenant, as it is now.
///
/// # Errors
/// That there is none, or that the read models do not answer.
pub(super) async fn known_site(
    app: &Server,
    tenant: domain::metadata::TenantId,
    id: i64,
) -> Result<sites::Model, ApiError> {
    sites::find(app.models.read().await, tenant, id).await?.ok_or_else(ApiError::not_found)
}

fn site_status(word: &str) -> Result<SiteStatus, ApiError> {
    one_of("status", word, SiteStatus::of_word(word), ["online", "offline", "maintenance"])
}

impl From<CreateSiteBody> for SiteDetails {
    fn from(body: CreateSiteBody) -> Self {
        Self {
            name: body.name,
            location: body.location,
            capacity_mw: body.capacity_mw,
            electricity_usd_per_kwh: body.electricity_rate.map(|rate| rate.0),
            operator_name: text(body.operator_name),
            contact_email: text(body.contact_email),
        }
    }
}

impl From<ChangeSiteBody> for SiteChanges {
    fn from(body: ChangeSiteBody) -> Self {
        Self {
            name: body.name,
            location: body.location,
            capacity_mw: body.capacity_mw,
            electricity_usd_per_kwh: body.electricity_rate.map(|rate| rate.0),
            operator_name: text(body.operator_name),
            contact_email: text(body.contact_email),
        }
    }
}

impl From<sites::Model> for SiteOut {
    fn from(row: sites::Model) -> Self {
        let used_capacity_mw = row.used_power_w / WATTS_A_MEGAWATT;
        Self {
            id: row.id,
            name: row.name,
            slug: row.slug,
            location: row.location,
            status: row.status,
            capacity_mw: row.capacity_mw,
            used_capacity_mw,
            available_capacity_mw: row.capacity_mw - used_capacity_mw,
            utilization_rate: (used_capacity_mw / row.capacity_mw * 10_000.0).round() / 100.0,
            power_source: "registered",
            device_count: row.device_count,
            devices_count: row.device_count,
            active_devices: row.active_devices,
            electricity_rate: row.electricity_usd_per_kwh.map(Amount::from),
            operator_name: row.operator_name,
            contact_email: row.contact_email,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
