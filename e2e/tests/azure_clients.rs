//! Workloads with the libraries that they use on Azure, unmodified: Python's, Node's and Rust's, with a secret, a
//! certificate, and a cluster's token. Each token opens PostgreSQL through the gateway; one opens MariaDB.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use testkit::program;
use testkit::stack::federation::JOB;
use testkit::stack::{Beside, Facts, Options};

use crate::support::{assert_says, own_with, shared};
use crate::token_service::{CLIENTS, must, python};

/// Where something is made once for each change of what it is made from, by whichever test process comes first.
fn made(name: &str, from: &str, make: impl FnOnce(&Path, &Path)) -> PathBuf {
    let from = Path::new(CLIENTS).join(from);
    let wanted = fs::read(&from).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let remembered = folder.join("made-from");
    if !fs::read(&remembered).is_ok_and(|made| made == wanted) {
        make(&folder, &from);
        fs::write(&remembered, wanted).unwrap();
    }
    folder
}

/// The folder with the libraries of `package.json`.
pub(crate) fn node_modules() -> &'static Path {
    static MODULES: OnceLock<PathBuf> = OnceLock::new();
    MODULES.get_or_init(|| {
        let folder = made("azure-node", "azure/node/package.json", |folder, from| {
            fs::copy(from, folder.join("package.json")).unwrap();
            let mut npm = Command::new("npm");
            must(npm.args(["install", "--silent", "--no-fund"]).current_dir(folder));
        });
        folder.join("node_modules")
    })
}

/// The program in `azure/rust`.
fn rust() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = made("azure-rust", "azure/rust/src/main.rs", |folder, _| {
            let mut cargo = Command::new("cargo");
            cargo.args(["build", "--locked", "--quiet", "--manifest-path"]);
            cargo.arg(Path::new(CLIENTS).join("azure/rust/Cargo.toml"));
            must(cargo.env("CARGO_TARGET_DIR", folder));
        });
        folder.join("debug/azure-tokens")
    })
}

fn in_python(which: &str) -> Command {
    let mut command = program::clean(python());
    command.arg(Path::new(CLIENTS).join("azure_tokens.py")).arg(which);
    command
}

fn in_node(which: &str) -> Command {
    let mut command = program::clean("node");
    command.arg(Path::new(CLIENTS).join("azure/node/tokens.js")).arg(which);
    command.env("NODE_PATH", node_modules());
    command
}

fn in_rust(which: &str) -> Command {
    let mut command = program::clean(rust());
    command.arg(which);
    command
}

/// Where the authority is, and under which certificate: what every library needs.
fn told(facts: &Facts, mut command: Command) -> Command {
    let reach = &facts.reach;
    command
        .env("AZURE_AUTHORITY_HOST", format!("{}/", reach.url))
        .env("AZURE_TENANT_ID", &reach.tenant)
        .env("REQUESTS_CA_BUNDLE", &reach.ca)
        .env("SSL_CERT_FILE", &reach.ca)
        .env("NODE_EXTRA_CA_CERTS", &reach.ca)
        .env("NO_PROXY", "localhost,127.0.0.1");
    command
}

fn with_secret(facts: &Facts, command: Command) -> Command {
    let mut command = told(facts, command);
    command.env("AZURE_CLIENT_ID", &facts.api.client_id);
    command.env("AZURE_CLIENT_SECRET", &facts.api.secret);
    command
}

fn with_certificate(facts: &Facts, command: Command) -> Command {
    let mut command = told(facts, command);
    command.env("AZURE_CLIENT_ID", &facts.api.client_id);
    command.env("AZURE_CLIENT_CERTIFICATE_PATH", facts.api.certificate.as_ref().unwrap());
    command
}

/// The environment that a cluster gives a pod.
fn in_a_pod(facts: &Facts, command: Command) -> Command {
    let mut command = told(facts, command);
    command.env("AZURE_CLIENT_ID", &facts.federation.client_id);
    command.env("AZURE_FEDERATED_TOKEN_FILE", facts.federation.token_file());
    command
}

/// Runs it, and asks the database who the token's holder is.
#[track_caller]
fn assert_opens(facts: &Facts, mut command: Command, user: &str) {
    let token = program::run(&mut command).unwrap().expect_success().unwrap();
    let said = facts.reach.psql(user, &token, "select session_user").unwrap();
    assert_eq!(said.expect_success().unwrap(), user, "{command:?}");
}

#[test]
fn pythons_libraries_exchange_a_clusters_token_with_no_change_to_the_code() {
    let facts = shared();
    for which in [
        "workload-identity",
        "workload-identity-aio",
        "default-in-a-pod",
        "default-aio",
        "msal-federated",
    ] {
        assert_opens(facts, in_a_pod(facts, in_python(which)), JOB);
    }
    assert_opens(facts, with_certificate(facts, in_python("msal-certificate")), "orders-api");
    assert_opens(facts, with_secret(facts, in_python("default-aio")), "orders-api");
}

#[test]
fn nodes_libraries_sign_in_with_secret_certificate_and_a_clusters_token() {
    let facts = shared();
    for which in ["secret", "msal-secret"] {
        assert_opens(facts, with_secret(facts, in_node(which)), "orders-api");
    }
    for which in ["certificate", "msal-certificate"] {
        assert_opens(facts, with_certificate(facts, in_node(which)), "orders-api");
    }
    for which in ["workload-identity", "default", "msal-federated"] {
        assert_opens(facts, in_a_pod(facts, in_node(which)), JOB);
    }
}

#[test]
fn rusts_crate_signs_in_with_a_secret_and_a_clusters_token() {
    let facts = shared();
    assert_opens(facts, with_secret(facts, in_rust("secret")), "orders-api");
    assert_opens(facts, in_a_pod(facts, in_rust("workload-identity")), JOB);
}

#[test]
fn every_library_shows_why_a_clusters_token_was_refused() {
    let facts = shared();
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("token");
    fs::write(&other, facts.federation.token("system:serviceaccount:orders:other").unwrap())
        .unwrap();
    for command in [
        in_python("workload-identity"),
        in_python("workload-identity-aio"),
        in_python("msal-federated"),
        in_node("workload-identity"),
        in_rust("workload-identity"),
    ] {
        let mut command = in_a_pod(facts, command);
        let said = program::run(command.env("AZURE_FEDERATED_TOKEN_FILE", &other)).unwrap();
        let said = said.expect_failure(1).unwrap();
        assert_says(&said.text(), &["AADSTS700213: No matching federated identity record found"]);
    }
}

#[test]
fn a_clusters_token_opens_mariadb_too() {
    let stack = own_with(&Options { beside: Beside::MariaDb, ..Options::default() });
    let facts = &stack.facts;
    let mut command = in_a_pod(facts, in_python("workload-identity"));
    let token = program::run(&mut command).unwrap().expect_success().unwrap();
    let said = facts.mariadb(JOB, &token, "select substring_index(current_user(), '@', 1)");
    assert_eq!(said.unwrap().expect_success().unwrap(), JOB);
    let count = facts.mariadb(JOB, &token, "select count(*) > 0 from orders").unwrap();
    assert_eq!(count.expect_success().unwrap(), "1");
}
