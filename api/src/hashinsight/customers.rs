//! Customers.

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::NaiveDate;
use domain::crm::customer::{Customer, CustomerCommand, CustomerDetails};
use domain::identity::role::Module;
use projections::Paging;
use projections::crm::{customers, deals};
use projections::hosting::miners;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::crm::{text, visible};
use super::envelope::{self, Envelope};
use crate::amount::Amount;
use crate::app::App;
use crate::as_of::Lists;
use crate::auth::{Caller, Full, Permitted, module};
use crate::error::ApiError;
use crate::extract::{Body, Query};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_customers)).routes(routes!(create_customer))
}

#[derive(Deserialize, ToSchema)]
struct CreateCustomerBody {
    name: String,
    email: Option<String>,
    phone: Option<String>,
    company: Option<String>,
    address: Option<String>,
    customer_type: Option<String>,
    /// In megawatts.
    mining_capacity: Option<f64>,
    /// In US dollars per kilowatt-hour.
    electricity_cost: Option<Amount>,
}

#[derive(Serialize, ToSchema)]
struct CustomerDone {
    customer_id: i64,
    message: &'static str,
}

#[utoipa::path(post, path = "/crm/api/customer", operation_id = "create_customer", request_body = CreateCustomerBody,
    responses((status = 200, body = Envelope<CustomerDone>)))]
async fn create_customer(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::CrmCustomerMgmt>>,
    Body(body): Body<CreateCustomerBody>,
) -> Result<Envelope<CustomerDone>, ApiError> {
    let details = CustomerDetails::from(body);
    let create = |id| CustomerCommand::Create { id, details: details.clone(), from_lead: None };
    let customer_id = app.create::<Customer>(&caller.request, create).await?;
    Ok(envelope::ok(CustomerDone { customer_id, message: "Customer created successfully" }))
}

#[derive(Deserialize)]
struct CustomersQuery {
    page: Option<u64>,
    per_page: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct CustomerOut {
    id: i64,
    name: String,
    company: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    address: Option<String>,
    customer_type: Option<String>,
    /// In megawatts, as it was entered.
    mining_capacity: Option<f64>,
    join_date: NaiveDate,
    /// The sum of the customer's won deals.
    total_revenue: Amount,
    status: String,
    /// In US dollars per kilowatt-hour, as it was entered.
    electricity_cost: Option<Amount>,
    /// Miners that stand at sites in the customer's name.
    miners_count: i64,
    /// The won lead that became this customer.
    lead_id: Option<i64>,
}

#[derive(Serialize, ToSchema)]
struct CustomersOut {
    data: Vec<CustomerOut>,
    total: u64,
    page: u64,
    per_page: u64,
}

#[utoipa::path(get, path = "/crm/api/customers", operation_id = "list_customers",
    params(("page" = Option<u64>, Query), ("per_page" = Option<u64>, Query), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = Envelope<CustomersOut>)))]
async fn list_customers(
    caller: Caller,
    lists: Lists,
    Query(query): Query<CustomersQuery>,
) -> Result<Envelope<CustomersOut>, ApiError> {
    let paging = Paging::new(query.page, query.per_page, 50, 100);
    let db = lists.of(&["customers", "deals", "miners"]).await?;
    let page = customers::list(&db, visible(&caller, Module::CrmCustomerView), paging).await?;
    let (tenant, ids) = (caller.user.tenant, page.rows.iter().map(|customer| customer.id));
    let revenue = deals::revenue(&db, tenant, ids.clone()).await?;
    let miners = miners::count_by_customer(&db, tenant, ids).await?;
    Ok(envelope::ok(CustomersOut {
        data: page.rows.into_iter().map(|customer| shown(customer, &revenue, &miners)).collect(),
        total: page.total,
        page: page.paging.page,
        per_page: page.paging.per_page,
    }))
}

impl From<CreateCustomerBody> for CustomerDetails {
    fn from(body: CreateCustomerBody) -> Self {
        Self {
            name: body.name,
            email: text(body.email),
            phone: text(body.phone),
            company: text(body.company),
            address: text(body.address),
            customer_type: text(body.customer_type),
            mining_capacity_mw: body.mining_capacity,
            electricity_cost: body.electricity_cost.map(|cost| cost.0),
        }
    }
}

fn shown(row: customers::Model, revenue: &BTreeMap<i64, Decimal>, miners: &BTreeMap<i64, i64>) -> CustomerOut {
    CustomerOut {
        id: row.id,
        name: row.name,
        company: row.company,
        email: row.email,
        phone: row.phone,
        address: row.address,
        customer_type: row.customer_type,
        mining_capacity: row.mining_capacity_mw,
        join_date: row.created_at.date_naive(),
        total_revenue: Amount(revenue.get(&row.id).copied().unwrap_or_default()),
        status: row.status,
        electricity_cost: row.electricity_cost.map(Amount::from),
        miners_count: miners.get(&row.id).copied().unwrap_or_default(),
        lead_id: row.lead_id,
    }
}
