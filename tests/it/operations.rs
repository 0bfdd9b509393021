//! The operations that the server describes, for tests of all of them at once.

use api::surface::Surface;
use reqwest::Method;
use serde_json::Value;
use tests::answer::Answer;

/// One operation, as the server describes it.
pub(crate) struct Operation {
    pub(crate) surface: Surface,
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Fields of its JSON body; none where it takes none.
    pub(crate) fields: Option<Vec<String>>,
    /// Names of its query.
    pub(crate) query: Vec<String>,
}

impl Operation {
    /// The path with `id` in the place of every parameter.
    pub(crate) fn at(&self, id: &str) -> String {
        let segments = self.path.split('/').map(|segment| if segment.starts_with('{') { id } else { segment });
        segments.collect::<Vec<_>>().join("/")
    }

    pub(crate) fn is_of_paths_with_ids(&self) -> bool {
        self.path.contains('{')
    }
}

/// Every operation of every surface.
pub(crate) fn operations() -> Vec<Operation> {
    let documents: std::collections::BTreeMap<_, _> = api::openapi_documents().into_iter().collect();
    let mut operations = Vec::new();
    for surface in Surface::ALL {
        let document = &documents[surface.name()];
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, described) in item.as_object().unwrap() {
                let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
                let parameters = described["parameters"].as_array().cloned().unwrap_or_default();
                let in_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
                operations.push(Operation {
                    surface,
                    method,
                    path: path.clone(),
                    fields: fields(document, described),
                    query: in_query.filter_map(|parameter| parameter["name"].as_str().map(str::to_owned)).collect(),
                });
            }
        }
    }
    operations
}

fn fields(document: &Value, described: &Value) -> Option<Vec<String>> {
    let schema = described.pointer("/requestBody/content/application~1json/schema")?;
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#'))?,
        None => schema,
    };
    Some(schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect())
}

/// The words of a refusal that clients of the surface look for.
pub(crate) fn has_its_form(surface: Surface, answer: &Answer) -> bool {
    let text = |pointer: &str| answer.at(pointer).as_str().is_some_and(|text| !text.is_empty());
    match surface {
        // Its forms are answered with a page.
        Surface::HashInsight => {
            answer.header("content-type").starts_with("text/html")
                || (answer.at("/success") == false && text("/error") && text("/message"))
        }
        Surface::Zinnia => answer.at("/code").is_u64() && text("/message"),
        Surface::Bitrun => !answer.at("/detail").is_null(),
        Surface::Owl => answer.at("/success") == false && text("/message") && text("/error_code"),
        Surface::Platform => text("/error") && text("/message"),
    }
}
