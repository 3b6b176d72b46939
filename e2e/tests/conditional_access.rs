//! Conditional access: at login, under a live session, and tried before it stands.

use e2e::raw::Client;
use testkit::stack::{Facts, Person};

use crate::support::{assert_says, events, newcomer, own, shared};

/// Applies one policy about this person alone.
fn policy(facts: &Facts, person: &Person, state: &str, rest: &str) {
    facts.apply(&document(person, state, rest)).unwrap().expect_success().unwrap();
}

fn document(person: &Person, state: &str, rest: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1\nkind: ConditionalAccessPolicy\n\
         metadata: {{ name: about-{user} }}\n\
         spec: {{ state: {state}, include: {{ users: [{user}] }}, servers: any, {rest} }}\n",
        user = person.user
    )
}

fn reader(facts: &Facts) -> Person {
    let person = newcomer(facts, &["orders-readers"]);
    facts.activate(&person, "orders-readers", "10m").unwrap();
    person
}

#[test]
fn a_policy_that_is_enabled_cuts_the_session_that_it_forbids_and_only_that() {
    let facts = shared();
    let (dev, other) = (reader(facts), reader(facts));
    let mut client = Client::open(&facts.reach, &dev.user, &dev.token().unwrap()).unwrap();
    let mut bystander = Client::open(&facts.reach, &other.user, &other.token().unwrap()).unwrap();

    policy(facts, &dev, "reportOnly", "grant: block");
    client.query("select 'still here'").unwrap();
    assert_says(&client.read_until(b'D').unwrap().text(), &["still here"]);
    dev.psql("select 1").unwrap().expect_success().unwrap();
    let opened = events(facts, "sessionOpened", &dev.user).pop().unwrap();
    let told = opened.pointer("/policies/0").unwrap();
    assert_eq!((&told["reportOnly"], &told["outcome"]), (&true.into(), &"blocked".into()));

    policy(facts, &dev, "enabled", "description: on leave, grant: block");
    assert_says(&client.until_closed().unwrap(), &["FATAL", "57P01", "PC1213", "on leave"]);
    let refused = dev.psql("select 1").unwrap().expect_failure(2).unwrap();
    assert_says(&refused.stderr, &["PC1211", &format!("about-{}", dev.user), "on leave"]);
    let explained = dev.must(&["explain", "--server", "orders"]).unwrap();
    assert_says(&explained, &["conditional access", "PC1211"]);
    bystander.query("select 'not meant'").unwrap();
    assert_says(&bystander.read_until(b'D').unwrap().text(), &["not meant"]);
}

#[test]
fn what_a_sign_in_lacks_is_named_and_what_it_has_lets_in() {
    let facts = shared();
    let dev = reader(facts);
    policy(facts, &dev, "enabled", "grant: { all: [mfa] }, signInFrequency: 1h");
    dev.psql("select 1").unwrap().expect_success().unwrap();
    let handle = dev.must(&["token", "--handle"]).unwrap();
    let refused = dev.reach.psql(&dev.user, &handle, "select 1").unwrap();
    assert_says(&refused.expect_failure(2).unwrap().stderr, &["PC1212", "handle"]);
    policy(facts, &dev, "enabled", "grant: { all: [phishingResistant] }");
    let refused = dev.psql("select 1").unwrap().expect_failure(2).unwrap();
    assert_says(&refused.stderr, &["PC1212", "phishing-resistant"]);
}

#[test]
fn places_and_risks_are_conditions() {
    let facts = shared();
    let dev = reader(facts);
    let name = dev.user.replace(['@', '.'], "-");
    let place = |ranges: &str| {
        let document = format!(
            "apiVersion: portcullis.dev/v1\nkind: NamedLocation\nmetadata: {{ name: {name} }}\n\
             spec: {{ ranges: [{ranges}] }}\n"
        );
        facts.apply(&document).unwrap().expect_success().unwrap();
    };
    place("127.0.0.0/8");
    let elsewhere = format!("conditions: {{ locations: {{ exclude: [{name}] }} }}, grant: block");
    policy(facts, &dev, "enabled", &elsewhere);
    let mut client = Client::open(&facts.reach, &dev.user, &dev.token().unwrap()).unwrap();
    place("203.0.113.0/24");
    assert_says(&client.until_closed().unwrap(), &["FATAL", "57P01", "PC1213"]);

    policy(facts, &dev, "enabled", "conditions: { risk: [high] }, grant: block");
    let mut client = Client::open(&facts.reach, &dev.user, &dev.token().unwrap()).unwrap();
    let user = facts.admin.run(&["get", "users", &dev.user, "-o", "json"]).unwrap();
    let id = user.json().unwrap().pointer("/metadata/uid").unwrap().as_str().unwrap().to_owned();
    let risk = format!(
        "apiVersion: portcullis.dev/v1\nkind: PrincipalRisk\nmetadata: {{ name: {name} }}\n\
         spec: {{ principal: {id}, level: high, reason: password seen in a dump }}\n"
    );
    facts.apply(&risk).unwrap().expect_success().unwrap();
    assert_says(&client.until_closed().unwrap(), &["FATAL", "57P01", "PC1213"]);
}

#[test]
fn a_draft_says_whom_it_would_have_refused_and_refuses_nobody() {
    let stack = own();
    let facts = &stack.facts;
    let (dev, other) = (reader(facts), reader(facts));
    for person in [&dev, &dev, &other] {
        person.psql("select 1").unwrap().expect_success().unwrap();
    }
    let file = facts.folder.join("draft.yaml");
    let everyone = document(&dev, "enabled", "grant: block")
        .replace(&format!("users: [{}]", dev.user), "groups: [orders-readers]");
    std::fs::write(&file, everyone).unwrap();
    let try_it = ["conditional-access", "what-if", "-f", file.to_str().unwrap()];
    let said = facts.auditor.must(&try_it).unwrap();
    assert_says(&said, &[&dev.user, &other.user, "blocked", "127.0.0.1"]);
    let line = said.lines().find(|line| line.starts_with(&dev.user)).unwrap();
    assert_eq!(line.split_whitespace().nth(3), Some("2"), "{line}");
    dev.psql("select 1").unwrap().expect_success().unwrap();
    let refused = dev.run(&try_it).unwrap().expect_failure(3).unwrap();
    assert_says(&refused.stderr, &["PC2002"]);
}

#[test]
fn policies_that_say_nothing_are_refused() {
    let facts = shared();
    let dev = newcomer(facts, &[]);
    for (rest, why) in [
        ("grant: { all: [] }", "demands nothing"),
        ("grant: { any: [] }, signInFrequency: 1h", "cannot be had"),
        ("grant: { all: [mfa] }, exclude: {}", "nobody"),
        (
            "grant: block, conditions: { times: { from: '18:00', until: '08:00' } }",
            "ends before it begins",
        ),
        ("grant: block, conditions: { locations: { include: [nowhere] } }", "does not exist"),
        ("grant: block, exclude: { workloads: [orders-apy] }", "orders-api"),
    ] {
        let refused = facts.apply(&document(&dev, "enabled", rest)).unwrap();
        assert!(!refused.ok() && refused.stderr.contains(why), "{rest}: {refused}");
    }
}
