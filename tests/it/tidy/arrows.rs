//! Who may use whom: the crates, and the contexts inside `domain`.

use toml::Table;

use crate::tree::{CRATES, Source, directories, none_of, read, rust_files};

/// What each crate may use of the workspace.
const MAY_USE: [(&str, &[&str]); 7] = [
    ("domain", &[]),
    ("migrations", &[]),
    ("commands", &["domain", "migrations"]),
    ("projections", &["domain", "migrations"]),
    ("replay", &["domain", "commands", "projections", "migrations"]),
    ("api", &["domain", "commands", "projections", "migrations", "replay"]),
    ("tests", &["domain", "commands", "projections", "migrations", "replay", "api"]),
];

/// Everything the domain is built on: values, their form in the log, and arithmetic. Nothing that reads or writes.
const DOMAIN_MAY_USE: [&str; 11] = [
    "async-trait",
    "chrono",
    "cqrs-es",
    "proptest",
    "rust_decimal",
    "serde",
    "serde_json",
    "sha2",
    "ta-lib",
    "thiserror",
    "uuid",
];

/// What speaks HTTP. Only `api` knows the wire; `tests` calls it.
const WIRE: [&str; 5] = ["axum", "utoipa", "utoipa-axum", "utoipa-swagger-ui", "tower-http"];

/// The names in every `…dependencies` table of a manifest, those of single platforms as well.
fn dependencies(manifest: &Table) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in manifest {
        let Some(table) = value.as_table() else { continue };
        if key.ends_with("dependencies") {
            names.extend(table.keys().cloned());
        } else if key == "target" {
            names.extend(table.values().filter_map(toml::Value::as_table).flat_map(dependencies));
        }
    }
    names
}

fn dependencies_of(name: &str) -> Vec<String> {
    dependencies(&read(&format!("{name}/Cargo.toml")).parse().unwrap())
}

#[test]
fn every_crate_stands_in_the_picture() {
    let manifest: Table = read("Cargo.toml").parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    let unknown = members.iter().filter_map(toml::Value::as_str).filter(|name| !CRATES.contains(name));
    none_of(&unknown.map(str::to_owned).collect::<Vec<_>>(), "crates without a rule");
}

#[test]
fn crates_use_only_what_lies_further_inside() {
    let mut findings = Vec::new();
    for (name, may_use) in MAY_USE {
        let used = dependencies_of(name).into_iter().filter(|used| CRATES.contains(&used.as_str()));
        let forbidden = used.filter(|used| !may_use.contains(&used.as_str()));
        findings.extend(forbidden.map(|used| format!("{name} -> {used}")));
    }
    none_of(&findings, "arrows that must not be");
}

#[test]
fn the_domain_is_pure() {
    let impure = dependencies_of("domain").into_iter().filter(|name| !DOMAIN_MAY_USE.contains(&name.as_str()));
    none_of(&impure.collect::<Vec<_>>(), "dependencies of the domain that are not known to be pure");
}

#[test]
fn only_the_api_knows_the_wire() {
    let mut findings = Vec::new();
    for name in ["domain", "migrations", "commands", "projections", "replay"] {
        let wire = dependencies_of(name).into_iter().filter(|used| WIRE.contains(&used.as_str()));
        findings.extend(wire.map(|used| format!("{name} -> {used}")));
    }
    none_of(&findings, "HTTP outside of `api`");
}

/// The modules that a path of `crate::` or `super::` names first, in this source.
fn modules_named(code: &str) -> Vec<&str> {
    let paths = code.match_indices("crate::").map(|(at, found)| &code[at + found.len()..]);
    let paths = paths.chain(code.match_indices("super::").map(|(at, found)| &code[at + found.len()..]));
    paths.flat_map(first_names).collect()
}

/// `a::b` names `a`; `{a::b, c}` names `a` and `c`.
fn first_names(path: &str) -> Vec<&str> {
    let name = |part: &str| part.trim().find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(part.trim().len());
    let Some(group) = path.strip_prefix('{') else { return vec![&path[..name(path)]] };
    let (mut depth, mut start, mut names) = (0_usize, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let part = group[start..at].trim();
                names.push(&part[..name(part)]);
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

#[test]
fn paths_are_read_as_the_compiler_does() {
    assert_eq!(first_names("hosting::site::Site;"), ["hosting"]);
    assert_eq!(first_names("{event::{A, B}, crm::{C}, log};"), ["event", "crm", "log"]);
    assert_eq!(modules_named("use super::super::crm::lead;"), ["super", "crm"]);
}

#[test]
fn contexts_do_not_know_each_other() {
    let contexts = directories("domain/src");
    let mut findings = Vec::new();
    for context in &contexts {
        let mut sources: Vec<Source> = rust_files(&format!("domain/src/{context}"));
        sources
            .push(Source { path: format!("domain/src/{context}.rs"), text: read(&format!("domain/src/{context}.rs")) });
        for source in sources {
            let others = contexts.iter().filter(|other| *other != context);
            let used = others.filter(|other| modules_named(&source.code()).contains(&other.as_str()));
            findings.extend(used.map(|other| format!("{} -> {other}", source.path)));
        }
    }
    none_of(&findings, "contexts that use another one; what both need belongs to the kernel");
}

/// What the runner of all read models has of its own.
const OF_THE_RUNNER: [&str; 2] = ["runner", "writer"];

#[test]
fn projections_stand_in_the_contexts_of_the_domain() {
    let contexts = directories("domain/src");
    let is_known = |name: &String| contexts.contains(name) || OF_THE_RUNNER.contains(&name.as_str());
    let foreign = directories("projections/src").into_iter().filter(|name| !is_known(name));
    none_of(&foreign.collect::<Vec<_>>(), "directories in projections/src that are no context of the domain");
}
