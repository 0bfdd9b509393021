//! Which routes the scenarios request, read from their sources: the method is the last one named before a path.
//!
//! `client.post(&format!("/crm/api/lead/{id}/status"))` and `(Method::GET, "/crm/api/leads?status=NEW")` are understood;
//! a path kept in a constant is not.

use std::collections::BTreeSet;

use super::METHODS;
use crate::tree::rust_files;

/// Sources that name paths without requesting them.
const NO_SCENARIOS: [&str; 4] = ["tests/it/routes", "tests/it/tidy", "tests/it/tree", "tests/it/golden_events"];

/// The shapes among `routes` that some scenario or the harness requests.
pub(super) fn requested<'a>(routes: &[&'a str]) -> BTreeSet<&'a str> {
    let mut sources = rust_files("tests/it");
    sources.extend(rust_files("tests/src"));
    let scenarios = sources.iter().filter(|source| !NO_SCENARIOS.iter().any(|start| source.path.starts_with(start)));
    let requests = scenarios.flat_map(|source| requests(&source.code()));
    requests.filter_map(|(method, path)| route_of(routes, &method, &path)).collect()
}

/// Every path in string literals, with the method named last before it in the same statement.
fn requests(code: &str) -> Vec<(String, String)> {
    let (mut found, mut method) = (Vec::new(), None);
    // A quotation mark that is a character opens no string.
    let code = code.replace("'\"'", "");
    let mut rest = code.as_str();
    while let Some(at) = rest.find(|c: char| c == '"' || c == ';' || c.is_alphabetic()) {
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix(';') {
            (method, rest) = (None, after);
        } else if let Some(after) = rest.strip_prefix('"') {
            let end = end_of_literal(after);
            let literal = &after[..end];
            rest = after.get(end + 1..).unwrap_or_default();
            match &method {
                Some(method) if literal.starts_with('/') => found.push((String::clone(method), literal.to_owned())),
                _ => method = named(literal).or(method),
            }
        } else {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            method = named(&rest[..end]).or(method);
            rest = &rest[end..];
        }
    }
    found
}

fn end_of_literal(text: &str) -> usize {
    let mut escaped = false;
    let end = text.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.unwrap_or(text.len())
}

/// `post`, `POST` and `post_json` name POST.
fn named(word: &str) -> Option<String> {
    let start = word.split('_').next()?.to_uppercase();
    METHODS.contains(&start.as_str()).then_some(start)
}

/// The route that answers: of those that fit, the one with the fewest parameters, as the router decides.
fn route_of<'a>(routes: &[&'a str], method: &str, path: &str) -> Option<&'a str> {
    let path = path.split('?').next().unwrap_or_default();
    let fits = |route: &&&str| {
        let Some((of_route, template)) = route.split_once(' ') else { return false };
        let (wanted, given) = (template.split('/'), path.split('/'));
        let segments = wanted.clone().count() == given.clone().count();
        let equal = |(wanted, given): (&str, &str)| wanted == given || (wanted == "{}" && !given.is_empty());
        of_route == method && segments && wanted.zip(given).all(equal)
    };
    routes.iter().filter(fits).min_by_key(|route| route.matches("{}").count()).copied()
}

#[test]
fn requests_are_read_from_sources() {
    let code = r#"
        let id = client.post("/crm/api/lead", json!({ "name": "a \" /b", "url": "/no" })).await;
        let get = '"'; client.send(&format!("/not/a/request/{id}"));
        client.get_as(&admin, &format!("/crm/api/customer/{id}?full=1"));
        for (method, path) in [(Method::PUT, "/a/b"), ("DELETE", "/a/{id}")] {}
    "#;
    let routes =
        ["POST /crm/api/lead", "GET /crm/api/customer/{}", "PUT /a/{}", "PUT /a/b", "DELETE /a/{}", "GET /never"];
    let requests: BTreeSet<&str> =
        requests(code).iter().filter_map(|(method, path)| route_of(&routes, method, path)).collect();
    let expected = ["POST /crm/api/lead", "GET /crm/api/customer/{}", "PUT /a/b", "DELETE /a/{}"];
    assert_eq!(requests, BTreeSet::from(expected));
}
