//! Words that must not stay in the tree.

use crate::tree::{Source, crate_sources, files, none_of, rust_files};

/// Written in two halves, so that this list does not find itself.
const UNFINISHED: [&str; 5] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
];

/// A test that does not run proves nothing.
const SWITCHED_OFF: [&str; 2] = [concat!("#[ig", "nore"), concat!("cfg_attr(", "ignore")];

/// Hosts and places that only the machine of a developer knows.
const FOREIGN: [&str; 7] = [
    concat!("crates", ".io"),
    concat!("npmjs", ".org"),
    concat!("pypi", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/wo", "rk/"),
];

/// Where the checks above have no say: what cargo writes itself, and what the seeds' documents call their own.
fn is_text_of_ours(path: &str) -> bool {
    let ending = path.rsplit('.').next().unwrap_or_default();
    let text = ["rs", "toml", "md", "sql", "sh", "yml", "yaml"].contains(&ending) || path.ends_with("/run");
    text && !path.starts_with("tests/fixtures/")
}

fn find(sources: &[Source], words: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            let found = words.iter().find(|word| line.contains(**word));
            findings.extend(found.map(|word| format!("{}:{}: {word}", source.path, index + 1)));
        }
    }
    findings
}

#[test]
fn nothing_is_left_unfinished() {
    none_of(&find(&files("", is_text_of_ours), &UNFINISHED), "marked as unfinished");
}

#[test]
fn no_test_is_switched_off() {
    none_of(&find(&files("", is_text_of_ours), &SWITCHED_OFF), "tests that never run");
}

#[test]
fn nothing_names_a_machine_or_a_registry() {
    none_of(&find(&files("", is_text_of_ours), &FOREIGN), "hosts and paths that do not belong here");
}

/// Lints are expected with a reason, never switched off.
#[test]
fn no_lint_is_switched_off() {
    let mut sources = crate_sources();
    sources.extend(rust_files("tests/it"));
    let switches = [concat!("#[al", "low("), concat!("#![al", "low(")];
    none_of(&find(&sources, &switches), "`allow` attributes");
}

/// Bad input gets an answer, so shipped code has no way to fall over. What the compiler itself evaluates may, and
/// `unreachable!` may stand where it says why.
#[test]
fn shipped_code_does_not_panic() {
    let panics = [".unwrap()", ".expect(\"", "panic!(", "unreachable!()", "assert!("];
    let starts = ["const ", "pub const ", "pub(crate) const "];
    let runs = |line: &str| !starts.iter().any(|start| line.trim_start().starts_with(start));
    let without_constants = |source: Source| {
        let code = source.code();
        let lines: Vec<&str> = code.lines().map(|line| if runs(line) { line } else { "" }).collect();
        Source { text: lines.join("\n"), path: source.path }
    };
    let shipped = crate_sources().into_iter().filter(|source| !source.is_tests() && !source.path.starts_with("tests/"));
    none_of(&find(&shipped.map(without_constants).collect::<Vec<_>>(), &panics), "code that can panic");
}
