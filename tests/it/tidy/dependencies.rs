//! Licences and bans of `deny.toml`, checked without any tool but cargo.

use std::process::Command;

use serde_json::Value;
use toml::Table;

use crate::tree::{none_of, read, top};

fn deny() -> Table {
    read("deny.toml").parse().unwrap()
}

/// What cargo knows about every crate that is built on this sort of machine.
fn packages() -> Vec<Value> {
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let arguments = ["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", &host];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(top()).output().unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

/// Whether an SPDX expression can be met with `allowed` licences alone. `AND` binds closer than `OR`.
fn is_met(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = any_met(&tokens, &mut at, allowed);
    met && at == tokens.len()
}

fn any_met(tokens: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let mut met = all_met(tokens, at, allowed);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all_met(tokens, at, allowed);
    }
    met
}

fn all_met(tokens: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let mut met = one_met(tokens, at, allowed);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one_met(tokens, at, allowed);
    }
    met
}

fn one_met(tokens: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let Some(&token) = tokens.get(*at) else { return false };
    *at += 1;
    if token == "(" {
        let met = any_met(tokens, at, allowed);
        *at += 1;
        return met;
    }
    if tokens.get(*at) == Some(&"WITH") {
        let exception = tokens.get(*at + 1).copied().unwrap_or_default();
        *at += 2;
        return allowed.contains(&format!("{token} WITH {exception}").as_str());
    }
    allowed.contains(&token)
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"];
    for met in ["MIT", "GPL-3.0 OR MIT", "MIT/Apache-2.0", "ISC AND (MIT OR GPL-3.0)", "Apache-2.0 WITH LLVM-exception"]
    {
        assert!(is_met(met, &allowed), "{met}");
    }
    for unmet in ["GPL-3.0", "MIT AND GPL-3.0", "GPL-3.0 OR ISC AND Apache-2.0", "Apache-2.0", ""] {
        assert!(!is_met(unmet, &allowed), "{unmet}");
    }
}

#[test]
fn every_dependency_has_a_licence_that_we_allow() {
    let deny = deny();
    let allowed: Vec<&str> =
        deny["licenses"]["allow"].as_array().unwrap().iter().filter_map(toml::Value::as_str).collect();
    let refused = packages().into_iter().filter(|package| !is_met(package["license"].as_str().unwrap_or(""), &allowed));
    let findings = refused.map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]));
    none_of(&findings.collect::<Vec<_>>(), "licences that deny.toml does not allow");
}

#[test]
fn no_banned_crate_is_in_the_lock() {
    let deny = deny();
    let banned: Vec<&str> =
        deny["bans"]["deny"].as_array().unwrap().iter().filter_map(|ban| ban["name"].as_str()).collect();
    assert!(!banned.is_empty(), "deny.toml bans nothing");
    let lock: Table = read("Cargo.lock").parse().unwrap();
    let locked = lock["package"].as_array().unwrap().iter().filter_map(|package| package["name"].as_str());
    let findings: Vec<String> = locked.filter(|name| banned.contains(name)).map(str::to_owned).collect();
    none_of(&findings, "crates that deny.toml bans");
}
