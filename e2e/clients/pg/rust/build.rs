//! Tells the programs which versions of the drivers they are built with.

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let lock = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
    for (package, variable) in [("tokio-postgres", "TOKIO_POSTGRES"), ("sqlx", "SQLX")] {
        let entry = format!("name = \"{package}\"\nversion = \"");
        let version = lock.split(&entry).nth(1).and_then(|rest| rest.split('"').next());
        println!("cargo::rustc-env={variable}={}", version.unwrap_or("unknown"));
    }
}
