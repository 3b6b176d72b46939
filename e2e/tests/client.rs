//! The command line on a person's or a workload's machine: keys, tokens, and what it says when something is not right.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use testkit::program;
use testkit::stack::{Credential, Person};

use crate::support::{assert_says, newcomer, shared};

/// Exit codes of the command line.
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const NOT_SIGNED_IN: i32 = 4;
const UNREACHABLE: i32 = 5;

/// Files of this person with this ending, wherever the command line keeps them.
fn kept(person: &Person, ending: &str) -> Vec<PathBuf> {
    let folders = fs::read_dir(&person.home).unwrap().map(|entry| entry.unwrap().path());
    let inside = folders.filter(|path| path.is_dir()).flat_map(|folder| {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    });
    inside.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

#[test]
fn processes_that_renew_a_token_at_the_same_moment_do_not_sign_the_person_out() {
    let facts = shared();
    let person = newcomer(facts, &[]);
    // A sign-in leaves a token for the API only: each of these finds that it must renew.
    let renewing: Vec<_> = (0..8)
        .map(|_| {
            let mut command = person.portcullis(&["token"]);
            std::thread::spawn(move || program::run(&mut command).unwrap())
        })
        .collect();
    let tokens: Vec<String> =
        renewing.into_iter().map(|said| said.join().unwrap().expect_success().unwrap()).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "one renews, the others wait for it");
    // The refresh token that is kept now still counts.
    let [tokens_file] = kept(&person, ".tokens.json").try_into().unwrap();
    let text = fs::read_to_string(&tokens_file).unwrap();
    let mut file: serde_json::Value = serde_json::from_str(&text).unwrap();
    file["access"] = serde_json::json!({});
    fs::write(&tokens_file, file.to_string()).unwrap();
    assert_ne!(person.token().unwrap(), tokens[0]);
}

#[test]
fn keys_and_tokens_are_private_and_exposed_ones_are_not_used() {
    let facts = shared();
    let person = newcomer(facts, &[]);
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let [tokens] = kept(&person, ".tokens.json").try_into().unwrap();
    let folder = tokens.parent().unwrap().to_owned();
    let private = [person.key_file(), person.totp_secret_file(), tokens.clone()];
    assert_eq!(private.each_ref().map(mode), [0o600; 3]);
    assert_eq!(mode(&folder), 0o700);
    fs::set_permissions(&tokens, fs::Permissions::from_mode(0o644)).unwrap();
    let said = person.run(&["token"]).unwrap().expect_failure(FAILED).unwrap();
    assert_says(&said.stderr, &["others can read", "mode 0644", "chmod go= FILE"]);
    fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(person.key_file(), fs::Permissions::from_mode(0o640)).unwrap();
    let mut login = person.portcullis(&["login", "--key-file"]);
    login.arg(person.key_file()).arg("--totp-secret-file").arg(person.totp_secret_file());
    let said = program::run(&mut login).unwrap().expect_failure(FAILED).unwrap();
    assert_says(&said.stderr, &["others can read", "mode 0640"]);
}

#[test]
fn signing_out_forgets_tokens_and_keeps_the_key() {
    let facts = shared();
    let person = newcomer(facts, &[]);
    person.must(&["logout"]).unwrap();
    let said = person.run(&["token"]).unwrap().expect_failure(NOT_SIGNED_IN).unwrap();
    assert_says(&said.stderr, &["nobody is signed in", "portcullis login"]);
    person.sign_in().unwrap();
    person.token().unwrap();
}

#[test]
fn a_pass_in_someone_elses_hands_and_a_wrong_one_enrol_nobody() {
    let facts = shared();
    let person = newcomer(facts, &[]);
    let key = fs::read_to_string(person.key_file()).unwrap();
    let said = person.enrol("wrong-pass").unwrap_err();
    assert_says(&format!("{said:#}"), &["PC2021"]);
    assert_eq!(fs::read_to_string(person.key_file()).unwrap(), key, "the former key stays");
    person.sign_in().unwrap();
}

#[test]
fn a_secret_in_the_argument_list_counts_with_a_warning() {
    let facts = shared();
    let person = newcomer(facts, &[]);
    let secret = fs::read_to_string(person.totp_secret_file()).unwrap();
    let mut login = person.portcullis(&["login", "--totp-secret-file", secret.trim()]);
    login.arg("--key-file").arg(person.key_file());
    let said = program::run(&mut login).unwrap();
    assert_says(&said.stderr, &["can read a secret in an argument list", "signed in as"]);
    assert!(!said.text().contains(secret.trim()));
}

#[test]
fn a_stranger_in_place_of_the_installation_is_recognised() {
    let facts = shared();
    let other = facts.folder.join("stranger.pem");
    testkit::stack::certificate(&other).unwrap();
    let mut command = facts.api.token_command(Credential::Secret).unwrap();
    let said = program::run(command.env("PORTCULLIS_CA", &other)).unwrap();
    let said = said.expect_failure(UNREACHABLE).unwrap();
    assert_says(&said.stderr, &["cannot be trusted", "PORTCULLIS_CA"]);
    let mut command = facts.api.token_command(Credential::Secret).unwrap();
    let said = program::run(command.env("AZURE_AUTHORITY_HOST", "https://localhost:1")).unwrap();
    assert_says(&said.expect_failure(UNREACHABLE).unwrap().stderr, &["cannot be reached"]);
}

#[test]
fn a_workloads_environment_is_checked_before_anything_is_sent() {
    let facts = shared();
    let token = || facts.api.token_command(Credential::Secret).unwrap();
    for (variable, value, expected) in [
        ("AZURE_TENANT_ID", "", "AZURE_TENANT_ID is not set"),
        ("AZURE_TENANT_ID", "../x", "AZURE_TENANT_ID is not a tenant's id or domain"),
        (
            "AZURE_CLIENT_SECRET",
            "",
            "AZURE_CLIENT_CERTIFICATE_PATH or AZURE_FEDERATED_TOKEN_FILE is not set",
        ),
        ("AZURE_AUTHORITY_HOST", "http://localhost:1", "AZURE_AUTHORITY_HOST is not an address"),
    ] {
        let said = program::run(token().env(variable, value)).unwrap();
        let said = said.expect_failure(USAGE).unwrap();
        assert_says(&said.stderr, &[expected]);
        assert!(!said.stderr.contains(&facts.api.secret));
    }
    let mut federated = token();
    federated.env("AZURE_CLIENT_SECRET", "").env("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token");
    let said = program::run(&mut federated).unwrap();
    assert!(!said.ok());
    assert_says(&said.stderr, &["`/nowhere/token`"]);
    let said = program::run(token().env("AZURE_CLIENT_SECRET", "wrong")).unwrap();
    assert_says(&said.expect_failure(NOT_SIGNED_IN).unwrap().stderr, &["AADSTS7000215"]);
}
