//! The certificate over years, against an API server's stand-in.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Timestamp;
use rustls::pki_types::ServerName;
use rustls::server::ParsedCertificate;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::kubernetes::Cluster;

use super::*;
use crate::config::ApiServerAddress;
use crate::{Installation, manifests};

const SECRET: &str = "/api/v1/namespaces/portcullis/secrets/portcullis-webhook";

struct Place {
    cluster: Cluster,
    _folder: TempDir,
    address: ApiServerAddress,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(folder.path()).unwrap();
    let installation = Installation {
        namespace: "portcullis".to_owned(),
        image: "image".to_owned(),
        replicas: 2,
        origin: "https://sts.example".to_owned(),
        tenant_id: "t".to_owned(),
        authority: String::new(),
        workload_namespaces: Vec::new(),
        proxy: None,
    };
    for object in manifests(&installation) {
        cluster.apply(&object).unwrap();
    }
    let address = ApiServerAddress {
        url: cluster.url().to_owned(),
        token_file: cluster.token_file("portcullis", "portcullis-webhook").unwrap(),
        authority_file: cluster.authority_file(),
    };
    Place { cluster, _folder: folder, address }
}

impl Place {
    fn keeper(&self) -> Keeper {
        let managed = Managed {
            secret: "portcullis-webhook".to_owned(),
            configuration: "portcullis-webhook".to_owned(),
            host: "portcullis-webhook.portcullis.svc".to_owned(),
        };
        Keeper::new(&Certificate::Managed(managed), "portcullis", &ApiServer::new(&self.address))
    }

    /// What both configurations trust.
    fn published(&self) -> String {
        let bundle = |kind: &str| {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/portcullis-webhook");
            let object = self.cluster.object(&path).unwrap();
            object["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap().to_owned()
        };
        let [mutating, validating] = CONFIGURATIONS.map(bundle);
        assert_eq!(mutating, validating);
        String::from_utf8(STANDARD.decode(mutating).unwrap()).unwrap()
    }
}

fn day(days: u64) -> Timestamp {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    start.plus(Duration::from_hours(24 * days))
}

/// Whether API servers that trust these accept what is shown.
fn is_trusted(reached: &Reached, bundle: &str, at: Timestamp) -> bool {
    let chain = reached.certificate.chain();
    let (leaf, rest) = chain.split_first().unwrap();
    let roots = runtime::tls::roots(bundle).unwrap();
    let parsed = ParsedCertificate::try_from(leaf).unwrap();
    let since = Duration::from_micros(u64::try_from(at.micros()).unwrap());
    let now = rustls::pki_types::UnixTime::since_unix_epoch(since);
    let algorithms = runtime::tls::provider().signature_verification_algorithms;
    let name = ServerName::try_from("portcullis-webhook.portcullis.svc").unwrap();
    rustls::client::verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &roots,
        rest,
        now,
        algorithms.all,
    )
    .is_ok()
        && rustls::client::verify_server_name(&parsed, &name).is_ok()
}

#[test]
fn api_servers_trust_what_is_shown_on_every_day_of_eleven_years() {
    let place = place();
    let keeper = place.keeper();
    let mut bundles = 0;
    let mut before = String::new();
    for days in (0..11 * 365).step_by(30) {
        let reached = keeper.look(day(days)).unwrap();
        let bundle = place.published();
        // Those that have not heard of the new bundle yet trust it too.
        for bundle in [&bundle, &before].into_iter().filter(|bundle| !bundle.is_empty()) {
            assert!(is_trusted(&reached, bundle, day(days)), "day {days}");
        }
        bundles += usize::from(bundle != before);
        before = bundle;
    }
    assert_eq!(bundles, 3);
}

#[test]
fn replicas_agree_on_one_authority_whoever_was_first() {
    let place = place();
    let keepers = [place.keeper(), place.keeper(), place.keeper()];
    let looked: Vec<Reached> = std::thread::scope(|scope| {
        let threads: Vec<_> = keepers
            .iter()
            .map(|keeper| {
                scope.spawn(move || {
                    loop {
                        match keeper.look(day(0)) {
                            Ok(reached) => return reached,
                            Err(CertificateError::Object {
                                cause: ApiServerError::Conflict,
                                ..
                            }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let bundle = place.published();
    for reached in looked {
        assert_eq!(reached.authorities, bundle);
        assert!(is_trusted(&reached, &bundle, day(0)));
    }
}

#[test]
fn a_damaged_secret_is_named_and_a_bundle_that_was_changed_is_put_right() {
    let place = place();
    let keeper = place.keeper();
    keeper.look(day(0)).unwrap();
    let bundle = place.published();
    let mut configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": "portcullis-webhook" },
    });
    let path =
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/portcullis-webhook";
    let mut webhooks = place.cluster.object(path).unwrap()["webhooks"].clone();
    webhooks[0]["clientConfig"]["caBundle"] = json!("AAAA");
    configuration["webhooks"] = webhooks;
    place.cluster.apply(&configuration).unwrap();
    keeper.look(day(1)).unwrap();
    assert_eq!(place.published(), bundle);

    let secret = |data: Value| {
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "data": data,
            "metadata": { "name": "portcullis-webhook", "namespace": "portcullis" },
        });
        place.cluster.apply(&object).unwrap();
    };
    secret(json!({ "ca.key": "AAAA" }));
    let refused = keeper.look(day(2)).unwrap_err().to_string();
    assert!(refused.contains("empty its `data`"), "{refused}");
    place.cluster.delete(SECRET).unwrap();
    let refused = keeper.look(day(2)).unwrap_err().to_string();
    assert!(refused.contains("not found"), "{refused}");
}

#[test]
fn files_that_something_else_renews_are_shown_from_the_next_look_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |now: Timestamp| {
        let authority =
            keys::Authority::create("somebody else's", keys::authority::AUTHORITY_LIFETIME, now)
                .unwrap();
        let names = ["webhook.example".to_owned()];
        let identity = authority.issue_server(&names, SERVER_LIFETIME, now).unwrap();
        let key = STANDARD.encode(identity.key.secret_der());
        let key = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
        std::fs::write(path("ca.crt"), authority.certificate_pem()).unwrap();
        std::fs::write(path("tls.crt"), keys::authority::pem(&identity.chain[0])).unwrap();
        std::fs::write(path("tls.key"), key).unwrap();
        identity.chain.clone()
    };
    let files = Files {
        chain: path("tls.crt"),
        key: path("tls.key"),
        authority: path("ca.crt"),
        host: "webhook.example".to_owned(),
    };
    let address = ApiServerAddress::default();
    let keeper = Keeper::new(&Certificate::Files(files), "portcullis", &ApiServer::new(&address));
    let first = write(day(0));
    let reached = keeper.look(day(0)).unwrap();
    assert_eq!(reached.certificate.chain(), first);
    let second = write(day(1));
    let again = keeper.look(day(1)).unwrap();
    assert_eq!(again.certificate.chain(), second);
    // Whoever holds what was handed out first shows it too.
    assert_eq!(reached.certificate.chain(), second);
    std::fs::write(path("tls.crt"), "nothing").unwrap();
    assert!(keeper.look(day(2)).is_err());
    assert_eq!(reached.certificate.chain(), second);
}
