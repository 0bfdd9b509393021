//! The outbox: mails that were asked for. Where no mail server is configured, their texts are read here.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::gateways::mail;
use domain::identity::role::Role;
use domain::identity::user::user_id;
use domain::platform::mail::Mail;
use projections::Paging;
use projections::identity::users;
use projections::platform::mails;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::envelope::{self, Items};
use crate::app::{App, Server};
use crate::auth::{Admin, AuthUser};
use crate::error::ApiError;
use crate::extract::Query;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_outbox))
}

#[derive(Deserialize)]
struct OutboxQuery {
    page: Option<u64>,
    per_page: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct MailOut {
    id: String,
    to: String,
    subject: String,
    /// `waiting`, `sent`, `kept` or `failed`.
    status: String,
    /// Why no mail server took it.
    why: Option<String>,
    /// Of kept mails only. What is meant for an administrator is shown to owners only: it may be a way in.
    text: Option<String>,
    requested_at: DateTime<Utc>,
    settled_at: Option<DateTime<Utc>>,
}

#[utoipa::path(get, path = "/platform/v1/outbox", operation_id = "list_outbox",
    params(("page" = Option<u64>, Query), ("per_page" = Option<u64>, Query)),
    responses((status = 200, body = Items<MailOut>)))]
async fn list_outbox(
    State(app): State<App>,
    Admin(caller): Admin,
    Query(query): Query<OutboxQuery>,
) -> Result<Json<Items<MailOut>>, ApiError> {
    let paging = Paging::new(query.page, query.per_page, 20, 100);
    let page = mails::list(app.models.read().await, caller.user.tenant, paging).await?;
    let mut texts = Vec::with_capacity(page.rows.len());
    for row in &page.rows {
        texts.push(text(&app, &caller.user, row).await?);
    }
    let mut texts = texts.into_iter();
    let show = |row: mails::Model| MailOut {
        id: row.id,
        to: row.to_address,
        subject: row.subject,
        status: row.status,
        why: row.why,
        text: texts.next().flatten(),
        requested_at: row.requested_at,
        settled_at: row.settled_at,
    };
    Ok(Json(envelope::items(page, show)))
}

async fn text(server: &Server, reader: &AuthUser, row: &mails::Model) -> Result<Option<String>, ApiError> {
    if row.status != "kept" {
        return Ok(None);
    }
    if reader.role != Role::Owner {
        let addressee = users::find_anywhere(server.models.read().await, user_id(&row.to_address)).await?;
        let role = addressee.filter(|user| user.id != reader.id.to_string()).map(|user| user.role()).transpose()?;
        if role.is_some_and(Role::administers) {
            return Ok(None);
        }
    }
    let (mail, _) = server.bus.load::<Mail>(&row.id).await?;
    let Mail::Kept(letter) = mail else { return Ok(None) };
    Ok(mail::text(&server.secrets, &row.id, &letter))
}
