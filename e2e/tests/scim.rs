//! A directory pushes joiners and leavers by SCIM, as Entra and Okta do; what it owns is its own to change; and whoever
//! leaves is out of the database.

use e2e::https::{self, Answer};
use serde_json::{Value, json};
use testkit::program::{self, Said};
use testkit::stack::{Facts, Person, Stack};

use crate::endings::Open;
use crate::support::{assert_says, events, own, text};

const USERS: &str = "/Users";

struct Directory<'a> {
    facts: &'a Facts,
    token: String,
}

impl<'a> Directory<'a> {
    fn new(facts: &'a Facts, name: &str) -> Self {
        let made = facts.admin.must(&["scim", "credential", "add", name, "-o", "json"]).unwrap();
        let made: Value = serde_json::from_str(&made).unwrap();
        assert_eq!(text(&made, "/base"), format!("{}/scim/v2", facts.reach.url));
        Self { facts, token: text(&made, "/token").to_owned() }
    }

    fn ask(&self, method: &str, path: &str, body: &Value, more: &str) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} /scim/v2{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\nContent-Type: application/scim+json\r\n{more}\
             Content-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        https::send(&self.facts.reach, &request).unwrap()
    }

    /// The body of an answer with this status.
    #[track_caller]
    fn must(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let answer = self.ask(method, path, body, "");
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        if answer.body.is_empty() { Value::Null } else { answer.json().unwrap() }
    }

    fn join(&self, user: &str) -> String {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": user, "externalId": format!("x-{user}"),
            "name": { "givenName": "Jo", "familyName": "Iner" }, "active": true,
        });
        text(&self.must("POST", "/Users", &body, 201), "/id").to_owned()
    }

    fn patch(&self, path: &str, operations: &Value) -> Value {
        let schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"];
        self.must("PATCH", path, &json!({ "schemas": schemas, "Operations": operations }), 200)
    }
}

/// Files that insist.
fn overwrite(facts: &Facts, document: &str) -> anyhow::Result<Said> {
    let mut command = facts.admin.portcullis(&["apply", "-f", "-", "--overwrite"]);
    program::feed(&mut command, document)
}

fn user_path(id: &str) -> String {
    format!("{USERS}/{id}")
}

fn enrolled(facts: &Facts, user: &str) -> Person {
    let person = Person::new(user, &facts.reach, &facts.folder.join("people")).unwrap();
    let pass = facts.admin.must(&["user", "pass", user, "-o", "json"]).unwrap();
    let pass: Value = serde_json::from_str(&pass).unwrap();
    person.enrol(text(&pass, "/pass")).unwrap();
    person
}

/// The directory's group gets the role that reads.
fn readers(stack: &Stack, directory: &Directory<'_>, member: &str) -> String {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Orders readers (HR)",
        "members": [{ "value": member }],
    });
    let group = directory.must("POST", "/Groups", &body, 201);
    assert_eq!(text(&group, "/displayName"), "Orders readers (HR)");
    let role = "apiVersion: portcullis.dev/v1\nkind: RoleAssignment\nmetadata: { name: hr-reads }\n\
                spec: { principal: { group: Orders-readers--HR- }, role: orders.reader }\n";
    stack.facts.apply(role).unwrap().expect_success().unwrap();
    text(&group, "/id").to_owned()
}

#[test]
fn a_joiner_reads_the_database_and_a_leavers_open_session_ends() {
    let stack = own();
    let facts = &stack.facts;
    let directory = Directory::new(facts, "entra");
    let user = "joiner@example.com";
    let id = directory.join(user);
    readers(&stack, &directory, &id);
    let joiner = enrolled(facts, user);
    assert_eq!(joiner.psql("select session_user").unwrap().expect_success().unwrap(), user);

    // A session in which a statement runs when its person leaves.
    let session = Open::of_person(facts, &joiner);
    let token = joiner.token().unwrap();
    let switched_off = json!([{ "op": "Replace", "path": "active", "value": "False" }]);
    let gone = directory.patch(&user_path(&id), &switched_off);
    assert_eq!(gone["active"], false);
    assert_says(&session.end().0, &["FATAL:", "PC1111"]);
    let again = facts.reach.psql(user, &token, "select 1").unwrap().expect_failure(2).unwrap();
    assert_says(&again.stderr, &["PC1111"]);
    assert!(joiner.sign_in().is_err());
    let by = events(facts, "write", "scim/entra");
    assert!(by.iter().any(|event| event.to_string().contains(user)), "{by:?}");

    // Back again, and out for good: the person cannot be found, and their name is not given to another.
    directory.patch(&user_path(&id), &json!([{ "op": "replace", "value": { "active": true } }]));
    assert_eq!(directory.must("DELETE", &user_path(&id), &Value::Null, 204), Value::Null);
    directory.must("GET", &user_path(&id), &Value::Null, 404);
    let again = directory.ask("POST", "/Users", &json!({ "userName": user }), "");
    assert_eq!((again.status, again.field("scimType").unwrap().as_str()), (409, "uniqueness"));
    let groups = directory.must("GET", "/Groups", &Value::Null, 200);
    assert_eq!(groups["Resources"][0]["members"], json!([]));
}

#[test]
fn what_a_directory_owns_is_its_own_to_change_and_nothing_else_is() {
    let stack = own();
    let facts = &stack.facts;
    let (entra, okta) = (Directory::new(facts, "entra"), Directory::new(facts, "okta"));
    let id = entra.join("ada@example.com");
    let other = okta.join("bob@example.com");
    // Two directories do not see one another, nor those whom people manage here.
    for (directory, path) in [(&okta, user_path(&id)), (&entra, user_path(&other))] {
        directory.must("GET", &path, &Value::Null, 404);
        directory.must("DELETE", &path, &Value::Null, 404);
    }
    let taken = entra.ask("POST", "/Users", &json!({ "userName": facts.dev.user }), "");
    assert_eq!((taken.status, taken.field("scimType").unwrap().as_str()), (409, "uniqueness"));
    let taken = entra.ask("POST", "/Groups", &json!({ "displayName": "orders-readers" }), "");
    assert_eq!(taken.status, 409);
    let foreign = json!({ "displayName": "g", "members": [{ "value": other }] });
    entra.must("POST", "/Groups", &foreign, 400);

    // People leave alone what is the directory's, but may keep somebody out.
    let document = |fields: &str| {
        format!(
            "apiVersion: portcullis.dev/v1\nkind: User\nmetadata: {{ name: ada@example.com }}\nspec: {{ {fields} }}\n"
        )
    };
    let renamed = overwrite(facts, &document("displayName: Somebody")).unwrap();
    assert_says(&renamed.expect_failure(3).unwrap().stderr, &["PC2090", "entra"]);
    let deleted = facts.admin.run(&["delete", "user", "ada@example.com"]).unwrap();
    assert_says(&deleted.expect_failure(3).unwrap().stderr, &["PC2090"]);
    overwrite(facts, &document("displayName: Jo Iner, enabled: false"))
        .unwrap()
        .expect_success()
        .unwrap();
    entra.patch(
        &user_path(&id),
        &json!([{ "op": "replace", "path": "displayName", "value": "Ada" }]),
    );
    let shown = facts.admin.must(&["get", "user", "ada@example.com", "-o", "json"]).unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown["spec"]["displayName"], &shown["spec"]["enabled"]),
        (&json!("Ada"), &json!(false))
    );
    assert_eq!(text(&shown, "/status/scim/source"), "entra");

    // The token opens SCIM and nothing else, and nothing once it is removed.
    let elsewhere = https::get(&facts.reach, "/v1/users", Some(&entra.token)).unwrap();
    assert_eq!(elsewhere.status, 401);
    let control =
        facts.admin.must(&["scim", "credential", "remove", "entra", "--release"]).unwrap();
    assert_says(&control, &["entra"]);
    assert_eq!(entra.ask("GET", "/Users", &Value::Null, "").status, 401);
    overwrite(facts, &document("displayName: Mine now")).unwrap().expect_success().unwrap();
    assert!(!facts.admin.must(&["scim", "credential", "list"]).unwrap().contains("entra"));
}

#[test]
fn lists_filters_pages_and_entity_tags_are_as_the_standard_says() {
    let stack = own();
    let directory = Directory::new(&stack.facts, "entra");
    let ids: Vec<String> = (0..5).map(|n| directory.join(&format!("u{n}@example.com"))).collect();
    let page =
        directory.must("GET", "/Users?startIndex=2&count=2&attributes=userName", &Value::Null, 200);
    assert_eq!(
        (&page["totalResults"], &page["startIndex"], &page["itemsPerPage"]),
        (&json!(5), &json!(2), &json!(2))
    );
    assert_eq!(page["Resources"][0]["userName"], "u1@example.com");
    assert!(page["Resources"][0].get("active").is_none());
    let found = directory.must(
        "GET",
        "/Users?filter=userName%20eq%20%22U3%40EXAMPLE.com%22",
        &Value::Null,
        200,
    );
    assert_eq!((&found["totalResults"], &found["Resources"][0]["id"]), (&json!(1), &json!(ids[3])));
    assert_eq!(
        directory
            .ask("GET", "/Users?filter=userName%20is%20x", &Value::Null, "")
            .field("scimType")
            .unwrap(),
        "invalidFilter"
    );

    let path = user_path(&ids[0]);
    let user = directory.must("GET", &path, &Value::Null, 200);
    let version = text(&user, "/meta/version").to_owned();
    assert_eq!(
        directory.ask("GET", &path, &Value::Null, &format!("If-None-Match: {version}\r\n")).status,
        304
    );
    let changed = json!({ "userName": "u0@example.com", "displayName": "Zero" });
    assert_eq!(
        directory.ask("PUT", &path, &changed, &format!("If-Match: {version}\r\n")).status,
        200
    );
    assert_eq!(
        directory.ask("PUT", &path, &changed, &format!("If-Match: {version}\r\n")).status,
        412
    );
    let renamed = directory.ask("PUT", &path, &json!({ "userName": "z@example.com" }), "");
    assert_eq!((renamed.status, renamed.field("scimType").unwrap().as_str()), (400, "mutability"));

    let configuration = directory.must("GET", "/ServiceProviderConfig", &Value::Null, 200);
    assert_eq!(configuration["patch"]["supported"], true);
    assert_eq!(directory.must("GET", "/Schemas", &Value::Null, 200)["totalResults"], 2);
    assert_eq!(
        directory.must("GET", "/ResourceTypes/User", &Value::Null, 200)["endpoint"],
        "/Users"
    );
    assert_eq!(directory.must("GET", "/Bulk", &Value::Null, 404)["status"], "404");
}
