//! What can go wrong, without a product's words. Each product renders it once, see `<product>/envelope.rs`.

use std::error::Error;
use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use commands::{CommandError, NotYet};
use domain::log::LogError;
use domain::payload::UnfitPayload;
use domain::refusal::{Refusal, RefusalKind};
use replay::ReplayError;
use serde_json::{Map, Value};

use crate::fault::Fault;

/// The sort of an error; products map it to their status codes and words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The body cannot be parsed.
    Malformed,
    /// Fields are missing, of the wrong type or out of range.
    Invalid,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    AlreadyExists,
    /// The present state does not allow it.
    IllegalState,
    InsufficientFunds,
    LimitExceeded,
    Expired,
    PayloadTooLarge,
    /// `If-Match` names an older version.
    Stale,
    /// The idempotency key was used for another request.
    KeyReused,
    TooManyRequests,
    Unavailable,
    Internal,
}

impl ErrorKind {
    /// The status where a product's document does not say otherwise.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed | Self::IllegalState | Self::InsufficientFunds | Self::Expired => StatusCode::BAD_REQUEST,
            Self::Invalid | Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::AlreadyExists => StatusCode::CONFLICT,
            Self::LimitExceeded | Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Stale => StatusCode::PRECONDITION_FAILED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<RefusalKind> for ErrorKind {
    fn from(kind: RefusalKind) -> Self {
        match kind {
            RefusalKind::NotFound => Self::NotFound,
            RefusalKind::AlreadyExists => Self::AlreadyExists,
            RefusalKind::IllegalState => Self::IllegalState,
            RefusalKind::Invalid => Self::Invalid,
            RefusalKind::Forbidden => Self::Forbidden,
            RefusalKind::Unauthenticated => Self::Unauthenticated,
            RefusalKind::InsufficientFunds => Self::InsufficientFunds,
            RefusalKind::LimitExceeded => Self::LimitExceeded,
            RefusalKind::Expired => Self::Expired,
        }
    }
}

/// Which part of a request a field is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Body,
    Query,
    Header,
}

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    pub place: Place,
    /// Where in it, dotted; empty for the whole.
    pub field: String,
    /// What is wrong with it, as a stable word.
    pub code: &'static str,
    pub fault: Fault,
}

/// An error on its way to the client.
#[derive(Debug, Clone)]
pub struct ApiError {
    pub kind: ErrorKind,
    /// A stable word; products translate by it.
    pub code: &'static str,
    /// An English sentence; products in another language replace it by their words for `code` or `kind`.
    pub message: String,
    pub fields: Vec<FieldError>,
    /// What it was made of, for products that say more of it than its code does; see [`cause`](Self::cause). It is boxed
    /// because an error is a part of every result, and should be small.
    pub cause: Option<Arc<Box<dyn Error + Send + Sync>>>,
    /// Seconds after which to try again.
    pub retry_after: Option<u64>,
    /// Facts that some product's error body shows, by its own names.
    pub details: Map<String, Value>,
}

impl ApiError {
    /// An error with a code and a sentence.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        let (message, details) = (message.into(), Map::new());
        Self { kind, code, message, fields: Vec::new(), cause: None, retry_after: None, details }
    }

    /// One field of the body is wrong.
    pub fn field(field: impl Into<String>, fault: impl Into<Fault>) -> Self {
        Self::field_by("invalid_request", field, fault)
    }

    /// One field of the body is wrong, and `code` says how.
    pub fn field_by(code: &'static str, field: impl Into<String>, fault: impl Into<Fault>) -> Self {
        let field = FieldError { place: Place::Body, field: field.into(), code, fault: fault.into() };
        let sentence =
            if field.field.is_empty() { field.fault.to_string() } else { format!("{}: {}", field.field, field.fault) };
        Self { fields: vec![field], ..Self::new(ErrorKind::Invalid, code, sentence) }
    }

    /// The same of fields that are not in the body.
    #[must_use]
    pub fn of(mut self, place: Place) -> Self {
        self.fields.iter_mut().for_each(|field| field.place = place);
        self
    }

    /// One error that says of several fields what is wrong; its sentence is that of the first.
    pub fn of_all(errors: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut errors = errors.into_iter();
        let mut first = errors.next()?;
        for mut error in errors {
            first.fields.append(&mut error.fields);
        }
        Some(first)
    }

    /// The same of what a rule refuses: products know the fields by the codes.
    pub fn of_refusals<E: Refusal>(refusals: impl IntoIterator<Item = E>) -> Option<Self> {
        Self::of_all(refusals.into_iter().map(|refusal| Self::field_by(refusal.code(), "", refusal.to_string())))
    }

    /// Nothing under this id or path (for this caller).
    pub fn not_found() -> Self {
        Self::new(ErrorKind::NotFound, "resource_not_found", "Resource not found")
    }

    /// No valid credentials.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unauthenticated, "authentication_required", message)
    }

    /// Valid credentials that do not suffice.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, "permission_denied", message)
    }

    /// A fault of the server. `fault` goes to the operator's log, not to the client.
    pub fn internal(fault: &dyn std::fmt::Display) -> Self {
        tracing::error!(%fault, "a request failed");
        Self::new(ErrorKind::Internal, "internal_error", "Internal server error")
    }

    /// A part of the server does not answer now.
    pub fn unavailable(fault: &dyn std::fmt::Display) -> Self {
        tracing::warn!(%fault, "a request could not be served");
        let unavailable = Self::new(ErrorKind::Unavailable, "service_unavailable", "Service temporarily unavailable");
        Self { retry_after: Some(1), ..unavailable }
    }

    /// Keeps what it was made of.
    #[must_use]
    pub fn because(self, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { cause: Some(Arc::new(Box::new(cause))), ..self }
    }

    /// What it was made of, if that is an `E`.
    pub fn cause<E: Error + 'static>(&self) -> Option<&E> {
        self.cause.as_deref()?.downcast_ref()
    }

    /// Adds a fact to the error body of products that show it.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

impl<E: Refusal> From<CommandError<E>> for ApiError {
    fn from(error: CommandError<E>) -> Self {
        match error {
            CommandError::Refused(refusal) => {
                Self::new(refusal.kind().into(), refusal.code(), refusal.to_string()).because(refusal)
            }
            CommandError::Foreign => Self::not_found(),
            CommandError::Stale { actual } => {
                Self::new(ErrorKind::Stale, "stale", format!("the resource has changed: it is at version {actual}"))
            }
            CommandError::KeyReused => Self::new(
                ErrorKind::KeyReused,
                "idempotency_key_reused",
                "this Idempotency-Key was used for another request",
            ),
            CommandError::Unfit(unfit) => unfit.into(),
            CommandError::Contended => Self::unavailable(&"too many conflicting commands on one resource"),
            CommandError::Log(error) => error.into(),
        }
    }
}

impl From<UnfitPayload> for ApiError {
    fn from(unfit: UnfitPayload) -> Self {
        Self::new(ErrorKind::Malformed, "invalid_request", unfit.to_string()).because(unfit)
    }
}

impl From<LogError> for ApiError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Unavailable(reason) => Self::unavailable(&reason),
            LogError::TooLarge(reason) => Self::new(ErrorKind::PayloadTooLarge, "payload_too_large", reason),
            LogError::Damaged(reason) => Self::internal(&reason),
        }
    }
}

impl From<NotYet> for ApiError {
    fn from(error: NotYet) -> Self {
        Self::unavailable(&error)
    }
}

impl From<sea_orm::DbErr> for ApiError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::unavailable(&error)
    }
}

impl From<projections::ProjectionError> for ApiError {
    fn from(error: projections::ProjectionError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<ReplayError> for ApiError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Log(error) => error.into(),
            ReplayError::Projection(error) => error.into(),
            ReplayError::Database(error) | ReplayError::Compared { error, .. } => error.into(),
            ReplayError::UnknownProjection { .. }
            | ReplayError::UnknownAggregate { .. }
            | ReplayError::UnknownEvent { .. } => Self::not_found(),
            ReplayError::Busy(_) => Self::new(ErrorKind::AlreadyExists, "busy", error.to_string()),
            ReplayError::Decode(_)
            | ReplayError::State(_)
            | ReplayError::FullTable
            | ReplayError::Backwards
            | ReplayError::Output(_)
            | ReplayError::Input(_)
            | ReplayError::Import { .. }
            | ReplayError::NotWhole(_) => Self::internal(&error),
        }
    }
}

impl IntoResponse for ApiError {
    /// An empty response that carries the error; the layer of the product writes the body.
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}
