//! The master key: what is sealed under it goes along when it is rotated, and a crash in between loses nothing.

use super::*;

async fn with_a_seed() -> (tempfile::TempDir, PrincipalId) {
    let installation = Installation::new().await;
    installation.keyring.client_authority(&server_name("orders")).await.unwrap();
    let person = PrincipalId::random();
    let keyring = installation.keyring.clone();
    installation
        .write(move |writing| {
            let sealed_at = writing.revision().0;
            let sealed = keyring.seal_seed(person, sealed_at, b"seed").unwrap();
            let enrolment = Enrolment {
                public_key: None,
                sealed_seed: data_encoding::BASE64URL_NOPAD.encode(&sealed),
                sealed_at,
                enrolled_at: writing.now(),
            };
            writing.put_record(&person.to_string(), &enrolment, None)
        })
        .await;
    (installation.stop(), person)
}

async fn assert_opens(directory: tempfile::TempDir, person: PrincipalId) -> Installation {
    let installation = Installation::open(directory, at(START)).await;
    let id = person.to_string();
    let enrolment = installation.store.read(|reader| reader.record::<Enrolment>(&id));
    let enrolment = enrolment.unwrap().unwrap();
    let sealed = data_encoding::BASE64URL_NOPAD.decode(enrolment.sealed_seed.as_bytes()).unwrap();
    let seed = installation.keyring.open_seed(person, enrolment.sealed_at, &sealed).unwrap();
    assert_eq!(seed.expose(), b"seed");
    installation.keyring.signer().unwrap();
    installation
}

#[tokio::test]
async fn rotation_seals_every_key_and_seed_anew_and_is_said_at_the_next_start() {
    let (directory, person) = with_a_seed().await;
    let before = std::fs::read(key_file(directory.path())).unwrap();
    let source = source(directory.path());
    let path = directory.path().to_owned();
    let sealed = tokio::task::spawn_blocking(move || {
        let store = open_store(&path, &Clock::manual(at(START)).0);
        rotate_master_key(&source, &store).unwrap()
    });
    // Audit log, handles, tokens, three authorities, one seed.
    assert_eq!(sealed.await.unwrap(), 7);
    assert_ne!(std::fs::read(key_file(directory.path())).unwrap(), before);
    let installation = assert_opens(directory, person).await;
    assert_eq!(installation.acted("masterKeyRotated"), 1);
    let next = MasterKey::next_file(&key_file(installation.directory.path()));
    assert!(!next.try_exists().unwrap());
}

#[tokio::test]
async fn a_rotation_cut_short_before_the_store_was_written_leaves_the_old_key_good() {
    let (directory, person) = with_a_seed().await;
    let next = MasterKey::next_file(&key_file(directory.path()));
    MasterKey::create(&next).unwrap();
    assert_opens(directory, person).await;
}

#[tokio::test]
async fn a_rotation_cut_short_after_the_store_was_written_is_finished_at_the_next_start() {
    let (directory, person) = with_a_seed().await;
    let file = key_file(directory.path());
    let old = std::fs::read(&file).unwrap();
    let (source, path) = (source(directory.path()), directory.path().to_owned());
    let rotated = tokio::task::spawn_blocking(move || {
        let store = open_store(&path, &Clock::manual(at(START)).0);
        rotate_master_key(&source, &store).unwrap()
    });
    rotated.await.unwrap();
    // As it was between the store's commit and the renaming.
    let next = MasterKey::next_file(&file);
    std::fs::rename(&file, &next).unwrap();
    std::fs::write(&file, old).unwrap();
    let only_owner = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    std::fs::set_permissions(&file, only_owner).unwrap();
    assert_opens(directory, person).await;
    assert!(!next.try_exists().unwrap());
}

#[test]
fn a_systemd_credential_is_not_ours_to_replace() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_store(directory.path(), &Clock::manual(at(START)).0);
    let source = MasterKeySource::SystemdCredential(directory.path().join("credential"));
    let refused = rotate_master_key(&source, &store).unwrap_err();
    assert!(matches!(refused, KeyringError::ReadOnlyMasterKey));
}
