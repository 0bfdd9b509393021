//! Leads: who may become a customer, and how far each has come.

use axum::extract::State;
use chrono::NaiveDate;
use domain::crm::change::Change;
use domain::crm::lead::{Lead, LeadChanges, LeadCommand, LeadDetails, LeadStatus};
use domain::identity::role::Module;
use domain::metadata::TenantId;
use projections::Paging;
use projections::crm::{customers, deals, leads};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::crm::{one_of, patch, text, text_patch, visible};
use super::envelope::{self, Envelope};
use crate::amount::Amount;
use crate::app::{App, Server};
use crate::as_of::Lists;
use crate::auth::{Caller, Full, Permitted, module};
use crate::error::ApiError;
use crate::extract::{Body, Path, Query};

/// The document gives the list no pages: without `page` and `per_page` this many leads come at once.
const PER_PAGE_MAX: u64 = 1_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_leads))
        .routes(routes!(create_lead))
        .routes(routes!(change_lead))
        .routes(routes!(change_lead_status))
}

#[derive(Deserialize, ToSchema)]
struct CreateLeadBody {
    name: String,
    email: Option<String>,
    phone: Option<String>,
    company: Option<String>,
    source: Option<String>,
    #[serde(alias = "next_followup")]
    next_follow_up: Option<NaiveDate>,
    estimated_value: Option<Amount>,
    interest_level: Option<String>,
    notes: Option<String>,
    /// A new lead is `NEW`.
    status: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct LeadDone {
    lead_id: i64,
    message: &'static str,
}

#[utoipa::path(post, path = "/crm/api/lead", operation_id = "create_lead", request_body = CreateLeadBody,
    responses((status = 200, body = Envelope<LeadDone>)))]
async fn create_lead(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::CrmCustomerMgmt>>,
    Body(body): Body<CreateLeadBody>,
) -> Result<Envelope<LeadDone>, ApiError> {
    if body.status.as_deref().map(lead_status).transpose()?.is_some_and(|status| status != LeadStatus::New) {
        return Err(ApiError::field("status", "a new lead is NEW"));
    }
    let details = LeadDetails::from(body);
    let create = |id| LeadCommand::Create { id, details: details.clone() };
    let lead_id = app.create::<Lead>(&caller.request, create).await?;
    Ok(envelope::ok(LeadDone { lead_id, message: "Lead created successfully" }))
}

#[derive(Deserialize, ToSchema)]
struct ChangeLeadBody {
    name: Option<String>,
    #[serde(default, deserialize_with = "patch")]
    #[schema(value_type = Option<String>)]
    email: Change<String>,
    #[serde(default, deserialize_with = "patch")]
    #[schema(value_type = Option<String>)]
    phone: Change<String>,
    #[serde(default, deserialize_with = "patch")]
    #[schema(value_type = Option<String>)]
    company: Change<String>,
    #[serde(default, deserialize_with = "patch")]
    #[schema(value_type = Option<String>)]
    source: Change<String>,
    #[serde(default, deserialize_with = "patch", alias = "next_followup")]
    #[schema(value_type = Option<NaiveDate>)]
    next_follow_up: Change<NaiveDate>,
    #[serde(default, deserialize_with = "patch")]
    #[schema(value_type = Option<f64>)]
    estimated_value: Change<Amount>,
    #[serde(default, deserialize_with = "patch")]
    #[schema(value_type = Option<String>)]
    interest_level: Change<String>,
    #[serde(default, deserialize_with = "patch")]
    #[schema(value_type = Option<String>)]
    notes: Change<String>,
    /// The present status, when a client sends the whole lead back.
    status: Option<String>,
}

#[utoipa::path(put, path = "/crm/api/lead/{lead_id}", operation_id = "change_lead", request_body = ChangeLeadBody,
    params(("lead_id" = i64, Path)), responses((status = 200, body = Envelope<LeadDone>)))]
async fn change_lead(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::CrmCustomerMgmt>>,
    Path(lead_id): Path<i64>,
    Body(body): Body<ChangeLeadBody>,
) -> Result<Envelope<LeadDone>, ApiError> {
    if let Some(status) = &body.status {
        is_present_status(&app, caller.user.tenant, lead_id, status).await?;
    }
    let change = LeadCommand::Change { changes: body.into() };
    app.change::<Lead>(&caller.request, &lead_id.to_string(), change).await?;
    Ok(envelope::ok(LeadDone { lead_id, message: "Lead updated successfully" }))
}

/// A status is not changed in passing: that has rules of its own.
async fn is_present_status(app: &Server, tenant: TenantId, id: i64, status: &str) -> Result<(), ApiError> {
    let said = lead_status(status)?;
    match leads::find(app.models.read().await, tenant, id).await? {
        Some(lead) if lead.status != said.as_str() => {
            let present = lead.status;
            let message = format!("the lead is {present}; POST /crm/api/lead/{id}/status changes that");
            Err(ApiError::field("status", message))
        }
        Some(_) | None => Ok(()),
    }
}

#[derive(Deserialize, ToSchema)]
struct ChangeStatusBody {
    status: String,
    /// Goes with `LOST` only.
    lost_reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct StatusOut {
    lead_id: i64,
    status: &'static str,
    /// What a won lead became.
    customer_id: Option<i64>,
    deal_id: Option<i64>,
    message: &'static str,
}

#[utoipa::path(post, path = "/crm/api/lead/{lead_id}/status", operation_id = "change_lead_status",
    params(("lead_id" = i64, Path)), request_body = ChangeStatusBody,
    responses((status = 200, body = Envelope<StatusOut>)))]
async fn change_lead_status(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::CrmCustomerMgmt>>,
    Path(lead_id): Path<i64>,
    Body(body): Body<ChangeStatusBody>,
) -> Result<Envelope<StatusOut>, ApiError> {
    let to = lead_status(&body.status)?;
    let change = LeadCommand::ChangeStatus { to, lost_reason: text(body.lost_reason) };
    app.change::<Lead>(&caller.request, &lead_id.to_string(), change).await?;
    let (db, tenant) = (app.models.read().await, caller.user.tenant);
    let (customer, deal) = match to {
        LeadStatus::Won => (customers::of_lead(db, tenant, lead_id).await?, deals::of_lead(db, tenant, lead_id).await?),
        LeadStatus::New
        | LeadStatus::Contacted
        | LeadStatus::Qualified
        | LeadStatus::Negotiation
        | LeadStatus::Lost => (None, None),
    };
    Ok(envelope::ok(StatusOut {
        lead_id,
        status: to.as_str(),
        customer_id: customer.map(|customer| customer.id),
        deal_id: deal.map(|deal| deal.id),
        message: "Lead status updated successfully",
    }))
}

#[derive(Deserialize)]
struct LeadsQuery {
    status: Option<String>,
    page: Option<u64>,
    per_page: Option<u64>,
}

#[derive(Clone, Serialize, ToSchema)]
struct LeadOut {
    id: i64,
    name: String,
    email: Option<String>,
    phone: Option<String>,
    company: Option<String>,
    status: String,
    source: Option<String>,
    next_follow_up: Option<NaiveDate>,
    /// The same under the name that real clients read.
    next_followup: Option<NaiveDate>,
    estimated_value: Option<Amount>,
    interest_level: Option<String>,
    notes: Option<String>,
    lost_reason: Option<String>,
    created_date: NaiveDate,
    /// Nothing records contacts yet, so this is null.
    last_contact: Option<NaiveDate>,
}

#[derive(Serialize, ToSchema)]
struct LeadsOut {
    leads: Vec<LeadOut>,
    /// The same under the name that real clients read.
    data: Vec<LeadOut>,
    total: u64,
    page: u64,
    per_page: u64,
}

#[utoipa::path(get, path = "/crm/api/leads", operation_id = "list_leads",
    params(("status" = Option<String>, Query), ("page" = Option<u64>, Query), ("per_page" = Option<u64>, Query), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = Envelope<LeadsOut>)))]
async fn list_leads(
    caller: Caller,
    lists: Lists,
    Query(query): Query<LeadsQuery>,
) -> Result<Envelope<LeadsOut>, ApiError> {
    let status = text(query.status).as_deref().map(lead_status).transpose()?;
    let paging = Paging::new(query.page, query.per_page, PER_PAGE_MAX, PER_PAGE_MAX);
    let db = lists.of(&["leads"]).await?;
    let page = leads::list(&db, visible(&caller, Module::CrmCustomerView), status, paging).await?;
    let leads: Vec<LeadOut> = page.rows.into_iter().map(LeadOut::from).collect();
    let (number, per_page) = (page.paging.page, page.paging.per_page);
    Ok(envelope::ok(LeadsOut { data: leads.clone(), leads, total: page.total, page: number, per_page }))
}

fn lead_status(word: &str) -> Result<LeadStatus, ApiError> {
    let parsed = LeadStatus::parse(&word.to_ascii_uppercase());
    one_of("status", word, parsed, LeadStatus::ALL.map(LeadStatus::as_str))
}

impl From<CreateLeadBody> for LeadDetails {
    fn from(body: CreateLeadBody) -> Self {
        Self {
            name: body.name,
            email: text(body.email),
            phone: text(body.phone),
            company: text(body.company),
            source: text(body.source),
            next_follow_up: body.next_follow_up,
            estimated_value: body.estimated_value.map(|value| value.0),
            interest_level: text(body.interest_level),
            notes: text(body.notes),
        }
    }
}

impl From<ChangeLeadBody> for LeadChanges {
    fn from(body: ChangeLeadBody) -> Self {
        Self {
            name: body.name,
            email: text_patch(body.email),
            phone: text_patch(body.phone),
            company: text_patch(body.company),
            source: text_patch(body.source),
            next_follow_up: body.next_follow_up,
            estimated_value: body.estimated_value.map(|value| value.0),
            interest_level: text_patch(body.interest_level),
            notes: text_patch(body.notes),
        }
    }
}

impl From<leads::Model> for LeadOut {
    fn from(row: leads::Model) -> Self {
        Self {
            id: row.id,
            name: row.name,
            email: row.email,
            phone: row.phone,
            company: row.company,
            status: row.status,
            source: row.source,
            next_follow_up: row.next_follow_up,
            next_followup: row.next_follow_up,
            estimated_value: row.estimated_value.map(Amount::from),
            interest_level: row.interest_level,
            notes: row.notes,
            lost_reason: row.lost_reason,
            created_date: row.created_at.date_naive(),
            last_contact: None,
        }
    }
}
