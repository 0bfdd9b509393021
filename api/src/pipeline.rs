//! What happens to every request around its handler: identity, limits, idempotency, answer headers.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::log::CommandKey;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::{App, Server};
use crate::auth::{Identity, identify};
use crate::error::{ApiError, ErrorKind, Place};
use crate::extract::{self, BODY_BYTES_MAX};
use crate::metrics;
use crate::request::{RequestContext, serving};
use crate::surface::Surface;
use crate::unread::Unread;
use crate::zinnia::device_caller;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const POSITION: HeaderName = HeaderName::from_static("corelog-position");
const MIN_POSITION: HeaderName = HeaderName::from_static("corelog-min-position");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const KEY_CHARS_MAX: usize = 255;
/// Largest answer that is kept for a key.
const ANSWER_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;

/// The state of the pipeline of one surface.
#[derive(Clone)]
pub(crate) struct Pipeline {
    pub(crate) app: App,
    pub(crate) surface: Surface,
}

/// The middleware of a surface.
pub(crate) async fn serve(State(pipeline): State<Pipeline>, request: Request, next: Next) -> Response {
    let (Pipeline { app, surface }, began) = (pipeline, Instant::now());
    let (request, unread) = Unread::of(request);
    let address = client_address(&app.config.trusted_proxies, peer(&request), request.headers());
    let context = RequestContext::new(request_id(&app, request.headers()), surface, address, app.clock().clone());
    let past = request.method().is_safe() && asks_for(&request, "as_of").is_some_and(|moment| !moment.is_empty());
    let answer = serving(context.id, handle(&app, context.clone(), request, next)).await;
    let answer = answer.and_then(|response| nothing_missing(&context, response));
    let answer = answer.and_then(|response| of_the_moment(&context, past, response));
    let answer = answer.unwrap_or_else(IntoResponse::into_response);
    let mut response = surface.render(Some(context.id), answer);
    metrics::count_request(surface, response.status(), began);
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(context.id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(standing) = context.standing() {
        standing.write(headers);
    }
    if context.position() > 0 {
        headers.insert(POSITION, HeaderValue::from(context.position()));
    }
    if let Some(etag) = context.etag().and_then(|version| HeaderValue::try_from(format!("\"{version}\"")).ok()) {
        headers.insert(header::ETAG, etag);
    }
    if let Some(unread) = unread {
        unread.end(&mut response).await;
    }
    response
}

/// What a command made is not missing because the read models are late: whoever heard that would make it again.
fn nothing_missing(context: &RequestContext, response: Response) -> Result<Response, ApiError> {
    if context.is_late() && response.status() == StatusCode::NOT_FOUND {
        return Err(ApiError::unavailable(&"what was done is not shown yet"));
    }
    Ok(response)
}

/// Nobody who asks for a past moment is shown the present one.
fn of_the_moment(context: &RequestContext, past: bool, response: Response) -> Result<Response, ApiError> {
    if past && response.status().is_success() && !context.knows_the_past() {
        return Err(ApiError::field("as_of", "is not kept: this is only shown as it is now").of(Place::Query));
    }
    Ok(response)
}

async fn handle(
    app: &App,
    mut context: RequestContext,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let identity = identify(app, request.method(), request.headers(), context.surface).await;
    if let Identity::Known(user) = &identity {
        context = context.signed_in(user.id, user.tenant);
        context.plan = Some(user.plan);
    }
    context.if_match = if_match(request.headers())?;
    app.limits.check(&context, request.method(), request.uri().path())?;
    context.dry_run = dry_run(&request, context.surface)?;
    if let Some(position) = min_position(request.headers())? {
        if app.readers.position() < position && app.log().head().await? < position {
            return Err(header_field("Corelog-Min-Position", "is beyond the end of the log"));
        }
        app.readers.projected(position).await?;
    }
    request.extensions_mut().insert(identity);
    if let Some(key) = idempotency_key(&request)?.filter(|_| !context.dry_run) {
        return answer_once(app, key, context, request, next).await;
    }
    request.extensions_mut().insert(context);
    Ok(next.run(request).await)
}

/// Runs the handler, or gives the answer that it gave to the same request before.
async fn answer_once(
    app: &App,
    key: String,
    mut context: RequestContext,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| extract::too_large())?;
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let user = context.user.map(|user| user.to_string()).or_else(|| stranger(app, &parts.headers)).unwrap_or_default();
    let asked: [&[u8]; 5] = [
        context.surface.name().as_bytes(),
        user.as_bytes(),
        parts.method.as_str().as_bytes(),
        target.as_bytes(),
        &bytes,
    ];
    let fingerprint = app.secrets.fingerprint("idempotency", &asked).to_vec();
    // Strangers know nothing of each other, so each has keys of its own.
    let namespace = if context.user.is_none() && !user.is_empty() { format!("{user}/") } else { String::new() };
    let key = CommandKey { key: format!("http:{namespace}{key}"), fingerprint };
    // Whoever repeats a request that is under way gets its answer, and not another one.
    let _turn = app.key_turns.take(&context.tenant.to_string(), &key.key).await;
    if let Some(kept) = app.log().command(context.tenant, &key.key).await? {
        if kept.fingerprint != key.fingerprint {
            return Err(key_reused());
        }
        if let Some(sealed) = kept.answer {
            return first_answer(app, &key, &context, &sealed);
        }
    }
    context.key = Some(key.clone());
    parts.extensions.insert(context.clone());
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    let done = response.status().is_success() || response.status().is_redirection();
    if !done {
        return Ok(response);
    }
    let mut response = keep_answer(app, &key, &context, response).await?;
    // The first one may not have got its answer yet, so there was none to give again.
    if context.repeats() {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// A hash of what a caller shows who is not signed in: the key of a device, or cookies, one of which may be a refresh
/// token.
fn stranger(server: &Server, headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let shown: Vec<&[u8]> = device_caller::shown(headers).map(str::as_bytes).into_iter().chain(cookies).collect();
    let hash = server.secrets.fingerprint("idempotency-device", &shown);
    (!shown.is_empty()).then(|| data_encoding::HEXLOWER.encode(&hash[..16]))
}

/// An answer as it is kept, sealed, under its key.
#[derive(Serialize, Deserialize)]
struct KeptAnswer {
    status: u16,
    /// Those that the handler set: the type of the body, cookies, where to go on.
    headers: Vec<(String, Vec<u8>)>,
    position: u64,
    version: u64,
    body: Vec<u8>,
}

async fn keep_answer(
    server: &Server,
    key: &CommandKey,
    context: &RequestContext,
    response: Response,
) -> Result<Response, ApiError> {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, ANSWER_BYTES_MAX).await.map_err(|error| ApiError::internal(&error))?;
    let headers = parts.headers.iter().filter(|(name, _)| *name != header::CONTENT_LENGTH);
    let kept = KeptAnswer {
        status: parts.status.as_u16(),
        headers: headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect(),
        position: context.position(),
        version: context.etag().unwrap_or(0),
        body: bytes.to_vec(),
    };
    let plain = serde_json::to_vec(&kept).map_err(|error| ApiError::internal(&error))?;
    let sealed = server.secrets.seal(&sealed_for(key, context), &plain);
    server.log().keep_answer(context.tenant, key, sealed).await?;
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn first_answer(
    server: &Server,
    key: &CommandKey,
    context: &RequestContext,
    sealed: &[u8],
) -> Result<Response, ApiError> {
    let plain = server.secrets.unseal(&sealed_for(key, context), sealed).map_err(|error| ApiError::internal(&error))?;
    let kept: KeptAnswer = serde_json::from_slice(&plain).map_err(|error| ApiError::internal(&error))?;
    context.reached(kept.position);
    context.version(kept.version);
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let mut response = (status, Body::from(kept.body)).into_response();
    let headers = response.headers_mut();
    for (name, value) in kept.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

fn sealed_for(key: &CommandKey, context: &RequestContext) -> String {
    format!("answer/{}/{}", context.tenant, key.key)
}

fn key_reused() -> ApiError {
    ApiError::new(ErrorKind::KeyReused, "idempotency_key_reused", "this Idempotency-Key was used for another request")
}

fn idempotency_key(request: &Request) -> Result<Option<String>, ApiError> {
    let changes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(request.method());
    let Some(value) = request.headers().get(IDEMPOTENCY_KEY).filter(|_| changes) else { return Ok(None) };
    match value.to_str() {
        // What stands behind a # tells apart the commands of one request.
        Ok(key) if !key.is_empty() && key.len() <= KEY_CHARS_MAX => {
            Ok(Some(key.replace('%', "%25").replace('#', "%23")))
        }
        _ => Err(header_field("Idempotency-Key", &format!("must have 1 to {KEY_CHARS_MAX} visible characters"))),
    }
}

/// What the query says last of `name`.
fn asks_for<'a>(request: &'a Request, name: &str) -> Option<Cow<'a, str>> {
    let query = form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    query.filter(|(given, _)| given == name).last().map(|(_, value)| value)
}

/// Whether the command is only rehearsed. Where nothing can be rehearsed, whoever asks for it must not be served for real.
fn dry_run(request: &Request, surface: Surface) -> Result<bool, ApiError> {
    let asked = asks_for(request, "dry_run");
    let refused = |message: &str| ApiError::field("dry_run", message).of(Place::Query);
    if surface == Surface::Platform {
        let asked = asked.map(|asked| asked.parse()).transpose();
        return asked.map(Option::unwrap_or_default).map_err(|_| refused("must be true or false"));
    }
    let commands = !request.method().is_safe() && asked.is_some_and(|asked| asked != "false");
    if commands { Err(refused("only commands of the platform are rehearsed")) } else { Ok(false) }
}

fn if_match(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text.trim_start_matches("W/").trim_matches('"').parse();
    version.map(Some).map_err(|_| header_field("If-Match", "is not an ETag of this server"))
}

fn min_position(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(MIN_POSITION) else { return Ok(None) };
    let position = value.to_str().ok().and_then(|text| text.parse().ok());
    position.map(Some).ok_or_else(|| header_field("Corelog-Min-Position", "is not a position"))
}

/// One header is wrong.
fn header_field(name: &str, message: &str) -> ApiError {
    ApiError::field(name, message).of(Place::Header)
}

/// The id that a client or proxy gave, if it is a UUID; otherwise a fresh one.
fn request_id(server: &Server, headers: &HeaderMap) -> Uuid {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| server.clock().new_id())
}

fn peer(request: &Request) -> IpAddr {
    let connection = request.extensions().get::<ConnectInfo<SocketAddr>>();
    // On a socket for both families, IPv4 addresses come dressed as IPv6.
    connection.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip().to_canonical())
}

/// For whom a request is: proxies that are trusted say it, the nearest last; the first that is not trusted counts.
fn client_address(trusted: &[IpNet], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let lines = headers.get_all(FORWARDED_FOR).iter().rev().map(|line| line.to_str().unwrap_or_default());
    let named = lines.flat_map(|line| line.rsplit(',')).map(|text| text.trim().parse::<IpAddr>());
    let mut client = peer;
    for address in named {
        match address {
            Ok(address) if is_trusted(client) => client = address.to_canonical(),
            _ => break,
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = ["127.0.0.1/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let client = |peer: &str, forwarded: &str| {
            let headers = HeaderMap::from_iter([(FORWARDED_FOR, forwarded.parse().unwrap())]);
            client_address(&trusted, address(peer), &headers)
        };
        assert_eq!(client("127.0.0.1", "203.0.113.9"), address("203.0.113.9"));
        assert_eq!(client("127.0.0.1", "198.51.100.1, 203.0.113.9, 10.1.2.3"), address("203.0.113.9"));
        assert_eq!(client("127.0.0.1", "203.0.113.9, ::ffff:10.1.2.3"), address("203.0.113.9"));
        // Whoever is not trusted may say what they like.
        assert_eq!(client("203.0.113.9", "198.51.100.1"), address("203.0.113.9"));
        assert_eq!(client("127.0.0.1", "203.0.113.9, nonsense"), address("127.0.0.1"));
        assert_eq!(client_address(&trusted, address("127.0.0.1"), &HeaderMap::new()), address("127.0.0.1"));
    }
}
