//! What a compiler does not check: sizes, who may use whom, purity, stubs, copies, documentation of every code.

mod copies;
mod edges;
mod proofs;
mod source;
mod words;

use std::fs;

use anyhow::{Result, bail};

use crate::shell;
use source::Tree;

/// Orientation for people, law for this check: a longer file has more than one subject.
const FILE_LINES_MAX: usize = 600;

/// Checks everything; every breach is named.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::read(&shell::checkout())?;
    let mut breaches = long_files(&tree);
    breaches.extend(edges::breaches(&tree)?);
    breaches.extend(words::breaches(&tree));
    breaches.extend(copies::breaches(&tree));
    breaches.extend(proofs::breaches(&tree));
    breaches.extend(undocumented_codes(&tree));
    if breaches.is_empty() {
        println!("tidy: {} files", tree.files.len());
        return Ok(());
    }
    bail!("tidy:\n  {}", breaches.join("\n  "));
}

fn long_files(tree: &Tree) -> Vec<String> {
    let long = |file: &&source::File| file.rust() && file.text.lines().count() > FILE_LINES_MAX;
    tree.files
        .iter()
        .filter(long)
        .map(|file| format!("{} has {} lines", file.path, file.text.lines().count()))
        .collect()
}

/// One entry in the reference for every refusal code, and none for codes that do not exist.
fn undocumented_codes(tree: &Tree) -> Vec<String> {
    const PAGE: &str = "docs/reference/codes.md";
    let page = fs::read_to_string(shell::checkout().join(PAGE)).unwrap_or_default();
    let Some(table) = tree.files.iter().find(|file| file.path == "crates/model/src/code.rs") else {
        return vec!["crates/model/src/code.rs is missing".to_owned()];
    };
    let minted: Vec<&str> = source::codes(&table.text).collect();
    let rows = page.lines().filter(|line| line.starts_with("| PC"));
    let documented: Vec<&str> = rows.filter_map(|row| row.split(' ').nth(1)).collect();
    let missing: Vec<&str> =
        minted.iter().copied().filter(|code| !documented.contains(code)).collect();
    let stale: Vec<&str> =
        documented.iter().copied().filter(|code| !minted.contains(code)).collect();
    let mut breaches = Vec::new();
    if !missing.is_empty() {
        let list = missing.join(", ");
        breaches.push(format!("{PAGE} has no entry for {list}; `cargo xtask docs` writes it"));
    }
    if !stale.is_empty() {
        breaches.push(format!("{PAGE} describes what does not exist: {}", stale.join(", ")));
    }
    breaches
}
