//! Tells the programs which version of the driver they are built with.

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let lock = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
    let entry = "name = \"mysql_async\"\nversion = \"";
    let version = lock.split(entry).nth(1).and_then(|rest| rest.split('"').next());
    println!("cargo::rustc-env=MYSQL_ASYNC={}", version.unwrap_or("unknown"));
}
