//! Approval in stages, by groups and managers; tickets; membership that begins later, and that is extended under an open
//! session.

use std::time::Duration;

use e2e::raw::Client;
use model::Timestamp;
use serde_json::Value;
use testkit::stack::{APPROVER, Facts, Person};
use testkit::wait;

use crate::support::{assert_says, newcomer, shared, text};

/// On a busy machine.
const SOON: Duration = Duration::from_mins(1);

/// A group of its own for one test, whose members read orders, with these rules; the person is eligible for it.
fn group_for(facts: &Facts, person: &Person, rules: &str) -> String {
    let group = person.user.replace(['@', '.'], "-");
    let documents = format!(
        "apiVersion: portcullis.dev/v1\nkind: Group\nmetadata: {{ name: {group} }}\nspec: {{}}\n---\n\
         apiVersion: portcullis.dev/v1\nkind: RoleAssignment\nmetadata: {{ name: {group} }}\n\
         spec: {{ principal: {{ group: {group} }}, role: orders.reader }}\n---\n\
         apiVersion: portcullis.dev/v1\nkind: Eligibility\nmetadata: {{ name: {group} }}\n\
         spec: {{ user: {user}, group: {group} }}\n---\n\
         apiVersion: portcullis.dev/v1\nkind: AccessRules\nmetadata: {{ name: {group} }}\n\
         spec: {{ group: {group}, durationMax: 30m, {rules} }}\n",
        user = person.user,
    );
    facts.apply(&documents).unwrap().expect_success().unwrap();
    group
}

fn approver(facts: &Facts) -> Person {
    let person = newcomer(facts, &[]);
    let document = format!(
        "apiVersion: portcullis.dev/v1\nkind: User\nmetadata: {{ name: {user} }}\n\
         spec: {{ displayName: {user}, controlRole: approver }}\n",
        user = person.user
    );
    facts.apply(&document).unwrap().expect_success().unwrap();
    person
}

fn ask(person: &Person, arguments: &[&str]) -> Value {
    let mut all = vec!["request"];
    all.extend_from_slice(arguments);
    all.extend_from_slice(&["--because", "end-to-end test", "-o", "json"]);
    person.run(&all).unwrap().json().unwrap()
}

fn state_of(person: &Person, activation: &str) -> String {
    let described = person.run(&["get", "activations", activation, "-o", "json"]).unwrap();
    text(&described.json().unwrap(), "/status/state").to_owned()
}

#[test]
fn two_stages_with_a_group_and_a_manager_and_a_ticket() {
    let facts = shared();
    let (dev, lead) = (newcomer(facts, &[]), approver(facts));
    let manager = approver(facts);
    let documents = format!(
        "apiVersion: portcullis.dev/v1\nkind: Group\nmetadata: {{ name: leads-{name} }}\n\
         spec: {{ members: [{lead}] }}\n---\n\
         apiVersion: portcullis.dev/v1\nkind: User\nmetadata: {{ name: {dev} }}\n\
         spec: {{ displayName: {dev}, manager: {manager} }}\n",
        name = lead.user.replace(['@', '.'], "-"),
        lead = lead.user,
        dev = dev.user,
        manager = manager.user,
    );
    facts.apply(&documents).unwrap().expect_success().unwrap();
    let leads = format!("leads-{}", lead.user.replace(['@', '.'], "-"));
    let group = group_for(
        facts,
        &dev,
        &format!(
            "ticket: {{ number: 'INC[0-9]+' }}, stages: [{{ approvers: [{{ manager: requester }}] }}, \
             {{ approvers: [{{ group: {leads} }}, {APPROVER}] }}]"
        ),
    );

    let refused = dev.run(&["request", &group, "--because", "x"]).unwrap();
    assert_says(&refused.expect_failure(3).unwrap().stderr, &["PC2040", "--ticket"]);
    let wrong = dev.run(&["request", &group, "--because", "x", "--ticket", "later"]).unwrap();
    assert_says(&wrong.expect_failure(3).unwrap().stderr, &["PC2040", "INC[0-9]+"]);

    let asked = ask(&dev, &[&group, "--for", "10m", "--ticket", "INC4711"]);
    let activation = text(&asked, "/metadata/name");
    let early = lead.run(&["approve", activation]).unwrap().expect_failure(3).unwrap();
    assert_says(&early.stderr, &["PC2014", "another stage"]);
    let first = manager.must(&["approve", activation]).unwrap();
    assert_says(&first, &["1 approved so far"]);
    dev.psql("select 1").unwrap().expect_failure(2).unwrap();
    lead.must(&["approve", activation]).unwrap();
    dev.psql("select count(*) from orders").unwrap().expect_success().unwrap();

    let events = facts.audit(&["--type", "activationChanged", "--text", activation]).unwrap();
    let steps: Vec<(&str, &str)> =
        events.iter().map(|event| (text(event, "/step"), text(event, "/actor/name"))).collect();
    assert_eq!(
        steps,
        [("request", &*dev.user), ("approve", &*manager.user), ("approve", &*lead.user)]
    );
}

#[test]
fn membership_that_is_scheduled_opens_nothing_before_and_begins_by_itself() {
    let facts = shared();
    let dev = newcomer(facts, &[]);
    let group = group_for(facts, &dev, "approvers: []");
    let over = dev.run(&["request", &group, "--because", "x", "--at", "2026-01-01T00:00:00Z"]);
    assert_says(&over.unwrap().expect_failure(3).unwrap().stderr, &["PC2041"]);

    // By the server's clock.
    let asked = ask(&dev, &[&group, "--for", "10m"]);
    let now: Timestamp = text(&asked, "/spec/requestedAt").parse().unwrap();
    dev.must(&["deactivate", text(&asked, "/metadata/name")]).unwrap();
    let begins = now.plus(Duration::from_secs(15)).to_string();
    let asked = ask(&dev, &[&group, "--for", "10m", "--at", &begins]);
    let activation = text(&asked, "/metadata/name");
    assert_eq!(text(&asked, "/status/state"), "scheduled");
    dev.psql("select 1").unwrap().expect_failure(2).unwrap();
    let begun = || (state_of(&dev, activation) == "active").then_some(());
    wait::until(SOON, "the beginning of the membership", begun);
    dev.psql("select count(*) from orders").unwrap().expect_success().unwrap();
}

#[test]
fn an_extension_keeps_an_open_session_and_a_revocation_ends_both() {
    let facts = shared();
    let dev = newcomer(facts, &[]);
    let group = group_for(facts, &dev, &format!("approvers: [{APPROVER}]"));
    let first = facts.activate(&dev, &group, "20s").unwrap();
    let mut client = Client::open(&facts.reach, &dev.user, &dev.token().unwrap()).unwrap();

    let asked = ask(&dev, &[&group, "--for", "10m", "--extend"]);
    let extension = text(&asked, "/metadata/name");
    assert_eq!(text(&asked, "/spec/extends"), first);
    facts.approver.must(&["approve", extension]).unwrap();
    let expired = || (state_of(&dev, &first) == "expired").then_some(());
    wait::until(SOON, "the end of the first activation", expired);
    client.query("select 'still here'").unwrap();
    assert_says(&client.read_until(b'D').unwrap().text(), &["still here"]);

    facts.approver.must(&["revoke", extension]).unwrap();
    assert_says(&client.until_closed().unwrap(), &["FATAL", "57P01", "revoked by"]);
}

#[test]
fn a_member_of_a_group_within_the_group_is_one_of_it_and_leaves_it_with_that() {
    let facts = shared();
    let dev = newcomer(facts, &[]);
    let group = group_for(facts, &dev, "approvers: []");
    let inner = |members: &str| {
        let document = format!(
            "apiVersion: portcullis.dev/v1\nkind: Group\nmetadata: {{ name: in-{group} }}\n\
             spec: {{ members: [{members}] }}\n---\n\
             apiVersion: portcullis.dev/v1\nkind: Group\nmetadata: {{ name: {group} }}\n\
             spec: {{ groups: [in-{group}] }}\n"
        );
        facts.apply(&document).unwrap().expect_success().unwrap();
    };
    inner(&dev.user);
    let mut client = Client::open(&facts.reach, &dev.user, &dev.token().unwrap()).unwrap();
    inner("");
    assert_says(&client.until_closed().unwrap(), &["FATAL", "57P01", "orders.reader"]);
}
