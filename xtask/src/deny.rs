//! Dependency policy (`deny.toml`, in cargo-deny's words): licences, bans, duplicates, sources. Advisories need the
//! network and cargo-deny itself.

mod licence;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A package that some target of ours is built with.
struct Package {
    name: String,
    version: String,
    licence: Option<String>,
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    requirement: String,
    local: bool,
}

impl Package {
    fn ours(&self) -> bool {
        self.source.is_none()
    }

    fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

/// Checks the whole policy; every breach is named.
pub(crate) fn run() -> Result<()> {
    let policy: toml::Table = read("deny.toml")?;
    let workspace: toml::Table = read("Cargo.toml")?;
    let packages = packages(&policy)?;

    let mut breaches = licences(&packages, &policy);
    breaches.extend(bans(&packages, &policy));
    breaches.extend(direct_bans(&packages, &workspace));
    breaches.extend(duplicates(&packages, &policy));
    breaches.extend(wildcards(&packages));
    breaches.extend(sources(&packages));
    if breaches.is_empty() {
        println!("dependency policy: {} packages, nothing against it", packages.len());
        return Ok(());
    }
    bail!("dependency policy:\n  {}", breaches.join("\n  "));
}

fn read(name: &str) -> Result<toml::Table> {
    let text = std::fs::read_to_string(shell::checkout().join(name)).context(name.to_owned())?;
    text.parse().context(name.to_owned())
}

/// Every package in the build of any target that the policy names. `cargo metadata` also resolves what no feature of
/// ours switches on; `cargo tree` knows what is built.
fn packages(policy: &toml::Table) -> Result<Vec<Package>> {
    let mut built = BTreeSet::new();
    for target in strings(at(policy, &["graph", "targets"])) {
        let arguments = ["tree", "--workspace", "--locked", "--target", target, "--prefix=none"];
        let tree = shell::output(shell::cargo(arguments).arg("--format={p}"))?;
        for line in tree.lines() {
            let mut words = line.split(' ');
            if let (Some(name), Some(version)) = (words.next(), words.next()) {
                built.insert((name.to_owned(), version.trim_start_matches('v').to_owned()));
            }
        }
    }
    let arguments = ["metadata", "--format-version=1", "--locked"];
    let metadata: Value = serde_json::from_str(&shell::output(&mut shell::cargo(arguments))?)?;
    let all = items(&metadata, "/packages").map(package_of);
    Ok(all.filter(|p| built.contains(&(p.name.clone(), p.version.clone()))).collect())
}

fn package_of(value: &Value) -> Package {
    let owned = |key| text(value, key).map(str::to_owned);
    Package {
        name: owned("name").unwrap_or_default(),
        version: owned("version").unwrap_or_default(),
        licence: owned("license"),
        source: owned("source"),
        dependencies: items(value, "/dependencies")
            .map(|dependency| Dependency {
                name: text(dependency, "name").unwrap_or_default().to_owned(),
                requirement: text(dependency, "req").unwrap_or_default().to_owned(),
                local: text(dependency, "path").is_some(),
            })
            .collect(),
    }
}

fn licences(packages: &[Package], policy: &toml::Table) -> Vec<String> {
    let allowed: BTreeSet<&str> = strings(at(policy, &["licenses", "allow"])).collect();
    let judge = |package: &Package| match &package.licence {
        None => Some(format!("{} names no licence", package.label())),
        Some(expression) => match licence::satisfied(expression, &allowed) {
            Ok(true) => None,
            Ok(false) => Some(format!("{}: licence `{expression}`", package.label())),
            Err(error) => Some(format!("{}: licence `{expression}`: {error}", package.label())),
        },
    };
    packages.iter().filter_map(judge).collect()
}

fn bans(packages: &[Package], policy: &toml::Table) -> Vec<String> {
    let mut breaches = Vec::new();
    for ban in tables(at(policy, &["bans", "deny"])) {
        let (name, reason) = (string(ban, "crate"), string(ban, "reason"));
        for package in packages.iter().filter(|package| package.name == name) {
            breaches.push(format!("{} is banned: {reason}", package.label()));
        }
    }
    breaches
}

fn direct_bans(packages: &[Package], workspace: &toml::Table) -> Vec<String> {
    let path = ["workspace", "metadata", "portcullis", "direct-bans"];
    let banned: BTreeSet<&str> = strings(at(workspace, &path)).collect();
    let mut breaches = Vec::new();
    for package in packages.iter().filter(|package| package.ours()) {
        for dependency in &package.dependencies {
            if banned.contains(dependency.name.as_str()) {
                breaches.push(format!("{} names `{}`", package.name, dependency.name));
            }
        }
    }
    breaches
}

/// The list of tolerated duplicates may only shrink: an entry that is not needed is a breach too.
fn duplicates(packages: &[Package], policy: &toml::Table) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let tolerated: BTreeSet<&str> =
        tables(at(policy, &["bans", "skip"])).map(|skip| name_of(string(skip, "crate"))).collect();
    let mut breaches = Vec::new();
    for (name, versions) in &versions {
        if !tolerated.contains(name) {
            let list: Vec<&str> = versions.iter().copied().collect();
            breaches.push(format!("{name} comes in several versions: {}", list.join(", ")));
        }
    }
    for name in tolerated {
        if !versions.contains_key(name) {
            breaches.push(format!("deny.toml tolerates duplicates of `{name}`; there are none"));
        }
    }
    breaches
}

/// `name@version` or `name`.
fn name_of(entry: &str) -> &str {
    entry.split_once('@').map_or(entry, |(name, _)| name)
}

fn wildcards(packages: &[Package]) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in packages.iter().filter(|package| package.ours()) {
        for dependency in package.dependencies.iter().filter(|dependency| !dependency.local) {
            if dependency.requirement == "*" {
                breaches.push(format!("{} takes any `{}`", package.name, dependency.name));
            }
        }
    }
    breaches
}

fn sources(packages: &[Package]) -> Vec<String> {
    let foreign = |package: &&Package| package.source.as_deref().is_some_and(|s| s != REGISTRY);
    packages
        .iter()
        .filter(foreign)
        .map(|package| {
            format!("{} comes from {}", package.label(), package.source.as_deref().unwrap_or("?"))
        })
        .collect()
}

fn at<'a>(table: &'a toml::Table, path: &[&str]) -> Option<&'a toml::Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, key| value.get(key))
}

fn strings(value: Option<&toml::Value>) -> impl Iterator<Item = &str> {
    value.and_then(toml::Value::as_array).into_iter().flatten().filter_map(toml::Value::as_str)
}

fn tables(value: Option<&toml::Value>) -> impl Iterator<Item = &toml::Table> {
    value.and_then(toml::Value::as_array).into_iter().flatten().filter_map(toml::Value::as_table)
}

fn string<'a>(table: &'a toml::Table, key: &str) -> &'a str {
    table.get(key).and_then(toml::Value::as_str).unwrap_or_default()
}

fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}
