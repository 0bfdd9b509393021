//! The sources of this repository, as the checks of its order read them.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories that hold what was built or stored, not what was written.
const NOT_WRITTEN: [&str; 4] = ["target", ".git", "data", "node_modules"];

/// The crates, inside out.
pub(crate) const CRATES: [&str; 7] = ["domain", "migrations", "commands", "projections", "replay", "api", "tests"];

/// One file of the tree.
pub(crate) struct Source {
    /// From the top of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The file's name without its ending.
    pub(crate) fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.rsplit_once('.').map_or(name, |(stem, _)| stem)
    }

    /// Whether the whole file is a tests module.
    pub(crate) fn is_tests(&self) -> bool {
        self.stem() == "tests" || self.path.contains("/tests/")
    }

    /// The lines that ship: everything before the tests module, which stands last.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = &str> {
        self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines()
    }

    /// The shipped lines, comments left empty.
    pub(crate) fn code(&self) -> String {
        let is_comment = |line: &str| line.trim_start().starts_with("//");
        self.shipped().map(|line| if is_comment(line) { "" } else { line }).collect::<Vec<_>>().join("\n")
    }
}

/// The top of the repository.
pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The text of one file, by its path from the top.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file under `directory`, in the order of their names.
pub(crate) fn rust_files(directory: &str) -> Vec<Source> {
    files(directory, |path| path.rsplit('.').next() == Some("rs"))
}

/// Every shipped Rust file of every crate.
pub(crate) fn crate_sources() -> Vec<Source> {
    CRATES.iter().flat_map(|name| rust_files(&format!("{name}/src"))).collect()
}

/// Every file under `directory` whose path `wanted` accepts, in the order of their names.
pub(crate) fn files(directory: &str, wanted: impl Fn(&str) -> bool) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&top().join(directory), &mut paths);
    paths.sort();
    let relative = |path: &PathBuf| path.strip_prefix(top()).unwrap().to_string_lossy().into_owned();
    let wanted_paths = paths.iter().map(relative).filter(|path| wanted(path));
    wanted_paths.map(|path| Source { text: read(&path), path }).collect()
}

/// The names of the directories in `directory`, in order.
pub(crate) fn directories(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(top().join(directory)).unwrap().map(Result::unwrap);
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !NOT_WRITTEN.contains(&name.as_str()) {
            collect(&path, paths);
        } else if path.is_file() {
            paths.push(path);
        }
    }
}

/// Fails with every finding on a line of its own.
pub(crate) fn none_of(findings: &[String], rule: &str) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
