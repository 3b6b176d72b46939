//! A workload: signs in with a secret or a certificate, as Azure's libraries do, and works without a person.

use e2e::https;
use e2e::jwt::Jwt;
use testkit::program;
use testkit::stack::Credential;
use testkit::stack::federation::JOB;

use crate::support::{assert_says, own, shared, text};

const SCOPE: &str = "https://ossrdbms-aad.database.windows.net/.default";

#[test]
fn a_workload_signs_in_with_secret_or_certificate_and_is_itself_in_the_database() {
    let facts = shared();
    for credential in [Credential::Secret, Credential::Certificate] {
        let token = facts.api.token(credential).unwrap();
        let claims = Jwt::read(&token).unwrap().claims;
        assert_eq!(text(&claims, "/aud"), "https://ossrdbms-aad.database.windows.net");
        assert_eq!(text(&claims, "/tid"), facts.reach.tenant);
        let user = facts.reach.psql("orders-api", &token, "select session_user").unwrap();
        assert_eq!(user.expect_success().unwrap(), "orders-api");
    }
}

#[test]
fn pgbench_runs_through_the_gateway_on_many_connections() {
    let facts = shared();
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        script.path(),
        "\\set id random(1, 25000)\nselect sum(quantity) from order_lines where order_id = :id;\n",
    )
    .unwrap();
    let token = facts.api.token(Credential::Certificate).unwrap();
    for protocol in ["simple", "extended", "prepared"] {
        let mut pgbench = facts.reach.client("pgbench", "orders-api", &token);
        pgbench.args(["-n", "-M", protocol, "-c", "10", "-j", "2", "-t", "20", "-f"]);
        let said = program::run(pgbench.arg(script.path())).unwrap().expect_success().unwrap();
        assert_says(&said, &["200/200", "number of failed transactions: 0 (0.000%)"]);
    }
}

#[test]
fn a_wrong_secret_and_a_strangers_assertion_get_no_token() {
    let facts = shared();
    let path = format!("/{}/oauth2/v2.0/token", facts.reach.tenant);
    let fields = |secret| {
        [
            ("grant_type", "client_credentials"),
            ("client_id", facts.api.client_id.as_str()),
            ("client_secret", secret),
            ("scope", SCOPE),
        ]
    };
    let wrong = https::post_form(&facts.reach, &path, &fields("wrong")).unwrap();
    assert_eq!((wrong.status, wrong.field("error").unwrap().as_str()), (401, "invalid_client"));
    let right = https::post_form(&facts.reach, &path, &fields(&facts.api.secret)).unwrap();
    assert_eq!(right.status, 200);

    let stranger = facts.admin.home.join("stranger.pem");
    testkit::stack::certificate(&stranger).unwrap();
    let mut impostor = facts.api.clone();
    impostor.certificate = Some(stranger);
    let refused = impostor.token(Credential::Certificate).unwrap_err();
    assert_says(&format!("{refused:#}"), &["AADSTS"]);
}

#[test]
fn a_disabled_application_gets_no_token() {
    let stack = own();
    let facts = &stack.facts;
    let token = facts.api.token(Credential::Secret).unwrap();
    let seed = std::fs::read_to_string(facts.folder.join("seed/1-directory.yaml")).unwrap();
    let disabled =
        seed.replace("displayName: Orders API", "displayName: Orders API\n  enabled: false");
    facts.apply(&disabled).unwrap().expect_success().unwrap();

    assert!(facts.api.token(Credential::Secret).is_err());
    let refused = facts.reach.psql("orders-api", &token, "select 1").unwrap();
    assert_says(&refused.expect_failure(2).unwrap().stderr, &["PC1111"]);
}

#[test]
fn a_federated_token_file_is_enough_for_the_command_line_and_its_user_is_the_identity() {
    let facts = shared();
    let federation = &facts.federation;
    let mut command = federation.token_command(&facts.reach);
    let token = program::run(&mut command).unwrap().expect_success().unwrap();
    let claims = Jwt::read(&token).unwrap().claims;
    assert_eq!((text(&claims, "/idtyp"), text(&claims, "/appidacr")), ("app", "2"));
    assert_says(text(&claims, "/xms_mirid"), &["/userAssignedIdentities/orders-job"]);
    let user = facts.reach.psql(JOB, &token, "select session_user").unwrap();
    assert_eq!(user.expect_success().unwrap(), JOB);

    let explained = ["explain", JOB, "--server", "orders", "--database", "orders"];
    let explained = facts.admin.must(&explained).unwrap();
    assert_says(&explained, &["`orders.reader` without an end"]);

    // Someone else's pod, under the same issuer.
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("token");
    std::fs::write(&other, federation.token("system:serviceaccount:orders:other").unwrap())
        .unwrap();
    let refused = program::run(command.env("AZURE_FEDERATED_TOKEN_FILE", &other)).unwrap();
    assert!(!refused.ok());
    assert_says(&refused.stderr, &["AADSTS700213"]);
}
