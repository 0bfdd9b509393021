//! Recharge codes: administrators issue them, users redeem them.

use std::iter;

use axum::extract::State;
use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use domain::billing::balance::{Balance, BalanceEvent};
use domain::billing::recharge_code::{CodeTerms, RechargeCode, RechargeCodeCommand, RechargeCodeEvent};
use domain::log::CommandKey;
use futures::{StreamExt, TryStreamExt, stream};
use projections::Paging;
use projections::billing::recharge_codes::{self, CodeStatus};
use projections::billing::{balances, recharge_records};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::envelope::{self, Envelope, ListEnvelope};
use super::whole_numbers::whole;
use crate::amount::Amount;
use crate::app::{App, Server};
use crate::as_of::Lists;
use crate::auth::{Admin, Caller};
use crate::error::{ApiError, ErrorKind};
use crate::extract::time::of_four_digits;
use crate::extract::{Body, Path, Query};
use crate::fault::Fault;
use crate::request::RequestContext;

/// The 32 symbols of Crockford's Base32: twelve of them are 60 bits. Codes are read aloud and typed, so what looks like
/// something else is read as that: `O` as 0, `I` and `L` as 1; `U` is none of them.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CODE_CHARS: usize = 12;
const BATCH_MAX: u32 = 1_000;
/// Events of balances after a redemption that are looked through for its credit: so many times so many.
const BALANCE_EVENTS_PER_PAGE: usize = 32;
const PAGES_LOOKED_AT_MAX: usize = 8;
/// Codes issued at the same time: they share the flushes of the log.
const AT_ONCE: usize = 128;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_codes, list_codes))
        .routes(routes!(deactivate_code))
        .routes(routes!(redeem_code))
        .routes(routes!(use_code))
        .routes(routes!(list_records))
}

#[derive(Deserialize, ToSchema)]
struct CreateCodesBody {
    amount: Amount,
    description: Option<String>,
    /// 1 when missing.
    #[serde(default, deserialize_with = "whole")]
    batch_size: Option<u32>,
    #[serde(default, deserialize_with = "of_four_digits")]
    expires_at: Option<DateTime<Utc>>,
    /// 1 when missing.
    #[serde(default, deserialize_with = "whole")]
    max_uses: Option<u32>,
}

#[derive(Serialize, ToSchema)]
struct CodesOut {
    codes: Vec<NewCodeOut>,
    total_generated: usize,
    total_amount: Amount,
}

#[derive(Serialize, ToSchema)]
struct NewCodeOut {
    id: String,
    /// Shown here and nowhere else.
    code: String,
    amount: Amount,
    expires_at: Option<DateTime<Utc>>,
}

#[utoipa::path(post, path = "/api/recharge/codes", operation_id = "create_codes", request_body = CreateCodesBody,
    responses((status = 200, body = Envelope<CodesOut>)))]
async fn create_codes(
    State(app): State<App>,
    Admin(caller): Admin,
    Body(body): Body<CreateCodesBody>,
) -> Result<Envelope<CodesOut>, ApiError> {
    let batch_size = body.batch_size.unwrap_or(1);
    let terms = CodeTerms {
        amount: body.amount.0,
        description: body.description,
        expires_at: body.expires_at,
        max_uses: body.max_uses.unwrap_or(1),
    };
    let wrong = ApiError::of_refusals(terms.objections(app.clock().now()));
    if !(1..=BATCH_MAX).contains(&batch_size) {
        let of_size = ApiError::field("batch_size", Fault::NotBetween(1, BATCH_MAX));
        return Err(ApiError::of_all(iter::once(of_size.clone()).chain(wrong)).unwrap_or(of_size));
    }
    let issuing = (0..batch_size).map(|n| issue(&app, &caller, &terms, n));
    let codes: Result<Vec<NewCodeOut>, _> = stream::iter(issuing).buffered(AT_ONCE).try_collect().await;
    // A request that is repeated when its time of expiry has passed is answered as before.
    let codes = codes.map_err(|refused| wrong.unwrap_or(refused))?;
    app.handled(&caller.request).await;
    let total_amount = Amount(codes.iter().map(|code| code.amount.0).sum());
    Ok(envelope::ok(CodesOut { total_generated: codes.len(), total_amount, codes }))
}

async fn issue(app: &Server, caller: &Caller, terms: &CodeTerms, n: u32) -> Result<NewCodeOut, ApiError> {
    let code = new_code(app, &caller.request, n);
    let command = RechargeCodeCommand::Issue {
        code_id: app.clock().new_id(),
        prefix: code.chars().take("OWL-XXXX".len()).collect(),
        terms: terms.clone(),
        issued_by: caller.user.id,
    };
    let receipt = app.execute_unsettled::<RechargeCode>(&caller.request, &stream_of(app, &code), command).await?;
    match receipt.events.first() {
        Some(RechargeCodeEvent::Issued { code_id, amount, expires_at, .. }) => {
            Ok(NewCodeOut { id: code_id.to_string(), code, amount: Amount(*amount), expires_at: *expires_at })
        }
        // The answer to the first request with this key was lost before it could be kept, and codes are stored nowhere.
        Some(RechargeCodeEvent::Redeemed { .. } | RechargeCodeEvent::Deactivated { .. }) | None => Err(ApiError::new(
            ErrorKind::IllegalState,
            "recharge_code.shown_once",
            "codes were issued under this key before, and are shown only once",
        )),
    }
}

#[derive(Deserialize)]
struct CodesQuery {
    page: Option<u64>,
    page_size: Option<u64>,
    status: Option<String>,
}

#[derive(Clone, Serialize, ToSchema)]
struct CodeOut {
    id: String,
    /// The first characters; the rest is known only to who got it.
    code: String,
    amount: Amount,
    description: Option<String>,
    expires_at: Option<DateTime<Utc>>,
    max_uses: i64,
    used_count: i64,
    is_active: bool,
    created_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[utoipa::path(get, path = "/api/recharge/codes", operation_id = "list_codes",
    params(("page" = Option<u64>, Query), ("page_size" = Option<u64>, Query), ("status" = Option<String>, Query), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = ListEnvelope<CodeOut>)))]
async fn list_codes(
    lists: Lists,
    Admin(caller): Admin,
    Query(query): Query<CodesQuery>,
) -> Result<ListEnvelope<CodeOut>, ApiError> {
    let status = query.status.as_deref().map(code_status).transpose()?;
    let paging = Paging::new(query.page, query.page_size, 20, 100);
    let db = lists.of(&["recharge_codes"]).await?;
    let codes = recharge_codes::list(&db, caller.user.tenant, status, lists.now(), paging).await?;
    Ok(envelope::page(codes, CodeOut::from))
}

#[utoipa::path(delete, path = "/api/recharge/codes/{code_id}", operation_id = "deactivate_code",
    params(("code_id" = Uuid, Path)), responses((status = 200, body = Envelope<CodeOut>)))]
async fn deactivate_code(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<Uuid>,
) -> Result<Envelope<CodeOut>, ApiError> {
    let find = async || recharge_codes::find(app.models.read().await, caller.user.tenant, id).await;
    let code = find().await?.ok_or_else(ApiError::not_found)?;
    let command = RechargeCodeCommand::Deactivate { by: caller.user.id };
    app.change::<RechargeCode>(&caller.request, &code.id, command).await?;
    Ok(envelope::ok(find().await?.ok_or_else(ApiError::not_found)?.into()))
}

#[derive(Deserialize, ToSchema)]
struct RedeemBody {
    code: String,
}

#[derive(Serialize, ToSchema)]
struct RedeemOut {
    amount: Amount,
    new_balance: Amount,
    recharge_record_id: String,
}

#[utoipa::path(post, path = "/api/recharge/redeem", operation_id = "redeem_code", request_body = RedeemBody,
    responses((status = 200, body = Envelope<RedeemOut>)))]
async fn redeem_code(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<RedeemBody>,
) -> Result<Envelope<RedeemOut>, ApiError> {
    Ok(envelope::ok(redeem(&app, &caller, &body.code).await?))
}

/// What some clients call it.
#[utoipa::path(post, path = "/api/recharge/use", operation_id = "use_code", request_body = RedeemBody,
    responses((status = 200, body = Envelope<RedeemOut>)))]
async fn use_code(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<RedeemBody>,
) -> Result<Envelope<RedeemOut>, ApiError> {
    Ok(envelope::ok(redeem(&app, &caller, &body.code).await?))
}

async fn redeem(app: &Server, caller: &Caller, code: &str) -> Result<RedeemOut, ApiError> {
    let command = RechargeCodeCommand::Redeem { redemption_id: app.clock().new_id(), by: caller.user.id };
    let receipt = app.execute_unsettled::<RechargeCode>(&caller.request, &stream_of(app, code), command).await?;
    app.handled(&caller.request).await;
    let Some(RechargeCodeEvent::Redeemed { amount, redemption_id, .. }) = receipt.events.first() else {
        return Err(ApiError::internal(&"a redemption without its event"));
    };
    let new_balance = balance_after(app, caller, receipt.position, *redemption_id).await?;
    Ok(RedeemOut {
        amount: Amount(*amount),
        new_balance: Amount(new_balance),
        recharge_record_id: redemption_id.to_string(),
    })
}

/// What the credit for a redemption led to. It stands shortly after the redemption in the log, whose newest events are
/// in memory; the list of balances knows it as well, but has to be waited for and read.
async fn balance_after(app: &Server, caller: &Caller, redeemed_at: u64, redemption: Uuid) -> Result<Decimal, ApiError> {
    let user = caller.user.id.to_string();
    let mut after = redeemed_at;
    for _ in 0..PAGES_LOOKED_AT_MAX {
        let page = app.log().read_all(after, &["balance"], BALANCE_EVENTS_PER_PAGE).await?;
        for event in page.events.iter().filter(|event| *event.aggregate_id == *user) {
            let entry = event.decode::<Balance>().ok().flatten();
            if let Some(BalanceEvent::Credited { balance_after, redemption_id, .. }) = entry
                && redemption_id == redemption
            {
                return Ok(balance_after);
            }
        }
        if page.through == after {
            break;
        }
        after = page.through;
    }
    Ok(balances::of(app.models.read().await, caller.user.tenant, caller.user.id).await?)
}

#[derive(Deserialize)]
struct RecordsQuery {
    page: Option<u64>,
    page_size: Option<u64>,
}

#[derive(Clone, Serialize, ToSchema)]
struct RecordOut {
    id: String,
    user_id: String,
    recharge_code_id: String,
    amount: Amount,
    #[serde(rename = "type")]
    record_type: &'static str,
    created_at: DateTime<Utc>,
}

#[utoipa::path(get, path = "/api/recharge/records", operation_id = "list_records",
    params(("page" = Option<u64>, Query), ("page_size" = Option<u64>, Query), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = ListEnvelope<RecordOut>)))]
async fn list_records(
    lists: Lists,
    caller: Caller,
    Query(query): Query<RecordsQuery>,
) -> Result<ListEnvelope<RecordOut>, ApiError> {
    let paging = Paging::new(query.page, query.page_size, 20, 100);
    let db = lists.of(&["recharge_records"]).await?;
    let records = recharge_records::list(&db, caller.user.tenant, caller.user.id, paging).await?;
    Ok(envelope::page(records, RecordOut::from))
}

impl From<recharge_codes::Model> for CodeOut {
    fn from(row: recharge_codes::Model) -> Self {
        Self {
            id: row.code_id,
            code: format!("{}-****-****", row.prefix),
            amount: row.amount.into(),
            description: row.description,
            expires_at: row.expires_at,
            max_uses: row.max_uses,
            used_count: row.used_count,
            is_active: row.is_active,
            created_by: row.created_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl From<recharge_records::Model> for RecordOut {
    fn from(row: recharge_records::Model) -> Self {
        Self {
            id: row.id,
            user_id: row.user_id,
            recharge_code_id: row.recharge_code_id,
            amount: row.amount.into(),
            record_type: "recharge_code",
            created_at: row.created_at,
        }
    }
}

/// The document says `active`; real clients also ask for `unused`.
fn code_status(word: &str) -> Result<CodeStatus, ApiError> {
    match word {
        "active" | "unused" => Ok(CodeStatus::Active),
        "used" => Ok(CodeStatus::Used),
        "expired" => Ok(CodeStatus::Expired),
        "inactive" => Ok(CodeStatus::Inactive),
        _ => Err(ApiError::field("status", Fault::NoneOf(&["active", "used", "expired", "inactive"]))),
    }
}

/// `OWL-XXXX-XXXX-XXXX`, every character from a cryptographic source. Codes are stored nowhere, so those of a request
/// under a key come from the key and the server's secret: repeated, it is answered with the same codes.
fn new_code(app: &Server, request: &RequestContext, n: u32) -> String {
    let of_key = |key: &CommandKey| {
        let parts: [&[u8]; 4] =
            [request.tenant.0.as_bytes(), key.key.as_bytes(), &key.fingerprint, &u64::from(n).to_be_bytes()];
        app.secrets.fingerprint("recharge-code/issue", &parts)
    };
    drawn(StdRng::from_seed(request.key.as_ref().map_or_else(rand::random, of_key)))
}

fn drawn(mut rng: StdRng) -> String {
    let mut code = String::from("OWL");
    for place in 0..CODE_CHARS {
        if place % 4 == 0 {
            code.push('-');
        }
        code.push(char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]));
    }
    code
}

/// The stream of a code: a keyed hash of it, so that a stolen log or backup yields no codes.
fn stream_of(app: &Server, code: &str) -> String {
    HEXLOWER.encode(&app.secrets.fingerprint("recharge-code", &[normal(code).as_bytes()]))
}

/// A code as it was issued, however it was typed.
fn normal(code: &str) -> String {
    let symbols = code.chars().filter(char::is_ascii_alphanumeric).take(64).map(|c| c.to_ascii_uppercase());
    let (head, rest): (Vec<_>, Vec<_>) = symbols.enumerate().partition(|(place, _)| *place < "OWL".len());
    let symbol = |c| match c {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    head.into_iter().map(|(_, c)| c).chain(rest.into_iter().map(|(_, c)| symbol(c))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_code_has_the_documented_form_and_sixty_bits() {
        let codes: HashSet<String> = (0..2_000).map(|_| drawn(StdRng::from_seed(rand::random()))).collect();
        assert_eq!(codes.len(), 2_000);
        for code in &codes {
            let groups: Vec<&str> = code.split('-').collect();
            assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [3, 4, 4, 4], "{code}");
            assert!(code[4..].bytes().all(|symbol| symbol == b'-' || ALPHABET.contains(&symbol)), "{code}");
            assert_eq!(normal(code), code.replace('-', ""));
        }
        let symbols: HashSet<char> = codes.iter().flat_map(|code| code[4..].chars()).filter(|c| *c != '-').collect();
        assert_eq!(symbols.len(), 32, "every symbol occurs");
        assert!(f64::from(32_u32).log2() * 12.0 >= 60.0);
        assert_eq!(CODE_CHARS, 12);
    }

    #[test]
    fn what_looks_alike_is_the_same() {
        assert_eq!(normal("owl-o1i1-lLoO-abcd"), normal("OWL-0111-1100-ABCD"));
        assert_eq!(normal(" OWL 0111 1100 ABCD "), "OWL01111100ABCD");
        assert_ne!(normal("OWL-0111-1100-ABCU"), normal("OWL-0111-1100-ABCV"));
    }
}
