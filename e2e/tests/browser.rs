//! People in a real browser: they set up keys, look after them, let devices in, and sign programs in. The programs are
//! unmodified libraries, told about the authority in exactly the way that their guide prints.
//!
//! A picture of every page is left in `pages` of the tests' own folder, to be looked at.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use e2e::chromium::{self, Chromium};
use testkit::program;
use testkit::stack::{Facts, Person, REDIRECT_URI};

use crate::azure_clients::node_modules;
use crate::support::{assert_says, events, newcomer, shared};
use crate::token_service::{CLIENTS, python, session_user};

const PASSKEY: &str = "form[data-passkey] button";

fn picture(browser: &Chromium, name: &str) {
    browser.picture(&chromium::gallery(env!("CARGO_TARGET_TMPDIR"), name)).unwrap();
}

fn address(facts: &Facts, path: &str) -> String {
    format!("{}{path}", facts.reach.url)
}

/// A browser of someone who has a passkey in it.
fn with_passkey(facts: &Facts, person: &Person) -> Chromium {
    let mut browser = Chromium::start(&facts.reach).unwrap();
    browser.plug_in().unwrap();
    browser.open(&address(facts, "/account")).unwrap();
    use_pass(facts, &browser, person);
    browser.click(PASSKEY).unwrap();
    browser.says("The passkey was added.").unwrap();
    browser.click(PASSKEY).unwrap();
    browser.says("Your account").unwrap();
    browser
}

fn use_pass(facts: &Facts, browser: &Chromium, person: &Person) {
    let pass = facts.admin.must(&["user", "pass", &person.user, "-o", "json"]).unwrap();
    let pass: serde_json::Value = serde_json::from_str(&pass).unwrap();
    browser.click("details:nth-of-type(2) summary").unwrap();
    browser.fill("#pass-user", &person.user).unwrap();
    browser.fill("#pass", crate::support::text(&pass, "/pass")).unwrap();
    browser.click("form[action='/signin/pass'] button").unwrap();
    browser.says("Set up your sign-in").unwrap();
}

#[test]
fn a_person_sets_up_keys_and_looks_after_them_in_a_browser() {
    let facts = shared();
    let person = newcomer(facts, &[]);
    let mut browser = Chromium::start(&facts.reach).unwrap();
    browser.plug_in().unwrap();
    browser.open(&address(facts, "/account")).unwrap();
    browser.says("Sign in with a passkey").unwrap();
    picture(&browser, "sign-in");
    use_pass(facts, &browser, &person);
    picture(&browser, "set-up");
    browser.fill("#key-name", "Work laptop").unwrap();
    browser.click(PASSKEY).unwrap();
    browser.says("The passkey was added.").unwrap();
    picture(&browser, "set-up-done");
    browser.recognise(false).unwrap();
    browser.click(PASSKEY).unwrap();
    browser.says("Nothing was confirmed.").unwrap();
    picture(&browser, "not-confirmed");
    browser.recognise(true).unwrap();
    browser.click(PASSKEY).unwrap();
    browser.says("Your account").unwrap();
    assert_says(&browser.text().unwrap(), &["this one", "Passkey", &person.user]);
    picture(&browser, "account");
    browser.click("form[action='/account/authenticator'] button").unwrap();
    let secret = browser.read(".secret").unwrap();
    picture(&browser, "authenticator");
    browser.fill("#otp", "000000").unwrap();
    browser.click("form[action='/account/authenticator/confirm'] button").unwrap();
    browser.says("PC2021").unwrap();
    assert_ne!(browser.read(".secret").unwrap(), "", "and the secret stays: {secret}");
    browser.open(&address(facts, "/account")).unwrap();
    browser.click("form[action='/account/passkeys/name'] button").unwrap();
    browser.says("The passkey has its new name.").unwrap();
    browser.click("form[action='/account/signout'] button").unwrap();
    browser.says("holds no session any more").unwrap();
    picture(&browser, "signed-out");
    let complaints = browser.complaints().unwrap();
    let stopped = complaints.iter().find(|complaint| complaint.contains("Content Security Policy"));
    assert_eq!(stopped, None, "the policy stops nothing of ours");
    let signed_in = events(facts, "signIn", &person.user);
    let steps: Vec<&str> =
        signed_in.iter().map(|event| crate::support::text(event, "/step")).collect();
    for step in ["pass", "addPasskey", "passkey", "addAuthenticator", "namePasskey", "signOut"] {
        assert!(steps.contains(&step), "{step} is not among {steps:?}");
    }
}

/// A program that says an address, and may be told where its browser was sent.
struct Program {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn python(facts: &Facts, which: &str) -> Self {
        let mut command = program::clean(python());
        command.arg(Path::new(CLIENTS).join("browser_tokens.py")).arg(which);
        Self::start(facts, &mut command)
    }

    fn node(facts: &Facts, which: &str) -> Self {
        let mut command = program::clean("node");
        command.arg(Path::new(CLIENTS).join("azure/node/browser.js")).arg(which);
        Self::start(facts, command.env("NODE_PATH", node_modules()))
    }

    fn start(facts: &Facts, command: &mut Command) -> Self {
        let reach = &facts.reach;
        command
            .env("AZURE_AUTHORITY_HOST", format!("{}/", reach.url))
            .env("AZURE_TENANT_ID", &reach.tenant)
            .env("AZURE_CLIENT_ID", &facts.api.client_id)
            .env("AZURE_CLIENT_SECRET", &facts.api.secret)
            .env("SDK_REDIRECT_URI", REDIRECT_URI)
            .env("REQUESTS_CA_BUNDLE", &reach.ca)
            .env("SSL_CERT_FILE", &reach.ca)
            .env("NODE_EXTRA_CA_CERTS", &reach.ca)
            .env("NO_PROXY", "localhost,127.0.0.1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    fn finish(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

/// Nothing listens at the web application's address: what counts is where the browser was sent.
fn sent_back(browser: &Chromium, address: &str) -> String {
    // The browser shows an error page, under the address that it could not reach.
    let _refused = browser.open(address);
    testkit::wait::until(std::time::Duration::from_secs(20), "the way back", || {
        browser.url().ok().filter(|url| url.starts_with(REDIRECT_URI))
    })
}

#[test]
fn programs_on_a_persons_machine_open_a_browser_and_get_tokens() {
    let facts = shared();
    let person = newcomer(facts, &["orders-readers"]);
    facts.activate(&person, "orders-readers", "5m").unwrap();
    let browser = with_passkey(facts, &person);
    let mut msal = Program::python(facts, "msal-interactive");
    browser.open(&msal.line()).unwrap();
    browser.says(&format!("Go on as {}", person.user)).unwrap();
    picture(&browser, "is-this-you");
    browser.click("form[action='/signin/continue'] button").unwrap();
    browser.says("Authentication complete").unwrap();
    let (token, cached, control) = (msal.line(), msal.line(), msal.line());
    assert_eq!(session_user(facts, &person.user, &token), person.user);
    assert_eq!(cached, token);
    let claims = e2e::jwt::Jwt::read(&control).unwrap().claims;
    assert_eq!(crate::support::text(&claims, "/aud"), "api://portcullis");
    assert_eq!(msal.line(), person.user);
    msal.finish();
    // And in a browser in which nobody is signed in yet.
    browser.open(&address(facts, "/account")).unwrap();
    browser.click("form[action='/account/signout'] button").unwrap();
    browser.says("holds no session any more").unwrap();
    let mut azure = Program::python(facts, "interactive");
    browser.open(&azure.line()).unwrap();
    browser.says("on this computer").unwrap();
    picture(&browser, "sign-in-for-a-program");
    browser.click(PASSKEY).unwrap();
    browser.says("Authentication complete").unwrap();
    let token = azure.line();
    assert_eq!(session_user(facts, &person.user, &token), person.user);
    assert_eq!(azure.line(), person.user);
    azure.finish();
}

#[test]
fn a_web_application_signs_people_in_with_msal_azure_identity_and_plain_openid_connect() {
    let facts = shared();
    let person = newcomer(facts, &["orders-readers"]);
    facts.activate(&person, "orders-readers", "5m").unwrap();
    let browser = with_passkey(facts, &person);
    let mut msal = Program::python(facts, "msal-code");
    let back = sent_back(&browser, &msal.line());
    msal.tell(&back);
    let token = msal.line();
    assert_eq!(session_user(facts, &person.user, &token), person.user);
    assert_eq!(msal.line(), person.user);
    msal.finish();
    let mut azure = Program::python(facts, "code");
    let back = sent_back(&browser, &azure.line());
    azure.tell(&back);
    let token = azure.line();
    assert_eq!(session_user(facts, &person.user, &token), person.user);
    azure.finish();
    let mut openid = Program::python(facts, "openid");
    let back = sent_back(&browser, &openid.line());
    openid.tell(&back);
    assert_eq!([openid.line(), openid.line()], [person.user.as_str(), person.user.as_str()]);
    openid.tell("go on");
    assert_eq!(openid.line(), "the same key");
    assert_eq!((openid.line(), openid.line()), ("200".to_owned(), "401".to_owned()));
    openid.finish();
}

#[test]
fn nodes_libraries_sign_people_in_on_their_machine_and_for_a_web_application() {
    let facts = shared();
    let person = newcomer(facts, &["orders-readers"]);
    facts.activate(&person, "orders-readers", "5m").unwrap();
    let browser = with_passkey(facts, &person);
    let mut program = Program::node(facts, "interactive");
    browser.open(&program.line()).unwrap();
    browser.click("form[action='/signin/continue'] button").unwrap();
    browser.says("Auth code was successfully acquired").unwrap();
    let token = program.line();
    assert_eq!(session_user(facts, &person.user, &token), person.user);
    assert_eq!(program.line(), person.user);
    let renewed = program.line();
    assert_ne!(renewed, token);
    assert_eq!(session_user(facts, &person.user, &renewed), person.user);
    program.finish();
    for which in ["msal-code", "code"] {
        let mut site = Program::node(facts, which);
        let back = sent_back(&browser, &site.line());
        site.tell(&back);
        let token = site.line();
        assert_eq!(session_user(facts, &person.user, &token), person.user, "{which}");
    }
}

#[test]
fn a_device_is_let_in_on_the_page_that_it_names() {
    let facts = shared();
    let person = newcomer(facts, &["orders-readers"]);
    facts.activate(&person, "orders-readers", "5m").unwrap();
    let browser = with_passkey(facts, &person);
    let mut command = program::clean(python());
    command.arg(Path::new(CLIENTS).join("azure_tokens.py")).arg("msal-device-code");
    let mut device = Program::start(facts, &mut command);
    let user_code = device.line();
    assert_says(&device.line(), &["/device", &user_code]);
    browser.open(&address(facts, "/device")).unwrap();
    picture(&browser, "device-code");
    browser.fill("#user-code", "BCDF2345").unwrap();
    browser.click("form[action='/device'] button").unwrap();
    browser.says("No device asks under this code").unwrap();
    browser.says("PC2003").unwrap();
    picture(&browser, "device-code-wrong");
    browser.fill("#user-code", &user_code.to_lowercase()).unwrap();
    browser.click("form[action='/device'] button").unwrap();
    browser.says("127.0.0.1").unwrap();
    assert_says(&browser.text().unwrap(), &["public client", &person.user]);
    picture(&browser, "device-decision");
    browser.click("form:nth-of-type(2)[action='/device/decide'] button").unwrap();
    browser.says("The program is signed in").unwrap();
    picture(&browser, "device-done");
    let token = device.line();
    assert_eq!(session_user(facts, &person.user, &token), person.user);
}

#[test]
fn a_program_at_an_address_of_its_own_choice_gets_a_page_and_no_redirect() {
    let facts = shared();
    let browser = Chromium::start(&facts.reach).unwrap();
    let query = format!(
        "client_id={}&response_type=code&redirect_uri=https%3A%2F%2Fevil.example%2Fcb&scope=openid",
        facts.api.client_id
    );
    let asked = address(facts, &format!("/organizations/oauth2/v2.0/authorize?{query}"));
    browser.open(&asked).unwrap();
    browser.says("AADSTS50011").unwrap();
    picture(&browser, "refused");
    assert_eq!(browser.url().unwrap(), asked);
    events(facts, "signIn", "AADSTS50011");
}
