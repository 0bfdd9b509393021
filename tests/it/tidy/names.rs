//! Sizes and names of files.

use std::collections::BTreeSet;

use crate::tree::{Source, crate_sources, none_of, read, rust_files};

/// Most lines of one file, its tests not counted.
const LINES_MAX: usize = 400;

/// Words that say nothing about what a module is for.
const EMPTY_WORDS: [&str; 14] = [
    "util", "utils", "common", "commons", "helper", "helpers", "manager", "managers", "service", "services", "misc",
    "shared", "base", "stuff",
];

/// Sources of `projections` and `commands` that may derive `Serialize`, each for a reason: rows and commands never go
/// to a client as they are, only `api` knows the wire.
const MAY_SERIALIZE: [&str; 0] = [];

#[test]
fn no_file_is_too_long() {
    let too_long = crate_sources().into_iter().filter(|source| !source.is_tests()).filter_map(|source| {
        let lines = source.shipped().count();
        (lines > LINES_MAX).then(|| format!("{}: {lines}", source.path))
    });
    none_of(&too_long.collect::<Vec<_>>(), "files of more than 400 lines; split them along a seam");
}

#[test]
fn every_module_is_named_after_what_it_is_for() {
    let empty = |word: &str| EMPTY_WORDS.contains(&word);
    let declared = |line: &str| {
        let name = line.trim().trim_start_matches("pub ").trim_start_matches("pub(crate) ").strip_prefix("mod ");
        name.is_some_and(|name| name.trim_end_matches([';', ' ', '{']).split('_').any(empty))
    };
    let mut sources = crate_sources();
    sources.extend(rust_files("tests/it"));
    let badly_named = sources
        .iter()
        .filter(|source| source.path.split(['/', '.', '_']).skip(1).any(empty) || source.text.lines().any(declared));
    let findings: Vec<String> = badly_named.map(|source| source.path.clone()).collect();
    none_of(&findings, "module names that say nothing");
}

#[test]
fn no_two_shapes_of_one_product_have_one_name() {
    let mut seen = BTreeSet::new();
    let mut twice = Vec::new();
    for source in crate_sources().iter().filter(|source| source.path.starts_with("api/src/")) {
        let product = source.path["api/src/".len()..].split(['/', '.']).next().unwrap_or_default();
        let mut is_shape = false;
        for line in source.shipped() {
            is_shape |= line.contains("ToSchema") && line.trim_start().starts_with("#[derive");
            let declared = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            let declared = declared.trim_start_matches("pub(super) ");
            let name = declared.strip_prefix("struct ").or(declared.strip_prefix("enum "));
            if let Some(name) = name.filter(|_| std::mem::take(&mut is_shape)) {
                let name = name.split(['<', ' ', '(', ';']).next().unwrap_or_default();
                if !seen.insert((product.to_owned(), name.to_owned())) {
                    twice.push(format!("{}: {name}", source.path));
                }
            }
        }
    }
    none_of(&twice, "names of two shapes in one product: its OpenAPI document has room for one of them");
}

#[test]
fn modules_are_files_beside_their_directory() {
    let mut sources = crate_sources();
    sources.extend(rust_files("tests/it"));
    let findings = sources.iter().filter(|source| source.stem() == "mod").map(|source| source.path.clone());
    none_of(&findings.collect::<Vec<_>>(), "`foo/mod.rs` instead of `foo.rs`");
}

#[test]
fn every_file_says_what_it_is() {
    let silent = crate_sources().into_iter().filter(|source| !source.text.starts_with("//!") && !source.is_tests());
    let findings: Vec<String> = silent.map(|source| source.path).collect();
    none_of(&findings, "files without a first line that says what they hold");
}

#[test]
fn only_the_api_serialises_for_clients() {
    let derives = |source: &Source| {
        source.shipped().any(|line| line.trim_start().starts_with("#[derive(") && line.contains("Serialize"))
    };
    let mut sources = rust_files("projections/src");
    sources.extend(rust_files("commands/src"));
    let findings = sources.iter().filter(|source| derives(source) && !MAY_SERIALIZE.contains(&source.path.as_str()));
    none_of(&findings.map(|source| source.path.clone()).collect::<Vec<_>>(), "`Serialize` outside of `api` and events");
}

#[test]
fn the_changelog_has_a_place_for_what_comes_next() {
    let changelog = read("CHANGELOG.md");
    assert!(changelog.lines().any(|line| line == "## [Unreleased]"), "CHANGELOG.md has no section [Unreleased]");
}
