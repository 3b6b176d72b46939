//! Filters and operations as the standard's examples have them, and as large directories send them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the test fails where it breaks")]

use scim::{
    Filter, Kind, Meta, PATCH_SCHEMA, USER_SCHEMA, User, patch, projected, read_group, read_user,
    user_json,
};
use serde_json::{Value, json};

fn ada() -> Value {
    json!({
        "schemas": [USER_SCHEMA], "id": "2819C223", "externalId": "A-1", "userName": "Ada@example.com",
        "displayName": "Ada", "active": true, "name": { "formatted": "Ada Lovelace", "familyName": "Lovelace" },
        "emails": [{ "value": "ada@work.example", "type": "work" }, { "value": "ada@home.example", "type": "home" }],
        "meta": { "resourceType": "User", "lastModified": "2026-05-13T04:42:34Z" },
    })
}

fn matches(filter: &str) -> bool {
    Filter::read(filter).unwrap().matches(&ada())
}

#[test]
fn filters_find_what_the_standard_says() {
    for (filter, expected) in [
        ("userName eq \"ada@EXAMPLE.com\"", true),
        ("USERNAME Eq \"ada@example.com\"", true),
        ("urn:ietf:params:scim:schemas:core:2.0:User:userName sw \"ADA\"", true),
        ("externalId eq \"a-1\"", false),
        ("externalId eq \"A-1\"", true),
        ("id eq \"2819c223\"", false),
        ("name.familyName co \"LACE\"", true),
        ("name.familyName ew \"x\"", false),
        ("active eq true", true),
        ("active eq \"True\"", true),
        ("active ne false", true),
        ("title pr", false),
        ("title eq null", true),
        ("title ne \"x\"", true),
        ("meta.lastModified gt \"2026-05-13T04:42:33Z\"", true),
        ("meta.lastModified gt \"2026-05-13T06:42:34+02:00\"", false),
        ("meta.lastModified ge \"2026-05-13T06:42:34+02:00\"", true),
        ("emails eq \"ada@home.example\"", true),
        ("emails.type eq \"home\"", true),
        ("emails[type eq \"work\" and value co \"@home\"]", false),
        ("emails[type eq \"work\" and value co \"@work\"]", true),
        ("emails.type eq \"work\" and emails.value co \"@home\"", true),
        ("userName eq \"x\" or displayName eq \"ada\" and active eq false", false),
        ("(userName eq \"x\" or displayName eq \"ada\") and active eq true", true),
        ("not (userName eq \"x\") and not (active eq false)", true),
        ("displayName eq \"A\\u0064a\"", true),
    ] {
        assert_eq!(matches(filter), expected, "{filter}");
    }
}

#[test]
fn filters_that_are_none_are_refused_by_name() {
    let deep = format!("{}active pr{}", "(".repeat(40), ")".repeat(40));
    let long = format!("userName eq \"{}\"", "x".repeat(5_000));
    for filter in [
        "",
        "userName",
        "userName eq",
        "userName is \"x\"",
        "userName eq x",
        "userName eq \"x",
        "(active pr",
        "active pr)",
        "emails[type eq \"x\"",
        "emails.value[type eq \"x\"]",
        "1 eq 1",
        "userName eq \"x\" and",
        "name..x pr",
        "userName eq \"\\q\"",
        deep.as_str(),
        long.as_str(),
    ] {
        let error = Filter::read(filter).unwrap_err();
        assert_eq!(error.status(), 400, "{filter}");
        assert_eq!(error.body()["scimType"], "invalidFilter", "{filter}");
        assert!(error.body()["detail"].as_str().unwrap().starts_with("PC2004: "));
    }
}

fn patched(resource: &Value, operations: &Value) -> Result<Value, String> {
    let request = json!({ "schemas": [PATCH_SCHEMA], "Operations": operations });
    patch(resource, &request).map_err(|error| error.body()["scimType"].as_str().unwrap().to_owned())
}

#[test]
fn a_leaver_is_switched_off_in_every_way_that_directories_send() {
    for operations in [
        json!([{ "op": "replace", "path": "active", "value": false }]),
        json!([{ "op": "Replace", "path": "active", "value": "False" }]),
        json!([{ "op": "replace", "value": { "active": false } }]),
        json!([{ "op": "Add", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": false }]),
        json!([{ "op": "replace", "value": { "ACTIVE": false, "displayName": "Gone" } }]),
    ] {
        let user = read_user(&patched(&ada(), &operations).unwrap()).unwrap();
        assert!(!user.active, "{operations}");
    }
    let removed = patched(&ada(), &json!([{ "op": "remove", "path": "active" }])).unwrap();
    assert!(read_user(&removed).unwrap().active);
}

#[test]
fn members_are_added_and_taken_out_in_both_ways() {
    let group = json!({ "displayName": "g", "members": [{ "value": "a" }, { "value": "b" }] });
    let members = |operations: Value| {
        read_group(&patched(&group, &operations).unwrap()).unwrap().members.join("")
    };
    assert_eq!(
        members(
            json!([{ "op": "add", "path": "members", "value": [{ "value": "c" }, { "value": "a" }] }])
        ),
        "abc"
    );
    assert_eq!(
        members(json!([{ "op": "Add", "path": "members", "value": { "value": "c" } }])),
        "abc"
    );
    assert_eq!(members(json!([{ "op": "remove", "path": "members[value eq \"a\"]" }])), "b");
    assert_eq!(
        members(json!([{ "op": "Remove", "path": "members", "value": [{ "value": "b" }] }])),
        "a"
    );
    assert_eq!(members(json!([{ "op": "remove", "path": "members" }])), "");
    assert_eq!(
        members(json!([{ "op": "replace", "path": "members", "value": [{ "value": "z" }] }])),
        "z"
    );
    assert_eq!(members(json!([{ "op": "remove", "path": "members[value eq \"gone\"]" }])), "ab");
    assert_eq!(
        members(json!([
            { "op": "remove", "path": "members[value eq \"a\"]" },
            { "op": "add", "value": { "members": [{ "value": "d" }] } },
        ])),
        "bd"
    );
}

#[test]
fn parts_and_selected_values_are_set() {
    let after = patched(
        &ada(),
        &json!([
            { "op": "replace", "path": "name.familyName", "value": "Byron" },
            { "op": "add", "value": { "name.givenName": "Ada", "name": { "formatted": "Ada Byron" } } },
            { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "new@work.example" },
            { "op": "add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "1" },
        ]),
    )
    .unwrap();
    assert_eq!(
        after["name"],
        json!({ "formatted": "Ada Byron", "familyName": "Byron", "givenName": "Ada" })
    );
    assert_eq!(after["emails"][0]["value"], "new@work.example");
    assert_eq!(after["phoneNumbers"], json!([{ "type": "mobile", "value": "1" }]));
}

#[test]
fn what_cannot_be_changed_or_understood_is_refused_in_the_standards_words() {
    for (operations, expected) in [
        (json!([{ "op": "replace", "path": "id", "value": "x" }]), "mutability"),
        (json!([{ "op": "replace", "value": { "meta": {} } }]), "mutability"),
        (json!([{ "op": "move", "path": "active" }]), "invalidSyntax"),
        (json!([{ "op": "remove" }]), "noTarget"),
        (
            json!([{ "op": "replace", "path": "emails[type eq \"x\" or type eq \"y\"].value", "value": "1" }]),
            "noTarget",
        ),
        (json!([{ "op": "replace", "path": "active" }]), "invalidValue"),
        (json!([{ "op": "replace", "value": 3 }]), "invalidValue"),
        (json!([{ "op": "replace", "path": "name[", "value": 3 }]), "invalidPath"),
        (json!([{ "op": "replace", "path": "active.x", "value": 3 }]), "invalidPath"),
        (json!({}), "invalidSyntax"),
        (Value::Array(vec![json!({ "op": "remove", "path": "title" }); 1_001]), "tooMany"),
    ] {
        assert_eq!(patched(&ada(), &operations), Err(expected.to_owned()), "{operations}");
    }
    let unnamed = patch(&ada(), &json!({ "Operations": [] })).unwrap_err();
    assert_eq!(unnamed.status(), 400);
}

#[test]
fn what_is_kept_of_a_user_is_read_and_written() {
    let meta = Meta {
        id: "i".to_owned(),
        created: "2026-01-01T00:00:00Z".to_owned(),
        modified: "2026-01-02T00:00:00Z".to_owned(),
        version: "W/\"7\"".to_owned(),
        base: "https://sts.example/scim/v2".to_owned(),
    };
    let user = read_user(
        &json!({ "userName": "u@e.com", "name": { "givenName": "U", "familyName": "E" } }),
    )
    .unwrap();
    let expected = User {
        user_name: "u@e.com".to_owned(),
        display_name: "U E".to_owned(),
        active: true,
        external_id: None,
    };
    assert_eq!(user, expected);
    let written = user_json(&user, &meta);
    assert_eq!(read_user(&written).unwrap(), user);
    assert_eq!(
        written["meta"]["location"],
        format!("https://sts.example/scim/v2/{}/i", Kind::User.endpoint())
    );
    let names = |value: Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(projected(written.clone(), Some("userName,meta.version"), None)),
        ["id", "meta", "schemas", "userName"]
    );
    assert!(!names(projected(written, None, Some("active"))).contains(&"active".to_owned()));
    for wrong in [
        json!({}),
        json!({ "userName": "" }),
        json!({ "userName": 3 }),
        json!({ "userName": "u", "active": 1 }),
    ] {
        assert_eq!(read_user(&wrong).unwrap_err().body()["scimType"], "invalidValue", "{wrong}");
    }
    assert!(read_group(&json!({ "displayName": "g", "members": [{}] })).is_err());
}
