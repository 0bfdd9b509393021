//! Extractors that say what is wrong in an [`ApiError`].

pub(crate) mod json;
pub(crate) mod time;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use domain::payload::UnfitPayload;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::error::{ApiError, ErrorKind, Place};
use crate::fault::Fault;
use crate::request::RequestContext;
use crate::surface::Surface;

/// Largest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A JSON object as the body. An empty one reads as `{}`, because real clients send none where no field is required.
pub struct Body<T>(pub T);

/// A form body (`application/x-www-form-urlencoded`).
pub struct Form<T>(pub T);

/// The query of the URL.
pub struct Query<T>(pub T);

/// What the path names. What does not parse names nothing.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + ToSchema, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = body(request, state).await?;
        let text = if bytes.trim_ascii().is_empty() { &b"{}"[..] } else { &bytes };
        json::check(text)?;
        json::check_object(text)?;
        let mut parser = serde_json::Deserializer::from_slice(text);
        let value = serde_path_to_error::deserialize(&mut parser).map_err(|error| json::wrong::<T>(&error, text))?;
        parser.end().map_err(|error| json::no_json(&error))?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = body(request, state).await?;
        refuse_nul(&bytes)?;
        serde_urlencoded::from_bytes(&bytes)
            .map(Self)
            .map_err(|error| ApiError::field(named(&error), Fault::unread(error.to_string())))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        // In Owl Factory's lists a filter without a value is one that is not set.
        let of_owl = parts.extensions.get::<RequestContext>().is_some_and(|request| request.surface == Surface::Owl);
        let fields = if of_owl { form_fields(&without_empty(query)) } else { form_fields(query) };
        fields.map(Self).map_err(|error| error.of(Place::Query))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        if has_nul(parts.uri.path().as_bytes()) {
            return Err(ApiError::not_found());
        }
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0)).map_err(|_| ApiError::not_found())
    }
}

/// A NUL in a path, a query or a form, where it may stand as it is or escaped.
fn has_nul(text: &[u8]) -> bool {
    text.contains(&0) || text.windows(3).any(|three| three == b"%00")
}

fn refuse_nul(text: &[u8]) -> Result<(), ApiError> {
    if has_nul(text) { Err(UnfitPayload::Nul.into()) } else { Ok(()) }
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
    refuse_nul(text.as_bytes())?;
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(form_urlencoded(text))).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { named(error.inner()) } else { path };
        ApiError::field(field, Fault::unread(error.into_inner().to_string()))
    })
}

/// The fields of a query that have a value.
fn without_empty(query: &str) -> String {
    let has_value = |pair: &&str| pair.split_once('=').is_some_and(|(_, value)| !value.is_empty());
    query.split('&').filter(has_value).collect::<Vec<_>>().join("&")
}

fn form_urlencoded(query: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(query.as_bytes())
}

/// The field that serde names in "missing field `x`", in "unknown field `x`" and in "duplicate field `x`".
fn named(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let rest = ["missing", "unknown", "duplicate"].into_iter().find_map(|what| text.strip_prefix(what));
    let named = rest.and_then(|rest| rest.strip_prefix(" field `")?.split('`').next());
    named.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_value_is_not_set() {
        assert_eq!(without_empty("a=1&b=&c&&d=%20&=&e=x=y"), "a=1&d=%20&e=x=y");
        assert_eq!(without_empty(""), "");
    }

    #[test]
    fn serde_names_fields() {
        for text in ["missing field `a`", "unknown field `a`, expected `b`", "duplicate field `a`"] {
            assert_eq!(named(&text), "a", "{text}");
        }
        assert_eq!(named(&"invalid type: null, expected field `a`"), "");
    }
}
