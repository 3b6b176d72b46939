//! Which crate may use which (docs/architecture.md, "Crates"), and that it uses what it asks for.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde_json::Value;

use super::source::Tree;
use crate::shell;

/// Everything of ours that a crate may name.
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("wire", &[]),
    ("affected", &["wire"]),
    ("admission", &["model"]),
    ("scim", &["model"]),
    ("access", &["model"]),
    ("runtime", &["model"]),
    ("store", &["model", "runtime"]),
    ("keys", &["model", "runtime"]),
    ("audit", &["model", "runtime", "keys"]),
    ("control", &["model", "access", "runtime", "store", "keys", "audit"]),
    // `affected` for what views are over: where tables are named, never where statements pass.
    (
        "gateway",
        &["model", "wire", "affected", "access", "runtime", "store", "keys", "audit", "control"],
    ),
    ("sts", &["model", "access", "runtime", "store", "keys", "audit", "control"]),
    ("api", &["model", "affected", "scim", "access", "runtime", "store", "audit", "control"]),
    ("client", &["model", "wire", "runtime", "keys"]),
    ("kubernetes", &["model", "admission", "runtime", "keys"]),
    (
        "portcullis",
        &[
            "model",
            "wire",
            "affected",
            "access",
            "runtime",
            "store",
            "keys",
            "audit",
            "control",
            "gateway",
            "sts",
            "api",
            "client",
            "admission",
            "kubernetes",
        ],
    ),
    // Tests drive the binary, not its insides.
    ("testkit", &["model", "runtime"]),
    ("e2e", &["model", "wire", "testkit"]),
    // An append to the audit log and the verification of a token are measured without the binary around them.
    ("bench", &["model", "access", "runtime", "keys", "audit", "testkit", "e2e"]),
    ("xtask", &[]),
];

/// Nobody builds on these, not even for tests: what two of them need has a place below both.
const DOORS: &[&str] = &["gateway", "sts", "api", "client", "kubernetes", "portcullis"];

/// Third-party crates that only some of ours may name: one place for each kind of input and output.
const RESERVED: &[(&str, &[&str])] = &[
    ("rusqlite", &["store"]),
    ("sqlparser", &["affected"]),
    ("tokio-postgres", &["gateway"]),
    ("postgres-protocol", &["gateway"]),
    ("rcgen", &["keys", "testkit"]),
    ("ureq", &["client", "gateway", "kubernetes"]),
    ("clap", &["portcullis"]),
    (
        "tokio",
        &[
            "runtime",
            "store",
            "audit",
            "control",
            "gateway",
            "sts",
            "api",
            "client",
            "kubernetes",
            "portcullis",
        ],
    ),
    ("axum", &["sts", "api", "kubernetes", "portcullis"]),
];

pub(super) fn breaches(tree: &Tree) -> Result<Vec<String>> {
    let arguments = ["metadata", "--format-version=1", "--no-deps", "--offline"];
    let metadata: Value = serde_json::from_str(&shell::output(&mut shell::cargo(arguments))?)?;
    let packages = metadata.pointer("/packages").and_then(Value::as_array);
    let Some(packages) = packages else { bail!("cargo metadata lists no packages") };

    let table: BTreeMap<&str, BTreeSet<&str>> =
        MAY_USE.iter().map(|(name, used)| (*name, used.iter().copied().collect())).collect();
    let mut breaches = Vec::new();
    for package in packages {
        let crate_name = text(package, "name");
        let Some(may_use) = table.get(crate_name) else {
            breaches.push(format!("`{crate_name}` is not in the table of crates"));
            continue;
        };
        let folder = folder(package);
        let source: String =
            tree.rust_of(&folder).flat_map(|file| [file.text.as_str(), "\n"]).collect();
        for dependency in
            package.pointer("/dependencies").and_then(Value::as_array).into_iter().flatten()
        {
            let used = text(dependency, "name");
            let for_tests = text(dependency, "kind") == "dev";
            let ours = table.contains_key(used);
            let forbidden = !for_tests || DOORS.contains(&used);
            if ours && !may_use.contains(used) && forbidden {
                breaches.push(format!("`{crate_name}` may not use `{used}`"));
            }
            let reserved = RESERVED.iter().find(|(name, _)| *name == used);
            if reserved.is_some_and(|(_, owners)| !for_tests && !owners.contains(&crate_name)) {
                breaches.push(format!("`{crate_name}` may not use `{used}`: others own it"));
            }
            let called = dependency.get("rename").and_then(Value::as_str).unwrap_or(used);
            if !names(&source, called) {
                breaches.push(format!("`{crate_name}` asks for `{used}` and never names it"));
            }
        }
    }
    Ok(breaches)
}

/// Whether the source names the crate: as a path's beginning, in an import, or in a macro's attribute.
fn names(source: &str, dependency: &str) -> bool {
    let word = dependency.replace('-', "_");
    source.match_indices(&word).any(|(at, _)| {
        let before = source.get(..at).and_then(|text| text.chars().next_back());
        let after = source.get(at + word.len()..).and_then(|text| text.chars().next());
        let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !inside(before) && !inside(after)
    })
}

/// Relative to the checkout.
fn folder(package: &Value) -> String {
    let manifest = text(package, "manifest_path");
    let folder = manifest.strip_suffix("/Cargo.toml").unwrap_or(manifest);
    let root = shell::checkout().to_string_lossy().into_owned();
    folder.strip_prefix(&root).unwrap_or(folder).trim_start_matches('/').to_owned()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
