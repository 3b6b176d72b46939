//! Unmodified client libraries get tokens, and what they get opens the database. Each is told about the authority in
//! exactly the way that its guide prints.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use testkit::program::{self, Said};
use testkit::stack::Facts;

use crate::support::{assert_says, newcomer, shared};

pub(crate) const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");

/// A Python with the client libraries of `requirements.txt`, made once for each change of that file.
pub(crate) fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let wanted = fs::read_to_string(Path::new(CLIENTS).join("requirements.txt")).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("azure-clients");
        fs::create_dir_all(&folder).unwrap();
        // Other test processes may make it at the same time.
        let lock = File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let made = folder.join("requirements.txt");
        let python = folder.join("venv/bin/python");
        if fs::read_to_string(&made).is_ok_and(|made| made == wanted) {
            return python;
        }
        must(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder.join("venv")));
        let mut pip = Command::new(&python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ]);
        must(pip.arg(Path::new(CLIENTS).join("requirements.txt")));
        fs::write(&made, wanted).unwrap();
        python
    })
}

pub(crate) fn must(command: &mut Command) {
    program::run(command).unwrap().expect_success().unwrap();
}

/// One of the clients in `azure_tokens.py`, in the environment of an application.
fn client(facts: &Facts, which: &str) -> Command {
    let reach = &facts.reach;
    let mut command = program::clean(python());
    command
        .arg(Path::new(CLIENTS).join("azure_tokens.py"))
        .arg(which)
        .env("AZURE_AUTHORITY_HOST", format!("{}/", reach.url))
        .env("AZURE_TENANT_ID", &reach.tenant)
        .env("AZURE_CLIENT_ID", &facts.api.client_id)
        .env("REQUESTS_CA_BUNDLE", &reach.ca)
        .env("SSL_CERT_FILE", &reach.ca)
        .env("NO_PROXY", "localhost,127.0.0.1");
    command
}

fn with_secret(facts: &Facts, which: &str, secret: &str) -> Said {
    program::run(client(facts, which).env("AZURE_CLIENT_SECRET", secret)).unwrap()
}

fn with_certificate(facts: &Facts, which: &str) -> Said {
    let certificate = facts.api.certificate.as_ref().unwrap();
    program::run(client(facts, which).env("AZURE_CLIENT_CERTIFICATE_PATH", certificate)).unwrap()
}

/// Who the database says that the token's holder is.
pub(crate) fn session_user(facts: &Facts, user: &str, token: &str) -> String {
    facts.reach.psql(user, token, "select session_user").unwrap().expect_success().unwrap()
}

#[test]
fn azure_identity_for_python_signs_a_workload_in_with_secret_and_with_certificate() {
    let facts = shared();
    for said in [
        with_secret(facts, "secret", &facts.api.secret),
        with_secret(facts, "secret-aio", &facts.api.secret),
        with_secret(facts, "default", &facts.api.secret),
        with_certificate(facts, "certificate"),
        with_certificate(facts, "certificate-aio"),
    ] {
        let token = said.expect_success().unwrap();
        assert_eq!(session_user(facts, &facts.api.application, &token), facts.api.application);
    }
}

#[test]
fn msal_for_python_is_told_about_the_authority_in_any_of_its_three_ways() {
    let facts = shared();
    let said = with_secret(facts, "msal-secret", &facts.api.secret).expect_success().unwrap();
    let tokens: Vec<&str> = said.lines().collect();
    assert_eq!(tokens.len(), 3);
    for token in tokens {
        assert_eq!(session_user(facts, &facts.api.application, token), facts.api.application);
    }
}

#[test]
fn a_wrong_secret_reaches_the_caller_as_entras_own_words() {
    let facts = shared();
    for which in ["secret", "secret-aio"] {
        let said = with_secret(facts, which, "wrong").expect_failure(1).unwrap();
        assert_says(&said.text(), &["AADSTS7000215: Invalid client secret provided."]);
    }
    let mut stranger = client(facts, "secret");
    stranger.env("AZURE_CLIENT_ID", "00000000-0000-4000-8000-000000000001");
    let said = program::run(stranger.env("AZURE_CLIENT_SECRET", "x")).unwrap();
    assert_says(&said.expect_failure(1).unwrap().text(), &["AADSTS700016"]);
}

/// A program that waits for a person.
struct Waiting {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Waiting {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn finish(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn a_device_code_of_msal_is_approved_on_the_command_line_and_its_tokens_renew() {
    let facts = shared();
    let person = newcomer(facts, &["orders-readers"]);
    facts.activate(&person, "orders-readers", "5m").unwrap();
    let mut device = Waiting::start(&mut client(facts, "msal-device-code"));
    let user_code = device.line();
    let message = device.line();
    assert_says(&message, &["To sign in, use a web browser to open the page", &user_code]);
    let approved = approve(&person, &user_code);
    assert_says(&approved, &["127.0.0.1", "public client"]);
    let (token, cached, control) = (device.line(), device.line(), device.line());
    assert_eq!(session_user(facts, &person.user, &token), person.user);
    assert_eq!(cached, token);
    let claims = e2e::jwt::Jwt::read(&control).unwrap().claims;
    assert_eq!(crate::support::text(&claims, "/aud"), "api://portcullis");
    assert_eq!(device.line(), person.user);
    device.finish();
}

#[test]
fn a_device_code_of_azure_identity_is_approved_too() {
    let facts = shared();
    let person = newcomer(facts, &["orders-readers"]);
    facts.activate(&person, "orders-readers", "5m").unwrap();
    let mut device = Waiting::start(&mut client(facts, "device-code"));
    let user_code = device.line();
    approve(&person, &user_code);
    let token = device.line();
    assert_eq!(session_user(facts, &person.user, &token), person.user);
    assert_eq!(device.line(), person.user);
    device.finish();
}

/// What the person is shown on the way.
fn approve(person: &testkit::stack::Person, user_code: &str) -> String {
    let mut login =
        person.portcullis(&["login", "--device-code", user_code, "--decision", "approve"]);
    login.arg("--key-file").arg(person.key_file());
    login.arg("--totp-secret-file").arg(person.totp_secret_file());
    let said = program::run(&mut login).unwrap();
    let shown = said.text();
    said.expect_success().unwrap();
    shown
}
