//! Extractors that say what is wrong in an [`ApiError`].

pub(crate) mod json;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::{ApiError, ErrorKind};

/// Largest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A JSON body. An empty one reads as `{}`, because real clients send none where no field is required.
pub struct Body<T>(pub T);

/// A form body (`application/x-www-form-urlencoded`).
pub struct Form<T>(pub T);

/// The query of the URL.
pub struct Query<T>(pub T);

/// The one parameter of the path. What does not parse names nothing.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = body(request, state).await?;
        let text = if bytes.trim_ascii().is_empty() { &b"{}"[..] } else { &bytes };
        json::check(text)?;
        let mut parser = serde_json::Deserializer::from_slice(text);
        let value = serde_path_to_error::deserialize(&mut parser).map_err(|error| wrong_json(&error))?;
        parser.end().map_err(|error| malformed(&error))?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = body(request, state).await?;
        serde_urlencoded::from_bytes(&bytes)
            .map(Self)
            .map_err(|error| ApiError::field(named(&error), error.to_string()))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        form_fields(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0)).map_err(|_| ApiError::not_found())
    }
}

/// The whole body.
pub(crate) async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
        axum::http::StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => ApiError::new(ErrorKind::Malformed, "invalid_request", "the body could not be read"),
    })
}

/// The body is over [`BODY_BYTES_MAX`].
pub(crate) fn too_large() -> ApiError {
    let message = format!("the body is larger than {BODY_BYTES_MAX} bytes");
    ApiError::new(ErrorKind::PayloadTooLarge, "payload_too_large", message)
}

/// What the fields of a query or form say.
pub(crate) fn form_fields<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    if text.contains("%00") {
        return Err(json::nul());
    }
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(form_urlencoded(text))).map_err(|error| {
        let path = error.path().to_string();
        ApiError::field(if path == "." { named(error.inner()) } else { path }, error.into_inner().to_string())
    })
}

fn form_urlencoded(query: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(query.as_bytes())
}

fn wrong_json(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    if !error.inner().is_data() {
        return malformed(error.inner());
    }
    let path = error.path().to_string();
    let parent = if path == "." { String::new() } else { path };
    let named = named(error.inner());
    let field = match (parent.is_empty(), named.is_empty()) {
        (true, _) => named,
        (false, true) => parent,
        (false, false) => format!("{parent}.{named}"),
    };
    ApiError::field(field, without_place(error.inner()))
}

fn malformed(error: &serde_json::Error) -> ApiError {
    json::malformed(&format!("is not valid JSON: {error}"))
}

/// The field that serde names in "missing field `x`" and in "unknown field `x`".
fn named(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let rest = text.strip_prefix("missing field `").or_else(|| text.strip_prefix("unknown field `"));
    let named = rest.and_then(|rest| rest.split('`').next());
    named.unwrap_or_default().to_owned()
}

/// What serde says, without "at line 1 column 2".
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}
