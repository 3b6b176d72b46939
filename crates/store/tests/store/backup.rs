//! Copies, and putting one in place.

use std::os::unix::fs::PermissionsExt;

use model::Revision;
use runtime::Clock;
use store::{Store, StoreError};

use crate::fixture::{Fixture, names, put, user};

#[test]
fn a_backup_taken_under_load_is_one_moment_of_the_store() {
    let fixture = Fixture::new();
    let (store, copy) = (&fixture.store, fixture.directory.path().join("copy.db"));
    let (restored, last) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let write = |n: u32| put(store, user(&format!("user-{n:03}"))).unwrap().revision;
            (0..200).map(write).max().unwrap()
        });
        while store.snapshots().load().revision < Revision(20) {
            std::thread::yield_now();
        }
        let backed_up = Store::backup_file(&fixture.path, &copy).unwrap();
        (backed_up, writer.join().unwrap())
    });
    assert!(restored.revision >= Revision(20) && restored.revision <= last, "{restored:?}");
    let store = Store::open(&copy, Clock::system()).unwrap();
    let expected: Vec<String> = (0..restored.revision.0).map(|n| format!("user-{n:03}")).collect();
    assert_eq!(names(&store), expected);
}

#[test]
fn a_backup_is_one_file_that_only_its_owner_reads() {
    let fixture = Fixture::new();
    put(&fixture.store, user("ada@example.com")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    let backed_up = fixture.store.backup(&copy).unwrap();
    let metadata = std::fs::metadata(&copy).unwrap();
    assert_eq!(backed_up.bytes, metadata.len());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_restored_store_is_the_backup_and_what_was_there_is_kept() {
    let fixture = Fixture::new();
    put(&fixture.store, user("ada@example.com")).unwrap();
    let copy = fixture.directory.path().join("copy.db");
    fixture.store.backup(&copy).unwrap();
    put(&fixture.store, user("bob@example.com")).unwrap();
    let refused = Store::restore(&copy, &fixture.path);
    assert!(matches!(refused, Err(StoreError::InUse { .. })), "{refused:?}");
    drop(fixture.store);
    let restored = Store::restore(&copy, &fixture.path).unwrap();
    assert_eq!(restored.revision, Revision(1));
    let store = Store::open(&fixture.path, Clock::system()).unwrap();
    assert_eq!(names(&store), ["ada@example.com"]);
    let before = fixture.directory.path().join("store.db.before-restore");
    let before = Store::open(&before, Clock::system()).unwrap();
    assert_eq!(names(&before), ["ada@example.com", "bob@example.com"]);
}

#[test]
fn what_is_not_a_whole_backup_is_not_restored() {
    let fixture = Fixture::new();
    for n in 0..300 {
        put(&fixture.store, user(&format!("user-{n:03}"))).unwrap();
    }
    let copy = fixture.directory.path().join("copy.db");
    fixture.store.backup(&copy).unwrap();
    drop(fixture.store);
    let mut bytes = std::fs::read(&copy).unwrap();
    // The middle of the file, page by page: wherever it hits, SQLite's own check must see it.
    let middle = bytes.len() / 2;
    bytes.iter_mut().skip(middle).take(8192).for_each(|byte| *byte = !*byte);
    std::fs::write(&copy, bytes).unwrap();
    let refused = Store::restore(&copy, &fixture.path);
    assert!(
        matches!(refused, Err(StoreError::Damaged { .. } | StoreError::Sqlite { .. })),
        "{refused:?}"
    );
    let store = Store::open(&fixture.path, Clock::system()).unwrap();
    assert_eq!(names(&store).len(), 300);
}
