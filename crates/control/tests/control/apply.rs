//! Files: three-way, idempotent, all or nothing, and never a quiet undoing of what was done elsewhere.

use control::{Applied, AppliedChange, ApplyOptions, Conflicts, Manifest};
use model::code::{
    CONFLICT, FILE_CONFLICT, INVALID, LAST_OWNER, READ_ONLY_KIND, REFERENCE_UNKNOWN, REFERENCED,
    TOO_LARGE,
};
use model::event::EventBody;
use model::{Kind, Refusal, Resource};
use serde_json::{Value, json};

use crate::fixture::{DEV, OWNER, Plane, directory_files, document, manifest, refused, server};

const NORMAL: ApplyOptions =
    ApplyOptions { prune: false, dry_run: false, conflicts: Conflicts::Refuse };
const PRUNE: ApplyOptions = ApplyOptions { prune: true, ..NORMAL };
const REHEARSE: ApplyOptions = ApplyOptions { dry_run: true, ..NORMAL };
const OVERWRITE: ApplyOptions = ApplyOptions { conflicts: Conflicts::Overwrite, ..NORMAL };

async fn apply(
    plane: &Plane,
    files: Vec<Manifest>,
    options: ApplyOptions,
) -> Result<Vec<Applied>, Refusal> {
    plane.control.apply(&plane.caller(OWNER), files, options).await.map(|done| done.value)
}

/// The example directory with one document replaced.
fn files_with(kind: Kind, name: &str, spec: Option<Value>) -> Vec<Manifest> {
    let mut files = directory_files();
    files.retain(|file| (file.resource().kind(), file.resource().name()) != (kind, name));
    files.extend(spec.map(|spec| manifest(kind.name(), name, spec)));
    files
}

fn changes(applied: &[Applied]) -> Vec<(String, AppliedChange, Vec<&str>)> {
    let changed = applied.iter().filter(|one| one.change != AppliedChange::Unchanged);
    changed
        .map(|one| {
            let fields = one.fields.iter().map(String::as_str).collect();
            (format!("{}/{}", one.kind, one.name), one.change, fields)
        })
        .collect()
}

fn spec(plane: &Plane, kind: Kind, name: &str) -> Value {
    let state = plane.control.snapshots().load();
    let stored = serde_json::to_value(state.get(kind, name).unwrap()).unwrap();
    stored["spec"].clone()
}

fn dev(changes: Value) -> Value {
    let mut spec = json!({ "displayName": DEV, "controlRole": "user" });
    let Value::Object(changes) = changes else { panic!("an object") };
    for (name, value) in changes {
        spec[name] = value;
    }
    spec
}

#[tokio::test]
async fn the_second_time_nothing_changes_and_nothing_is_written() {
    let plane = Plane::new().await;
    let before = plane.control.snapshots().load().revision;
    let applied = apply(&plane, directory_files(), NORMAL).await.unwrap();
    assert_eq!(applied.len(), directory_files().len());
    assert_eq!(changes(&applied), []);
    assert_eq!(plane.control.snapshots().load().revision, before);
}

#[tokio::test]
async fn warpgate_2612_a_changed_file_changes_those_fields_and_the_audit_log_shows_them() {
    let plane = Plane::new().await;
    let before = plane.events().len();
    let files = files_with(Kind::User, DEV, Some(dev(json!({ "controlRole": "auditor" }))));
    let applied = apply(&plane, files, NORMAL).await.unwrap();
    assert_eq!(
        changes(&applied),
        [(format!("User/{DEV}"), AppliedChange::Changed, vec!["/spec/controlRole"])]
    );
    let events = plane.events_after(before);
    let [EventBody::Write(write)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((write.verb.as_str(), write.subject.as_str()), ("apply", "User/dev@example.com"));
    let change = &write.changes["/spec/controlRole"];
    assert_eq!((&change.from, &change.to), (&Some(json!("user")), &Some(json!("auditor"))));
    assert_eq!(write.changes.len(), 1);
    assert_eq!(write.revision, Some(plane.control.snapshots().load().revision));
}

#[tokio::test]
async fn fields_that_files_do_not_write_stay() {
    let plane = Plane::new().await;
    // The file does not speak of `members` or `enabled`.
    let members = json!({ "description": "Reads orders", "members": [DEV] });
    plane.put(document("Group", "orders-readers", members)).await.unwrap();
    let disabled = dev(json!({ "enabled": false }));
    plane.put(document("User", DEV, disabled)).await.unwrap();
    let files = files_with(Kind::Group, "orders-readers", Some(json!({ "description": "New" })));
    let applied = apply(&plane, files, NORMAL).await.unwrap();
    assert_eq!(
        changes(&applied),
        [("Group/orders-readers".to_owned(), AppliedChange::Changed, vec!["/spec/description"])]
    );
    let group = spec(&plane, Kind::Group, "orders-readers");
    assert_eq!(group, json!({ "description": "New", "members": [DEV] }));
    assert_eq!(spec(&plane, Kind::User, DEV)["enabled"], false);
}

#[tokio::test]
async fn a_person_disabled_elsewhere_is_not_quietly_enabled_again() {
    let plane = Plane::new().await;
    let files = || files_with(Kind::User, DEV, Some(dev(json!({ "enabled": true }))));
    apply(&plane, files(), NORMAL).await.unwrap();
    plane.put(document("User", DEV, dev(json!({ "enabled": false })))).await.unwrap();
    let refusal = apply(&plane, files(), NORMAL).await.unwrap_err();
    assert_eq!(refusal.code, &FILE_CONFLICT);
    assert_eq!(
        refusal.message,
        "`User/dev@example.com` was changed elsewhere: `/spec/enabled` is false now, the file says true"
    );
    assert_eq!(spec(&plane, Kind::User, DEV)["enabled"], false);
    apply(&plane, files(), OVERWRITE).await.unwrap();
    assert_eq!(spec(&plane, Kind::User, DEV)["enabled"], true);
    assert_eq!(changes(&apply(&plane, files(), NORMAL).await.unwrap()), []);
}

#[tokio::test]
async fn a_conflict_is_over_when_the_file_says_what_is() {
    let plane = Plane::new().await;
    let renamed = dev(json!({ "displayName": "Ada" }));
    plane.put(document("User", DEV, renamed.clone())).await.unwrap();
    assert_eq!(refused(apply(&plane, directory_files(), NORMAL).await), &FILE_CONFLICT);
    let applied = apply(&plane, files_with(Kind::User, DEV, Some(renamed)), NORMAL).await.unwrap();
    assert_eq!(changes(&applied), []);
    let again = files_with(Kind::User, DEV, Some(dev(json!({ "displayName": "Ada L." }))));
    assert_eq!(changes(&apply(&plane, again, NORMAL).await.unwrap()).len(), 1);
}

#[tokio::test]
async fn what_was_deleted_elsewhere_does_not_come_back_by_itself() {
    let plane = Plane::new().await;
    let owner = plane.caller(OWNER);
    plane.control.delete(&owner, Kind::Eligibility, "dev-reads").await.unwrap();
    let refusal = apply(&plane, directory_files(), NORMAL).await.unwrap_err();
    assert_eq!(refusal.code, &FILE_CONFLICT);
    assert_eq!(refusal.message, "`Eligibility/dev-reads` was deleted elsewhere");
    let without = files_with(Kind::Eligibility, "dev-reads", None);
    assert_eq!(changes(&apply(&plane, without, NORMAL).await.unwrap()), []);
    let applied = apply(&plane, directory_files(), OVERWRITE).await.unwrap();
    assert_eq!(
        changes(&applied),
        [("Eligibility/dev-reads".to_owned(), AppliedChange::Created, vec![])]
    );
}

#[tokio::test]
async fn what_was_deleted_and_created_anew_elsewhere_is_not_the_files_own() {
    let plane = Plane::new().await;
    let owner = plane.caller(OWNER);
    plane.control.delete(&owner, Kind::Eligibility, "dev-reads").await.unwrap();
    let same = json!({ "user": DEV, "group": "orders-readers" });
    plane.put(document("Eligibility", "dev-reads", same)).await.unwrap();
    let refusal = apply(&plane, directory_files(), NORMAL).await.unwrap_err();
    assert_eq!(refusal.message, "`Eligibility/dev-reads` was deleted and created anew elsewhere");
}

#[tokio::test]
async fn a_document_made_elsewhere_is_taken_over_only_where_it_agrees() {
    let plane = Plane::new().await;
    plane.put(document("Group", "made", json!({ "description": "By hand" }))).await.unwrap();
    let with = |text: &str| {
        let mut files = directory_files();
        files.push(manifest("Group", "made", json!({ "description": text })));
        files
    };
    assert_eq!(refused(apply(&plane, with("By file"), NORMAL).await), &FILE_CONFLICT);
    assert_eq!(changes(&apply(&plane, with("By hand"), NORMAL).await.unwrap()), []);
    // From here on the files own it.
    assert_eq!(changes(&apply(&plane, with("By file"), NORMAL).await.unwrap()).len(), 1);
}

#[tokio::test]
async fn a_field_that_files_no_longer_write_goes_back_unless_someone_took_it_over() {
    let plane = Plane::new().await;
    let files = |spec| files_with(Kind::Group, "orders-readers", Some(spec));
    let both = json!({ "description": "Text", "members": [DEV] });
    apply(&plane, files(both.clone()), NORMAL).await.unwrap();
    apply(&plane, files(json!({ "description": "Text" })), NORMAL).await.unwrap();
    let group = spec(&plane, Kind::Group, "orders-readers");
    assert_eq!(group, json!({ "description": "Text" }));

    apply(&plane, files(both), NORMAL).await.unwrap();
    let more = json!({ "description": "Text", "members": [DEV, OWNER] });
    plane.put(document("Group", "orders-readers", more.clone())).await.unwrap();
    apply(&plane, files(json!({ "description": "Text" })), NORMAL).await.unwrap();
    assert_eq!(spec(&plane, Kind::Group, "orders-readers"), more);
}

#[tokio::test]
async fn a_field_may_change_its_shape() {
    let plane = Plane::new().await;
    let with = |databases: Value| {
        let mut spec = server();
        spec["databases"] = databases;
        files_with(Kind::DatabaseServer, "orders", Some(spec))
    };
    apply(&plane, with(json!("any")), NORMAL).await.unwrap();
    assert_eq!(spec(&plane, Kind::DatabaseServer, "orders")["databases"], "any");
    apply(&plane, with(json!({ "only": ["a", "b"] })), NORMAL).await.unwrap();
    let only = json!({ "only": ["a", "b"] });
    assert_eq!(spec(&plane, Kind::DatabaseServer, "orders")["databases"], only);
}

#[tokio::test]
async fn the_same_thing_in_other_words_is_no_change() {
    let plane = Plane::new().await;
    let rules = json!({
        "group": "orders-readers", "durationMax": "PT30M", "approvers": ["approver@example.com"],
    });
    let files = files_with(Kind::AccessRules, "orders-readers", Some(rules));
    assert_eq!(changes(&apply(&plane, files, NORMAL).await.unwrap()), []);
}

#[tokio::test]
async fn pruning_is_asked_for_and_takes_only_what_files_made() {
    let plane = Plane::new().await;
    plane.put(document("Group", "made-by-hand", json!({}))).await.unwrap();
    let fewer = files_with(Kind::Eligibility, "dev-reads", None);
    assert_eq!(changes(&apply(&plane, fewer.clone(), NORMAL).await.unwrap()), []);
    assert!(plane.control.snapshots().load().eligibilities.get("dev-reads").is_some());
    let applied = apply(&plane, fewer.clone(), PRUNE).await.unwrap();
    assert_eq!(
        changes(&applied),
        [("Eligibility/dev-reads".to_owned(), AppliedChange::Deleted, vec![])]
    );
    assert!(plane.control.snapshots().load().groups.get("made-by-hand").is_some());
    assert_eq!(changes(&apply(&plane, fewer, PRUNE).await.unwrap()), []);
    // Pruned by files, so files may bring it back.
    let back = apply(&plane, directory_files(), NORMAL).await.unwrap();
    assert_eq!(changes(&back).len(), 1);
}

#[tokio::test]
async fn pruning_everything_leaves_what_files_never_made() {
    let plane = Plane::new().await;
    apply(&plane, Vec::new(), PRUNE).await.unwrap();
    let state = plane.control.snapshots().load();
    let people: Vec<&str> = state.users.iter().map(|user| user.name()).collect();
    assert_eq!(people, [OWNER]);
    assert_eq!(state.servers.len() + state.groups.len() + state.role_assignments.len(), 0);
    assert_eq!(state.tenants.len(), 1);
}

#[tokio::test]
async fn a_rehearsal_says_the_same_and_does_nothing() {
    let plane = Plane::new().await;
    let (before, events) = (plane.control.snapshots().load(), plane.events().len());
    let files = || files_with(Kind::User, DEV, Some(dev(json!({ "controlRole": "auditor" }))));
    let rehearsed = apply(&plane, files(), REHEARSE).await.unwrap();
    assert_eq!(*plane.control.snapshots().load(), *before);
    assert_eq!(plane.events().len(), events);
    assert_eq!(apply(&plane, files(), NORMAL).await.unwrap(), rehearsed);
    let bad = vec![manifest("Eligibility", "x", json!({ "user": "nobody", "group": "nothing" }))];
    assert_eq!(refused(apply(&plane, bad, REHEARSE).await), &REFERENCE_UNKNOWN);
    let none = ApplyOptions { prune: true, ..REHEARSE };
    let fewer = files_with(Kind::Group, "orders-readers", None);
    assert_eq!(refused(apply(&plane, fewer, none).await), &REFERENCED);
}

#[tokio::test]
async fn all_or_nothing() {
    let plane = Plane::new().await;
    let before = plane.control.snapshots().load();
    let files = vec![
        manifest("Group", "new", json!({})),
        manifest("Eligibility", "broken", json!({ "user": "devv@example.com", "group": "new" })),
    ];
    let refusal = apply(&plane, files, NORMAL).await.unwrap_err();
    assert_eq!(refusal.code, &REFERENCE_UNKNOWN);
    assert_eq!(
        refusal.message,
        "`Eligibility/broken` refers in `spec.user` to the User `devv@example.com`, which does not exist"
    );
    assert_eq!(refusal.hint.as_deref(), Some("did you mean `dev@example.com`?"));
    assert_eq!(*plane.control.snapshots().load(), *before);
}

#[tokio::test]
async fn what_refers_may_stand_before_what_it_refers_to() {
    let plane = Plane::new().await;
    let mut files = directory_files();
    files.push(manifest("Eligibility", "e", json!({ "user": DEV, "group": "later" })));
    files.push(manifest("Group", "later", json!({})));
    files.reverse();
    assert_eq!(changes(&apply(&plane, files, NORMAL).await.unwrap()).len(), 2);
}

#[tokio::test]
async fn files_cannot_set_status_nor_what_portcullis_writes() {
    let plane = Plane::new().await;
    let mut with_status = document("Application", "x", json!({ "displayName": "X" }));
    with_status["status"] = json!({ "clientId": "6f1f3c86-4c1b-4d3c-8d6c-0d9f2c3b7a11" });
    let with_status = Manifest::read(with_status).unwrap();
    assert_eq!(refused(apply(&plane, vec![with_status], NORMAL).await), &INVALID);
    let id = plane.active().await;
    let activation = Resource::from(plane.activation(id));
    assert_eq!(refused(apply(&plane, vec![activation.into()], NORMAL).await), &READ_ONLY_KIND);
    let twice = vec![manifest("Group", "g", json!({})), manifest("Group", "g", json!({}))];
    assert_eq!(refused(apply(&plane, twice, NORMAL).await), &INVALID);
}

#[tokio::test]
async fn the_last_owner_survives_files_too() {
    let plane = Plane::new().await;
    let demoted = json!({ "displayName": OWNER, "controlRole": "user" });
    let files = vec![manifest("User", OWNER, demoted)];
    assert_eq!(refused(apply(&plane, files.clone(), OVERWRITE).await), &LAST_OWNER);
    let rehearsal = ApplyOptions { dry_run: true, ..OVERWRITE };
    assert_eq!(refused(apply(&plane, files, rehearsal).await), &LAST_OWNER);
}

#[tokio::test]
async fn more_documents_than_the_bound_are_refused() {
    let plane = Plane::new().await;
    let many = (0..10_001).map(|n| manifest("Group", &format!("g{n}"), json!({}))).collect();
    assert_eq!(refused(apply(&plane, many, NORMAL).await), &TOO_LARGE);
}

#[tokio::test]
async fn a_change_between_reading_and_putting_is_a_conflict() {
    let plane = Plane::new().await;
    let owner = plane.caller(OWNER);
    let read = plane.control.get(&owner, Kind::Group, "orders-readers").unwrap();
    plane.put(document("Group", "orders-readers", json!({ "description": "1" }))).await.unwrap();
    assert_eq!(refused(plane.control.put(&owner, read).await), &CONFLICT);
}
