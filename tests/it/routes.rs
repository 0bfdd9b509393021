//! The routes that exist against the operations that the products' documents promise, and against the scenarios.
//!
//! `tests/fixtures/operations/<product>.txt` is the list of a document; `missing.txt` names those that are not built yet.
//! A route that is built leaves that list, and nothing ever joins it. Pages that show documents are no operations.

mod requests;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::tree::{none_of, read, top};

/// The products, and how many operations the document of each has.
const PRODUCTS: [(&str, usize); 4] = [("hashinsight", 56), ("zinnia", 45), ("bitrun", 74), ("owl", 29)];

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Operations by their shape, that is without the names of path parameters: `GET /api/v1/devices/{}`.
type Operations = BTreeMap<String, Operation>;

struct Operation {
    product: String,
    /// As it was written.
    text: String,
}

/// `METHOD /path`, with every `{name}` as `{}` and without a query.
fn shape(method: &str, path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
    format!("{} {}", method.to_uppercase(), segments.collect::<Vec<_>>().join("/"))
}

/// The operation at the start of a line such as `GET /path`, `// GET /path` or `#### GET /path`.
fn operation_in(line: &str) -> Option<(&str, &str)> {
    let mut words = line.trim_start_matches(['/', '#', ' ']).split_whitespace();
    let method = words.next().filter(|word| METHODS.contains(word))?;
    let path = words.next().filter(|path| path.starts_with('/'))?;
    Some((method, path))
}

fn listed(file: &str) -> Vec<(String, String)> {
    let text = read(&format!("tests/fixtures/operations/{file}.txt"));
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let operation = |line: &str| {
        let (method, path) = operation_in(line).unwrap_or_else(|| panic!("{file}.txt: {line} is no operation"));
        (shape(method, path), line.to_owned())
    };
    lines.map(operation).collect()
}

fn documented() -> Operations {
    let of_product = |product: &str| {
        let product = product.to_owned();
        listed(&product).into_iter().map(move |(shape, text)| (shape, Operation { product: product.clone(), text }))
    };
    PRODUCTS.iter().flat_map(|(product, _)| of_product(product)).collect()
}

/// Every operation of the `OpenAPI` documents that the server shows of itself.
fn routed() -> Operations {
    let mut operations = Operations::new();
    for (product, document) in api::openapi_documents() {
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for method in METHODS.iter().filter(|method| item.get(method.to_lowercase()).is_some()) {
                let operation = Operation { product: product.to_owned(), text: format!("{method} {path}") };
                let before = operations.insert(shape(method, path), operation);
                assert!(before.is_none(), "{method} {path} stands in two documents");
            }
        }
    }
    operations
}

#[test]
fn every_operation_of_the_documents_is_on_a_list() {
    for (product, count) in PRODUCTS {
        let distinct: BTreeMap<_, _> = listed(product).into_iter().collect();
        assert_eq!(distinct.len(), count, "{product}.txt has lost or gained operations");
    }
    let total: usize = PRODUCTS.iter().map(|(_, count)| count).sum();
    assert_eq!(documented().len(), total, "two documents claim the same operation");
}

/// Where the documents lie beside the repository, the lists are compared with them.
#[test]
fn the_lists_hold_what_the_documents_say() {
    let documented = documented();
    let mut findings = Vec::new();
    for (product, path) in documents() {
        let text = fs::read_to_string(path).unwrap();
        let operations = text.lines().filter_map(operation_in).map(|(method, path)| shape(method, path));
        let unlisted = operations.filter(|shape| documented.get(shape).is_none_or(|found| found.product != product));
        findings.extend(unlisted.map(|shape| format!("{product}: {shape}")));
    }
    none_of(&findings, "operations of the documents that no list holds");
}

fn documents() -> Vec<(&'static str, PathBuf)> {
    let directory = top().ancestors().map(|above| above.join("shared/seeds")).find(|directory| directory.is_dir());
    let entries = directory.into_iter().flat_map(|directory| fs::read_dir(directory).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    let product = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        PRODUCTS.iter().map(|(product, _)| *product).find(|product| name.contains(product))
    };
    paths.filter_map(|path| product(&path).map(|product| (product, path))).collect()
}

#[test]
fn every_documented_operation_is_routed_or_known_to_be_missing() {
    let (routed, missing) = (routed(), missing());
    let lost =
        documented().into_iter().filter(|(shape, _)| !routed.contains_key(shape) && !missing.contains_key(shape));
    none_of(
        &lost.map(|(_, operation)| operation.text).collect::<Vec<_>>(),
        "documented, but neither routed nor missing",
    );
}

#[test]
fn operations_stand_in_the_document_of_their_product() {
    let documented = documented();
    let elsewhere = routed().into_iter().filter(|(shape, operation)| {
        documented.get(shape).is_some_and(|documented| documented.product != operation.product)
    });
    none_of(&elsewhere.map(|(_, operation)| operation.text).collect::<Vec<_>>(), "shown in another product's document");
}

fn missing() -> BTreeMap<String, String> {
    listed("missing").into_iter().collect()
}

#[test]
fn the_list_of_missing_operations_only_shrinks() {
    let (routed, documented) = (routed(), documented());
    let built =
        missing().into_iter().filter(|(shape, _)| routed.contains_key(shape) || !documented.contains_key(shape));
    none_of(&built.map(|(_, text)| text).collect::<Vec<_>>(), "routed or unknown; take them off missing.txt");
}

#[test]
fn every_route_is_requested_by_a_scenario() {
    let routed = routed();
    let requested = requests::requested(&routed.keys().map(String::as_str).collect::<Vec<_>>());
    let never = routed.iter().filter(|(shape, _)| !requested.contains(shape.as_str()));
    let findings: Vec<String> = never.map(|(_, operation)| operation.text.clone()).collect();
    none_of(&findings, "routes that no scenario requests; write the path where the request is made");
}
