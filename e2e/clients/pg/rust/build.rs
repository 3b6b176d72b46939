//! Tells the programs which versions of the drivers they are built with, and where sqlx's own suite lies.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let lock = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
    for (package, variable) in [("tokio-postgres", "TOKIO_POSTGRES"), ("sqlx", "SQLX")] {
        let entry = format!("name = \"{package}\"\nversion = \"");
        let version = lock.split(&entry).nth(1).and_then(|rest| rest.split('"').next());
        println!("cargo::rustc-env={variable}={}", version.unwrap_or("unknown"));
    }
    println!("cargo::rustc-env=SQLX_SUITE={}", suite().unwrap_or_default());
}

/// In the folder of the crate's manifest.
fn suite() -> Option<String> {
    let cargo = std::env::var("CARGO").ok()?;
    let mut metadata = Command::new(cargo);
    metadata.args(["metadata", "--locked", "--format-version", "1"]);
    let text = String::from_utf8(metadata.output().ok()?.stdout).ok()?;
    let metadata: serde_json::Value = serde_json::from_str(&text).ok()?;
    let packages = metadata.get("packages")?.as_array()?;
    let sqlx = packages.iter().find(|package| package["name"] == "sqlx")?;
    let folder = sqlx["manifest_path"].as_str()?.strip_suffix("Cargo.toml")?;
    Some(format!("{folder}tests/postgres"))
}
