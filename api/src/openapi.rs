//! The OpenAPI document of each surface: what its routes say of themselves, and what holds for all of them.

use axum::http::StatusCode;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Info, OpenApi, RefOr, Response};

use crate::router::routes;
use crate::surface::Surface;

/// The OpenAPI document of every surface, by its name, as JSON.
pub fn openapi_documents() -> Vec<(&'static str, serde_json::Value)> {
    let json = |surface| serde_json::to_value(document(surface)).unwrap_or_default();
    Surface::ALL.map(|surface| (surface.name(), json(surface))).into()
}

/// The document of one surface.
pub(crate) fn document(surface: Surface) -> OpenApi {
    let mut document = routes(surface).into_openapi();
    document.info = Info::new(title(surface), env!("CARGO_PKG_VERSION"));
    let components = document.components.get_or_insert_default();
    for (name, scheme) in ways_in(surface) {
        components.add_security_scheme(name, scheme);
        document.security.get_or_insert_default().push(SecurityRequirement::new::<_, [&str; 0], _>(name, []));
    }
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        let refused = RefOr::T(Response::new("A refusal, in the form that this product gives all of them."));
        operation.responses.responses.entry("default".to_owned()).or_insert(refused);
        operation.responses.responses.iter_mut().for_each(describe);
    }
    document
}

/// A description is required; an answer that needs no words is described by what its status says.
fn describe((status, response): (&String, &mut RefOr<Response>)) {
    if let RefOr::T(response) = response
        && response.description.is_empty()
    {
        let status = StatusCode::from_bytes(status.as_bytes()).ok();
        let reason = status.and_then(|status| status.canonical_reason());
        response.description.push_str(reason.unwrap_or("An answer"));
    }
}

fn operations(item: &mut utoipa::openapi::PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

/// How a caller shows who it is. Any one of them will do; operations for everybody ask for none.
fn ways_in(surface: Surface) -> Vec<(&'static str, SecurityScheme)> {
    let token = ("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    let cookie = |name: &str| ("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(name))));
    match surface {
        Surface::HashInsight => vec![token, cookie("session")],
        Surface::Zinnia => {
            let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
            vec![token, cookie("access_token"), ("device_key", key)]
        }
        Surface::Bitrun | Surface::Owl | Surface::Platform => vec![token],
    }
}

fn title(surface: Surface) -> &'static str {
    match surface {
        Surface::HashInsight => "HashInsight",
        Surface::Zinnia => "Zinnia",
        Surface::Bitrun => "BITRUN",
        Surface::Owl => "Owl Factory",
        Surface::Platform => "Corelog",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_says_how_to_come_in_and_that_operations_may_be_refused() {
        for (surface, document) in openapi_documents() {
            assert!(document.pointer("/components/securitySchemes/token").is_some(), "{surface}");
            let paths = document["paths"].as_object().unwrap();
            let operations = paths.values().flat_map(|item| item.as_object().unwrap().values());
            let operations: Vec<_> = operations.filter(|operation| operation.get("responses").is_some()).collect();
            assert!(!operations.is_empty() && operations.iter().all(|o| o.pointer("/responses/default").is_some()));
            let responses = operations.iter().flat_map(|operation| operation["responses"].as_object().unwrap());
            let silent = responses.filter(|(_, response)| response["description"].as_str().is_none_or(str::is_empty));
            assert_eq!(silent.count(), 0, "{surface}");
        }
    }
}
