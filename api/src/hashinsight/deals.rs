//! Deals: what customers may buy, for how much, and how likely.

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::NaiveDate;
use domain::crm::change::Change;
use domain::crm::deal::{Deal, DealChanges, DealCommand, DealDetails, DealStage};
use domain::identity::role::Module;
use domain::metadata::TenantId;
use projections::Paging;
use projections::crm::{Visible, customers, deals};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::crm::{one_of, patch, text, visible};
use super::envelope::{self, Envelope, Pagination};
use crate::amount::Amount;
use crate::app::{App, Server};
use crate::as_of::Lists;
use crate::auth::{Caller, Full, Permitted, Read, module};
use crate::error::{ApiError, ErrorKind};
use crate::extract::{Body, Path, Query};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_deals)).routes(routes!(create_deal)).routes(routes!(change_deal))
}

#[derive(Deserialize, ToSchema)]
struct CreateDealBody {
    title: String,
    customer_id: i64,
    amount: Amount,
    /// `prospecting` when it is left out.
    stage: Option<String>,
    /// In percent; the default of the stage when it is left out.
    probability: Option<i64>,
    #[serde(alias = "expected_close_date")]
    expected_close: Option<NaiveDate>,
}

#[derive(Serialize, ToSchema)]
struct DealDone {
    deal_id: i64,
    message: &'static str,
}

#[utoipa::path(post, path = "/crm/api/deal", operation_id = "create_deal", request_body = CreateDealBody,
    responses((status = 200, body = Envelope<DealDone>)))]
async fn create_deal(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::CrmTransaction>>,
    Body(body): Body<CreateDealBody>,
) -> Result<Envelope<DealDone>, ApiError> {
    let stage = body.stage.as_deref().map(deal_stage).transpose()?.unwrap_or_default();
    let probability = body.probability.map(percent).transpose()?;
    customer_exists(&app, caller.user.tenant, body.customer_id).await?;
    let details = DealDetails {
        title: body.title,
        customer_id: body.customer_id,
        amount: body.amount.0,
        expected_close: body.expected_close,
    };
    let create = |id| DealCommand::Create { id, details: details.clone(), stage, probability, from_lead: None };
    let deal_id = app.create::<Deal>(&caller.request, create).await?;
    Ok(envelope::ok(DealDone { deal_id, message: "Deal created successfully" }))
}

async fn customer_exists(app: &Server, tenant: TenantId, id: i64) -> Result<(), ApiError> {
    match customers::find(app.models.read().await, tenant, id).await? {
        Some(_) => Ok(()),
        None => Err(ApiError::new(ErrorKind::NotFound, "customer.not_found", format!("there is no customer {id}"))),
    }
}

#[derive(Deserialize, ToSchema)]
struct ChangeDealBody {
    title: Option<String>,
    amount: Option<Amount>,
    stage: Option<String>,
    /// In percent; `null` returns it to the default of the stage.
    #[serde(default, deserialize_with = "patch")]
    #[schema(value_type = Option<i64>)]
    probability: Change<i64>,
    #[serde(default, deserialize_with = "patch", alias = "expected_close_date")]
    #[schema(value_type = Option<NaiveDate>)]
    expected_close: Change<NaiveDate>,
    /// The customer of the deal, when a client sends the whole deal back.
    customer_id: Option<i64>,
}

#[utoipa::path(put, path = "/crm/api/deal/{deal_id}", operation_id = "change_deal", request_body = ChangeDealBody,
    params(("deal_id" = i64, Path)), responses((status = 200, body = Envelope<DealDone>)))]
async fn change_deal(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::CrmTransaction>>,
    Path(deal_id): Path<i64>,
    Body(body): Body<ChangeDealBody>,
) -> Result<Envelope<DealDone>, ApiError> {
    if let Some(customer_id) = body.customer_id {
        belongs_to(&app, caller.user.tenant, deal_id, customer_id).await?;
    }
    let change = DealCommand::Change { changes: body.try_into()? };
    app.change::<Deal>(&caller.request, &deal_id.to_string(), change).await?;
    Ok(envelope::ok(DealDone { deal_id, message: "Deal updated successfully" }))
}

/// A deal stays with its customer.
async fn belongs_to(app: &Server, tenant: TenantId, id: i64, customer_id: i64) -> Result<(), ApiError> {
    match deals::find(app.models.read().await, tenant, id).await? {
        Some(deal) if deal.customer_id != customer_id => {
            let message = format!("the deal belongs to customer {}, which does not change", deal.customer_id);
            Err(ApiError::field("customer_id", message))
        }
        Some(_) | None => Ok(()),
    }
}

#[derive(Deserialize)]
struct DealsQuery {
    stage: Option<String>,
    customer_id: Option<i64>,
    page: Option<u64>,
    per_page: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct DealOut {
    id: i64,
    title: String,
    customer_id: i64,
    customer_name: Option<String>,
    amount: Amount,
    stage: String,
    probability: i32,
    expected_close: Option<NaiveDate>,
    /// The won lead that brought the deal.
    lead_id: Option<i64>,
}

#[derive(Serialize, ToSchema)]
struct DealsOut {
    deals: Vec<DealOut>,
    pagination: Pagination,
}

#[utoipa::path(get, path = "/crm/api/deals", operation_id = "list_deals",
    params(("page" = Option<u64>, Query), ("per_page" = Option<u64>, Query), ("stage" = Option<String>, Query), ("customer_id" = Option<i64>, Query), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = Envelope<DealsOut>)))]
async fn list_deals(
    Permitted { caller, .. }: Permitted<Read<module::CrmTransaction>>,
    lists: Lists,
    Query(query): Query<DealsQuery>,
) -> Result<Envelope<DealsOut>, ApiError> {
    let stage = text(query.stage).as_deref().map(deal_stage).transpose()?;
    let filter = deals::Filter { only_of: caller.only_of(), stage, customer_id: query.customer_id };
    let paging = Paging::new(query.page, query.per_page, 50, 100);
    let db = lists.of(&["customers", "deals"]).await?;
    let page = deals::list(&db, visible_deals(&caller), filter, paging).await?;
    let names = customers::names(&db, caller.user.tenant, page.rows.iter().map(|deal| deal.customer_id)).await?;
    let pagination = Pagination::of(&page);
    let deals = page.rows.into_iter().map(|deal| shown(deal, &names)).collect();
    Ok(envelope::ok(DealsOut { deals, pagination }))
}

/// The people of a customer see that customer's deals, whoever entered them.
fn visible_deals(caller: &Caller) -> Visible {
    match caller.only_of() {
        Some(_) => Visible::Tenant(caller.user.tenant),
        None => visible(caller, Module::CrmTransaction),
    }
}

fn deal_stage(word: &str) -> Result<DealStage, ApiError> {
    let parsed = DealStage::parse(&word.to_ascii_lowercase());
    one_of("stage", word, parsed, DealStage::ALL.map(DealStage::as_str))
}

fn percent(probability: i64) -> Result<u8, ApiError> {
    u8::try_from(probability).map_err(|_| ApiError::field("probability", "must be between 0 and 100"))
}

impl TryFrom<ChangeDealBody> for DealChanges {
    type Error = ApiError;

    fn try_from(body: ChangeDealBody) -> Result<Self, ApiError> {
        let probability = match body.probability {
            Change::Keep => Change::Keep,
            Change::Clear => Change::Clear,
            Change::Set(probability) => Change::Set(percent(probability)?),
        };
        Ok(Self {
            title: body.title,
            amount: body.amount.map(|amount| amount.0),
            expected_close: body.expected_close,
            probability,
            stage: body.stage.as_deref().map(deal_stage).transpose()?,
        })
    }
}

fn shown(row: deals::Model, names: &BTreeMap<i64, String>) -> DealOut {
    DealOut {
        id: row.id,
        title: row.title,
        customer_id: row.customer_id,
        customer_name: names.get(&row.customer_id).cloned(),
        amount: row.amount.into(),
        stage: row.stage,
        probability: row.probability,
        expected_close: row.expected_close,
        lead_id: row.lead_id,
    }
}
