use std::path::{Path, PathBuf};
use std::time::Duration;

use audit::{Log, Options};
use keys::{ClientLeaf, HandleRecord};
use model::event::Event;
use model::kind::user::User;
use model::{
    ControlRole, Document, Kind, Principal, Resource, SessionId, Snapshot, Timestamp, TokenId,
    UserName,
};
use runtime::config::MasterKeySource;
use runtime::{Clock, ManualClock};
use serde_json::json;

use super::*;
use crate::control::Parts;
use crate::credentials::Enrolment;
use crate::install::InitOptions;
use crate::live_sessions::LiveSessions;
use crate::reconcile::Reconciler;
use crate::verb::Verb;
use crate::write::Writing;
use crate::{Caller, TOKEN_LIFETIME_MAX};

mod leaf;
mod master_key;

const START: &str = "2026-11-24T10:00:00Z";
const DAY: Duration = Duration::from_hours(24);
const OWNER: &str = "owner@example.com";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// An installation in a directory of its own, with one owner and the server `orders`.
struct Installation {
    directory: tempfile::TempDir,
    store: Store,
    control: Control,
    keyring: Keyring,
    keep: KeepKeys,
    hand: ManualClock,
    clock: Clock,
}

fn key_file(directory: &Path) -> PathBuf {
    directory.join("master.key")
}

fn source(directory: &Path) -> MasterKeySource {
    MasterKeySource::File(key_file(directory))
}

fn open_store(directory: &Path, clock: &Clock) -> Store {
    Store::open(&directory.join("store.db"), clock.clone()).unwrap()
}

impl Installation {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        MasterKey::create(&key_file(directory.path())).unwrap();
        let installation = Self::open(directory, at(START)).await;
        let options = InitOptions {
            tenant: "Example".to_owned(),
            domain: "example.com".to_owned(),
            owner: UserName::new(OWNER).unwrap(),
        };
        installation.control.init(options).await.unwrap();
        installation.put_server("orders", &[]).await;
        installation
    }

    async fn open(directory: tempfile::TempDir, now: Timestamp) -> Self {
        let (clock, hand) = Clock::manual(now);
        let store = open_store(directory.path(), &clock);
        let master = load_master_key(&source(directory.path()), &store).unwrap();
        let keyring = Keyring::open(&store, master, &clock).await.unwrap();
        let options = Options {
            directory: directory.path().join("audit"),
            gateway: "gateway".to_owned(),
            key: keyring.audit_key(),
            clock: clock.clone(),
            sync_interval: Duration::from_millis(10),
            checkpoint_sink: None,
            known: None,
        };
        let (log, _opened) = Log::open(options).unwrap();
        let live = LiveSessions::new();
        let parts = Parts { store: store.clone(), log, clock: clock.clone(), live };
        let control = Control::new(parts);
        control.announce().await.unwrap();
        let keep = KeepKeys::new(&control, keyring.clone());
        Self { directory, store, control, keyring, keep, hand, clock }
    }

    /// The process stops and starts again.
    async fn restart(self) -> Self {
        let now = self.clock.now();
        Self::open(self.stop(), now).await
    }

    fn stop(self) -> tempfile::TempDir {
        self.directory
    }

    async fn put_server(&self, name: &str, server_names: &[&str]) {
        let document = json!({
            "apiVersion": "portcullis.dev/v1",
            "kind": "DatabaseServer",
            "metadata": {"name": name},
            "spec": {
                "engine": "postgresql", "host": "127.0.0.1", "port": 5432,
                "ca": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
                "serverNames": server_names
            }
        });
        let resource = Resource::read(document).unwrap();
        self.write(move |writing| writing.put_resource(resource).map(|_| ())).await;
    }

    async fn delete_server(&self, name: &'static str) {
        self.write(move |writing| writing.delete(Kind::DatabaseServer, name).map(|_| ())).await;
    }

    async fn write(
        &self,
        work: impl FnOnce(&mut Writing<'_, '_>) -> Result<(), StoreError> + Send + 'static,
    ) {
        let work = move |writing: &mut Writing<'_, '_>| Ok(work(writing)?);
        self.control.system(Verb::Observe, "test", work).await.unwrap();
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.store.snapshots().load()
    }

    fn published(&self, server: &str) -> String {
        let snapshot = self.snapshot();
        snapshot.servers.get(server).unwrap().status.client_authority.clone().unwrap()
    }

    async fn authority_name(&self, server: &str) -> String {
        let authority = self.keyring.client_authority(&server_name(server)).await.unwrap();
        authority.common_name().to_owned()
    }

    async fn round(&self) {
        self.keep.reconcile(self.snapshot()).await.unwrap();
    }

    fn owner(&self) -> Caller {
        let snapshot = self.snapshot();
        let owner: &Document<User> = snapshot.users.get(OWNER).unwrap();
        Caller { principal: Principal::user(owner), role: ControlRole::Owner, source: None }
    }

    fn actions(&self) -> Vec<(String, String)> {
        let directory = self.directory.path().join("audit");
        audit::read::Reader::open(&directory, 1)
            .unwrap()
            .map(|event| -> Event { event.unwrap() })
            .filter_map(|event| {
                let EventBody::Installation { action, subject, .. } = event.body else {
                    return None;
                };
                Some((action, subject))
            })
            .collect()
    }

    fn acted(&self, action: &str) -> usize {
        self.actions().iter().filter(|(word, _)| word == action).count()
    }
}

fn server_name(name: &str) -> ServerName {
    ServerName::new(name).unwrap()
}

fn certificates(pem: &str) -> usize {
    pem.matches("BEGIN CERTIFICATE").count()
}

#[tokio::test]
async fn what_is_missing_is_made_once_and_said_in_the_audit_log() {
    let installation = Installation::new().await;
    assert_eq!(installation.actions(), [("keysCreated".to_owned(), "Keyring".to_owned())]);
    let record = HandleRecord {
        principal: PrincipalId::random(),
        token: TokenId::random(),
        server: None,
        issued_at: at(START),
        not_after: at(START).plus(DAY),
    };
    let handle = installation.keyring.handle_key().seal(&record).unwrap();
    let before = (
        installation.keyring.audit_key().public_key(),
        installation.keyring.ca_pem(),
        installation.keyring.signer().unwrap().kid().to_owned(),
        installation.authority_name("orders").await,
    );

    let installation = installation.restart().await;
    let after = (
        installation.keyring.audit_key().public_key(),
        installation.keyring.ca_pem(),
        installation.keyring.signer().unwrap().kid().to_owned(),
        installation.authority_name("orders").await,
    );
    assert_eq!(after, before);
    assert_eq!(installation.keyring.handle_key().open(&handle, &[]).unwrap(), record);
    assert_eq!(installation.acted("keysCreated"), 1);
    assert_eq!(installation.snapshot().signing_keys.len(), 1);
}

#[tokio::test]
async fn no_private_key_lies_in_the_store_in_clear() {
    let installation = Installation::new().await;
    installation.keyring.client_authority(&server_name("orders")).await.unwrap();
    for (key, sealed) in sealed::all(&installation.store).unwrap() {
        let private = sealed.open(&installation.keyring.0.master, &key).unwrap();
        let written = serde_json::to_string(&sealed).unwrap();
        let clear = data_encoding::BASE64URL_NOPAD.encode(private.expose());
        assert!(!written.contains(&clear), "{key}");
        assert!(sealed.sealed.len() > clear.len(), "{key}");
    }
}

#[tokio::test]
async fn another_master_key_is_named_and_refused() {
    let installation = Installation::new().await;
    let sealed = installation.keyring.0.master.id();
    let directory = installation.stop();
    std::fs::remove_file(key_file(directory.path())).unwrap();
    let other = MasterKey::create(&key_file(directory.path())).unwrap();
    let store = open_store(directory.path(), &Clock::manual(at(START)).0);
    let refused = load_master_key(&source(directory.path()), &store).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "the store is sealed under master key {sealed}; `{}` holds {}",
            key_file(directory.path()).display(),
            other.id()
        )
    );
}

#[tokio::test]
async fn a_sealed_key_moved_to_another_record_does_not_open() {
    let installation = Installation::new().await;
    let stored = sealed::all(&installation.store).unwrap();
    let find = |purpose: &Purpose| {
        stored.iter().find(|(_, key)| key.purpose == *purpose).cloned().unwrap()
    };
    let (handles, handle_key) = find(&Purpose::Handles);
    let (_, audit_key) = find(&Purpose::AuditLog);
    // The attacker knows what the record must look like, but the seal names another.
    let moved = SealedKey { purpose: Purpose::Handles, ..audit_key };
    let master = &installation.keyring.0.master;
    let altered = |sealed: &SealedKey| {
        let refused = sealed.open(master, &handles).unwrap_err();
        let KeyringError::Sealed { key, cause } = refused else { panic!("{refused}") };
        (key, cause)
    };
    assert_eq!(altered(&moved), (handles.clone(), SealError::Altered));
    let brought_back = SealedKey { sealed_at: handle_key.sealed_at + 1, ..handle_key };
    assert_eq!(altered(&brought_back), (handles.clone(), SealError::Altered));
}

#[tokio::test]
async fn every_server_has_an_authority_of_its_own_made_on_first_use_and_published() {
    let installation = Installation::new().await;
    installation.put_server("billing", &[]).await;
    let (orders, billing) = (server_name("orders"), server_name("billing"));
    let (one, two, other) = tokio::join!(
        installation.keyring.client_authority(&orders),
        installation.keyring.client_authority(&orders),
        installation.keyring.client_authority(&billing),
    );
    let (one, two, other) = (one.unwrap(), two.unwrap(), other.unwrap());
    assert_eq!(one.certificate_pem(), two.certificate_pem());
    assert_ne!(one.certificate_pem(), other.certificate_pem());
    assert_eq!(installation.published("orders"), one.certificate_pem());
    assert_eq!(installation.published("billing"), other.certificate_pem());
    let leaf = ClientLeaf { user: "ada@example.com", session: SessionId::random() };
    one.issue_client(&leaf, installation.clock.now()).unwrap();

    let unknown = installation.keyring.client_authority(&server_name("nowhere")).await;
    assert_eq!(unknown.unwrap_err().to_string(), "there is no database server `nowhere`");
}

#[tokio::test]
async fn a_former_servers_authority_stays_until_nobody_can_log_in_there_any_more() {
    let installation = Installation::new().await;
    installation.round().await;
    let user = |state: &str| {
        let document = json!({
            "apiVersion": "portcullis.dev/v1", "kind": "DatabaseUser",
            "metadata": {"name": "orders~ada@example.com"},
            "spec": {
                "server": "orders", "user": "ada@example.com",
                "principal": "1c1f1a52-6e0f-4d43-9d6c-0f6d7f1f0a11"
            },
            "status": {"state": state}
        });
        Resource::read(document).unwrap()
    };
    let enabled = user("enabled");
    installation.write(move |writing| writing.put_resource(enabled).map(|_| ())).await;
    let before = installation.authority_name("orders").await;
    let owner = installation.owner();
    installation.control.delete(&owner, Kind::DatabaseServer, "orders").await.unwrap();

    let installation = installation.restart().await;
    installation.round().await;
    assert_eq!(installation.authority_name("orders").await, before);
    let orders = server_name("orders");
    assert!(installation.control.former_server(&orders).unwrap().is_some());
    let disabled = user("disabled");
    installation.write(move |writing| writing.put_resource(disabled).map(|_| ())).await;
    installation.round().await;
    assert!(installation.keyring.client_authority(&orders).await.is_err());
    assert_eq!(installation.control.former_server(&orders).unwrap(), None);
}

#[tokio::test]
async fn a_new_server_gets_its_authority_in_the_next_round_and_a_deleted_one_loses_it() {
    let installation = Installation::new().await;
    installation.round().await;
    let first = installation.authority_name("orders").await;
    assert_eq!(certificates(&installation.published("orders")), 1);

    installation.delete_server("orders").await;
    installation.round().await;
    let left = sealed::all(&installation.store).unwrap();
    let clients =
        left.iter().filter(|(_, key)| matches!(key.purpose, Purpose::ClientAuthority { .. }));
    assert_eq!(clients.count(), 0);
    assert_eq!(installation.acted("authorityForgotten"), 1);

    installation.put_server("orders", &[]).await;
    assert_ne!(installation.authority_name("orders").await, first);
}

#[tokio::test]
async fn a_client_authority_rotates_by_overlap_and_the_successor_signs_only_when_told() {
    let installation = Installation::new().await;
    let (owner, orders) = (installation.owner(), server_name("orders"));
    let old = installation.keyring.client_authority(&orders).await.unwrap();

    let begun = installation
        .keyring
        .rotate_authority(&owner, &WhoseAuthority::Server(orders.clone()))
        .await
        .unwrap();
    assert_eq!(begun.phase, RotationPhase::Published);
    assert_eq!(certificates(&begun.pem), 2);
    assert!(begun.pem.starts_with(&old.certificate_pem()));
    assert_eq!(installation.published("orders"), begun.pem);
    assert_eq!(installation.authority_name("orders").await, old.common_name());

    let installation = installation.restart().await;
    let ended = installation
        .keyring
        .rotate_authority(&owner, &WhoseAuthority::Server(orders.clone()))
        .await
        .unwrap();
    assert_eq!(ended.phase, RotationPhase::TookOver);
    assert_eq!(begun.pem, format!("{}{}", old.certificate_pem(), ended.pem));
    assert_eq!(installation.published("orders"), ended.pem);
    let new = installation.keyring.client_authority(&orders).await.unwrap();
    assert_eq!(new.certificate_pem(), ended.pem);
    assert_eq!(installation.acted("authoritySuccessorPublished"), 1);
    assert_eq!(installation.acted("authorityRotated"), 1);
}

#[tokio::test]
async fn the_installations_authority_rotates_the_same_way_and_the_leaf_follows() {
    let installation = Installation::new().await;
    let (owner, shown) = (installation.owner(), installation.keyring.listener_certificate());
    let (old, leaf) = (installation.keyring.ca_pem(), shown.chain());
    let mut published = installation.keyring.published_authority();

    let begun =
        installation.keyring.rotate_authority(&owner, &WhoseAuthority::Installation).await.unwrap();
    assert!(published.has_changed().unwrap());
    assert_eq!(*published.borrow_and_update(), begun.pem);
    assert_eq!((begun.phase, certificates(&begun.pem)), (RotationPhase::Published, 2));
    assert_eq!(installation.keyring.ca_pem(), begun.pem);
    assert!(begun.pem.starts_with(&old));

    let ended =
        installation.keyring.rotate_authority(&owner, &WhoseAuthority::Installation).await.unwrap();
    assert_eq!((ended.phase, certificates(&ended.pem)), (RotationPhase::TookOver, 1));
    assert_eq!(installation.keyring.ca_pem(), ended.pem);
    assert_eq!(*published.borrow_and_update(), ended.pem);
    assert_ne!(shown.chain(), leaf);
    installation.put_server("billing", &[]).await;
    installation.round().await;
    assert!(!published.has_changed().unwrap());
    // The certificate shown verifies under the new authority: runtime's TLS contexts say so.
    runtime::tls::client_config(&ended.pem, None).unwrap();
}

#[tokio::test]
async fn only_an_owner_rotates_authorities_and_signing_keys() {
    let installation = Installation::new().await;
    let stranger = Principal { id: PrincipalId::random(), ..installation.owner().principal };
    let stranger = Caller { principal: stranger, ..installation.owner() };
    let before = installation.keyring.ca_pem();
    let refused = installation
        .keyring
        .rotate_authority(&stranger, &WhoseAuthority::Installation)
        .await
        .unwrap_err();
    assert!(matches!(refused, KeyringError::Refused(_)), "{refused}");
    let refused =
        installation.keyring.rotate_signing_key(Some(&stranger), SigningRotation::AtOnce).await;
    assert!(matches!(refused.unwrap_err(), KeyringError::Refused(_)));
    assert_eq!(installation.keyring.ca_pem(), before);
    assert_eq!(installation.snapshot().signing_keys.len(), 1);
}

#[tokio::test]
async fn the_next_signing_key_is_published_a_day_before_it_signs_and_the_former_dies_a_day_later() {
    let installation = Installation::new().await;
    let first = installation.keyring.signer().unwrap().kid().to_owned();
    installation.round().await;
    assert_eq!(installation.snapshot().signing_keys.len(), 1);

    let due = installation.keep.next_deadline(&installation.snapshot()).unwrap();
    assert_eq!(due, at(START).plus(29 * DAY));
    installation.hand.set(due);
    installation.round().await;
    let snapshot = installation.snapshot();
    let next = snapshot.signing_keys.iter().find(|key| key.name() != first).unwrap();
    assert_eq!(next.spec.signs_from, due.plus(DAY));
    let former = snapshot.signing_keys.get(&first).unwrap();
    assert_eq!(former.spec.verifies_until, next.spec.signs_from.plus(TOKEN_LIFETIME_MAX));
    assert_eq!(installation.keyring.signer().unwrap().kid(), first);

    // Running again changes nothing.
    installation.round().await;
    assert_eq!(installation.snapshot().signing_keys.len(), 2);
    installation.hand.advance(DAY.saturating_sub(Duration::from_secs(1)));
    assert_eq!(installation.keyring.signer().unwrap().kid(), first);
    installation.hand.advance(Duration::from_secs(1));
    assert_eq!(installation.keyring.signer().unwrap().kid(), next.name());

    installation.hand.advance(TOKEN_LIFETIME_MAX);
    installation.round().await;
    let left: Vec<String> =
        installation.snapshot().signing_keys.iter().map(|key| key.name().to_owned()).collect();
    assert_eq!(left, [next.name()]);
    let stored = sealed::all(&installation.store).unwrap();
    assert_eq!(stored.iter().filter(|(_, key)| key.purpose == Purpose::Tokens).count(), 1);
}

#[tokio::test]
async fn a_stolen_signing_key_is_dead_at_once() {
    let installation = Installation::new().await;
    let (owner, now) = (installation.owner(), installation.clock.now());
    let stolen = installation.keyring.signer().unwrap().kid().to_owned();
    let (kid, signs_from) = installation
        .keyring
        .rotate_signing_key(Some(&owner), SigningRotation::AtOnce)
        .await
        .unwrap();
    assert_eq!(installation.keyring.signer().unwrap().kid(), kid);
    let dead = installation.snapshot().signing_keys.get(&stolen).unwrap().spec.verifies_until;
    assert!(signs_from >= now && dead == signs_from);
    installation.round().await;
    assert_eq!(installation.snapshot().signing_keys.len(), 1);
}

#[tokio::test]
async fn a_rotation_that_was_missed_is_made_up_for_without_killing_tokens() {
    let installation = Installation::new().await;
    let first = installation.keyring.signer().unwrap().kid().to_owned();
    installation.hand.advance(88 * DAY);
    let now = installation.clock.now();
    assert_eq!(installation.keyring.signer().unwrap().kid(), first);
    installation.round().await;
    assert_ne!(installation.keyring.signer().unwrap().kid(), first);
    let former = installation.snapshot().signing_keys.get(&first).unwrap().spec.verifies_until;
    assert_eq!(former, now.plus(TOKEN_LIFETIME_MAX));
}

#[tokio::test]
async fn an_installation_that_slept_for_years_has_keys_again_after_one_round() {
    let installation = Installation::new().await;
    installation.hand.advance(4 * 365 * DAY);
    assert!(installation.keyring.signer().is_err());
    installation.round().await;
    installation.round().await;
    let signer = installation.keyring.signer().unwrap();
    let snapshot = installation.snapshot();
    let key = snapshot.signing_keys.get(signer.kid()).unwrap();
    assert!(key.spec.verifies_until > installation.clock.now().plus(TOKEN_LIFETIME_MAX));
    assert_eq!(snapshot.signing_keys.len(), 1);
}

#[tokio::test]
async fn one_servers_failure_stops_neither_the_other_servers_nor_the_leaf() {
    let installation = Installation::new().await;
    installation.round().await;
    let shown = installation.keyring.https_certificate().chain();
    // `alpha` comes before `beta`, and its key cannot be used: it has no certificate.
    installation.put_server("alpha", &[]).await;
    let server = installation.snapshot().servers.get("alpha").unwrap().uid();
    let (_, orders) = sealed::all(&installation.store)
        .unwrap()
        .into_iter()
        .find(|(_, key)| matches!(key.purpose, Purpose::ClientAuthority { .. }))
        .unwrap();
    let purpose = Purpose::ClientAuthority { server };
    let broken = SealedKey { purpose, certificate: None, ..orders };
    installation.write(move |writing| writing.put_record("broken", &broken, None)).await;
    installation.put_server("beta", &["beta.example.com"]).await;

    let failed = installation.keep.reconcile(installation.snapshot()).await.unwrap_err();
    assert_eq!(failed.to_string(), "there is no key for `client authority`");
    assert_eq!(certificates(&installation.published("beta")), 1);
    assert_ne!(installation.keyring.https_certificate().chain(), shown);
}

#[tokio::test]
async fn an_authority_near_its_end_is_said_once_and_a_waiting_successor_takes_over() {
    let installation = Installation::new().await;
    let (owner, orders) = (installation.owner(), server_name("orders"));
    let old = installation.keyring.client_authority(&orders).await.unwrap();
    installation.hand.set(old.not_after().minus(31 * DAY));
    installation.round().await;
    assert_eq!(installation.acted("certificateEnding"), 0);
    installation.hand.set(old.not_after().minus(30 * DAY));
    installation.round().await;
    installation.round().await;
    let ending: Vec<String> = installation
        .actions()
        .into_iter()
        .filter(|(action, _)| action == "certificateEnding")
        .map(|(_, subject)| subject)
        .collect();
    assert_eq!(ending, ["DatabaseServer/orders", "HostAuthority", "InstallationAuthority"]);

    installation
        .keyring
        .rotate_authority(&owner, &WhoseAuthority::Server(orders.clone()))
        .await
        .unwrap();
    installation.hand.set(old.not_after().minus(2 * DAY));
    installation.round().await;
    assert_eq!(installation.authority_name("orders").await, old.common_name());
    installation.hand.set(old.not_after().minus(DAY));
    installation.round().await;
    assert_ne!(installation.authority_name("orders").await, old.common_name());
    assert_eq!(certificates(&installation.published("orders")), 1);
    assert_eq!(installation.acted("authorityRotated"), 1);
}

#[tokio::test]
async fn a_write_before_the_control_plane_is_attached_is_an_error_and_not_unaudited() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(at(START)).0;
    let store = open_store(directory.path(), &clock);
    let keyring = Keyring::open(&store, MasterKey::generate().unwrap(), &clock).await.unwrap();
    let server = json!({
        "engine": "postgresql", "host": "h", "port": 1, "ca": "c",
    });
    let server: model::kind::server::DatabaseServer = serde_json::from_value(server).unwrap();
    let put =
        move |transaction: &mut Transaction<'_>| transaction.put(Document::new("orders", server));
    store.write(put).await.unwrap();
    let refused = keyring.client_authority(&server_name("orders")).await.unwrap_err();
    assert_eq!(refused.to_string(), "the keyring was not attached to the control plane");
}
