//! What a write shows, and to whom.

use model::kind::user::User;
use model::{ControlRole, Document};
use runtime::Clock;
use store::{Store, StoreError};

fn user(name: &str) -> Document<User> {
    let spec =
        User { display_name: name.to_owned(), enabled: true, control_role: ControlRole::User };
    Document::new(name, spec)
}

#[tokio::test]
async fn an_acknowledged_write_is_in_the_snapshot_and_survives_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = Store::open(&path, Clock::system()).unwrap();
    let committed = store
        .write(|tx| tx.put(user("ada@example.com")))
        .await
        .map_err(store::WriteError::<StoreError>::into_inner)
        .unwrap();
    let shown = store.snapshots().load();
    assert_eq!(**shown.users.get("ada@example.com").unwrap(), committed.value);
    assert_eq!(shown.revision, committed.revision);
    drop(store);
    let store = Store::open(&path, Clock::system()).unwrap();
    assert_eq!(store.snapshots().load().users, shown.users);
}
