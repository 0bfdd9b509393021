//! Which other sites' pages may read answers: browsers ask, and refuse pages that the answer does not name.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// How long browsers need not ask again.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// What a page may read of an answer besides its body.
const EXPOSED: [HeaderName; 10] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("corelog-position"),
    HeaderName::from_static("idempotency-replayed"),
    header::ETAG,
    header::RETRY_AFTER,
    header::CONTENT_DISPOSITION,
];

/// The layer for pages of `origins`. Cookies go along where a product has them.
pub(crate) fn layer(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::try_from(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
        .max_age(KEPT_FOR)
}

/// Whether a setting is what browsers call an origin: `scheme://host`, with the port unless it is the scheme's own.
pub(crate) fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    host.is_some_and(|host| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".:-[]".contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_no_path_and_no_star() {
        for origin in ["http://localhost:3000", "https://owl.example", "http://[::1]:5173", "http://10.0.0.1:80"] {
            assert!(is_origin(origin), "{origin}");
        }
        for wrong in [
            "*",
            "null",
            "localhost:3000",
            "http://",
            "https://owl.example/",
            "https://*.example",
            "https://OWL.example",
        ] {
            assert!(!is_origin(wrong), "{wrong}");
        }
    }
}
