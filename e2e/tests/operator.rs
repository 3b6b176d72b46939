//! The operator: sets it up, changes files, makes mistakes, backs up and restores, takes it away.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use testkit::postgres::Fsync;
use testkit::process::Identity;
use testkit::program::{self, Said};
use testkit::stack::webhook::StandIn;
use testkit::stack::{ADMIN, Enrolment, Options, Privileges, SERVER, Stack, detached};
use testkit::wait;

use crate::support::{assert_says, own, own_with, shared};

fn init(folder: &Path) -> Said {
    let file = folder.join("portcullis.yaml");
    let mut command = program::clean(program::binary().unwrap());
    command.args(["init", "--tenant", "Example", "--domain", "example.com", "--owner", ADMIN]);
    program::run(command.arg("--config").arg(file)).unwrap()
}

#[test]
fn init_makes_keys_that_only_their_owner_reads_and_works_once() {
    let folder = tempfile::tempdir().unwrap();
    let configuration = "origin: https://localhost:1\nhttp: { listen: \"127.0.0.1:1\" }\n\
                         gateway: { listeners: [{ name: postgresql, listen: \"127.0.0.1:2\" }] }\n";
    fs::write(folder.path().join("portcullis.yaml"), configuration).unwrap();
    let first = init(folder.path());
    assert!(first.ok(), "{first}");
    assert_says(&first.stdout, &["Temporary Access Pass", ADMIN, "portcullis login"]);
    let key = fs::metadata(folder.path().join("data/master.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);

    let second = init(folder.path());
    assert!(!second.ok(), "{second}");
    assert!(!second.stdout.contains("Pass"), "{second}");
}

#[test]
fn a_master_key_that_others_can_read_is_refused() {
    let mut stack = own();
    stack.stop_server().unwrap();
    let key = stack.facts.folder.join("data/master.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = format!("{:#}", stack.start_server().unwrap_err());
    assert_says(&refused, &["master.key"]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    stack.start_server().unwrap();
}

#[test]
fn a_typo_in_the_configuration_says_line_field_and_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    let configuration = "origin: https://localhost:1\nhttp:\n  lisen: \"127.0.0.1:1\"\n";
    fs::write(folder.path().join("portcullis.yaml"), configuration).unwrap();
    let said = init(folder.path());
    assert!(!said.ok(), "{said}");
    assert_says(&said.stderr, &["portcullis.yaml:3", "lisen", "listen"]);
}

#[test]
fn a_typo_in_a_resource_says_line_field_and_nearest_name() {
    let facts = shared();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("group.yaml");
    for (text, expected) in [
        (
            "apiVersion: portcullis.dev/v1\nkind: Group\nmetadata: { name: g }\nspec:\n  descripton: x\n",
            &["group.yaml:5", "descripton", "description"][..],
        ),
        (
            "apiVersion: portcullis.dev/v1\nkind: Gruop\nmetadata: { name: g }\nspec: {}\n",
            &["group.yaml:", "Gruop", "Group"],
        ),
        (
            "apiVersion: portcullis.dev/v1\nkind: Group\nmetadata: { name: g }\nspec: { members: [nobody@example.com] }\n",
            &["nobody@example.com"],
        ),
        (
            "apiVersion: portcullis.dev/v1\nkind: Activation\nmetadata: { name: a }\nspec: {}\n",
            &["Activation"],
        ),
    ] {
        fs::write(&file, text).unwrap();
        let said = facts.admin.run(&["apply", "-f", file.to_str().unwrap()]).unwrap();
        assert!(!said.ok(), "{said}");
        assert_says(&said.stderr, expected);
    }
}

#[test]
fn the_example_folder_applied_again_changes_nothing() {
    let facts = shared();
    let seed = facts.folder.join("seed");
    let said = facts.admin.must(&["apply", "-f", seed.to_str().unwrap()]).unwrap();
    assert_says(&said, &["unchanged"]);
    assert!(!said.contains("created") && !said.contains("changed  "), "{said}");
}

#[test]
fn what_was_deleted_elsewhere_is_a_conflict_and_never_quietly_made_again() {
    let facts = shared();
    let name = format!("passing-{}", std::process::id());
    let group = format!(
        "apiVersion: portcullis.dev/v1\nkind: Group\nmetadata: {{ name: {name} }}\nspec: {{}}\n"
    );
    facts.apply(&group).unwrap().expect_success().unwrap();
    facts.admin.must(&["delete", "group", &name]).unwrap();
    let refused = facts.apply(&group).unwrap().expect_failure(3).unwrap();
    assert_says(&refused.stderr, &["PC2024", &name]);
    let groups = facts.admin.must(&["get", "groups"]).unwrap();
    assert!(!groups.contains(&name), "{groups}");
}

fn enroll(stack: &Stack, more: &[&str]) -> Said {
    let mut command = stack.facts.admin.portcullis(&["server", "enroll", SERVER]);
    command.arg("--data-directory").arg(stack.postgres.data_directory());
    command.arg("--socket-directory").arg(stack.postgres.socket_directory());
    command.args(["--os-user", stack.postgres.os_user(), "--superuser", "postgres"]).args(more);
    program::run(&mut command).unwrap()
}

fn rules(stack: &Stack) -> String {
    fs::read_to_string(stack.postgres.data_directory().join("pg_hba.conf")).unwrap()
}

#[test]
fn enrolment_is_shown_before_it_is_done_can_be_repeated_and_taken_back() {
    let stack = own_with(&Options { enrolment: Enrolment::Left, ..Options::default() });
    let before = rules(&stack);
    let shown = enroll(&stack, &[]).expect_success().unwrap();
    assert_says(&shown, &["hostssl", "cert", "REVOKE CONNECT", "127.0.0.1"]);
    assert_eq!(rules(&stack), before);

    enroll(&stack, &["--apply"]).expect_success().unwrap();
    let enrolled = rules(&stack);
    assert_says(&enrolled, &["hostssl", "127.0.0.1/32", "cert"]);
    stack.facts.api.psql("select 1").unwrap().expect_success().unwrap();
    enroll(&stack, &["--apply"]).expect_success().unwrap();
    assert_eq!(rules(&stack), enrolled);

    enroll(&stack, &["--undo"]).expect_success().unwrap();
    assert_eq!(rules(&stack), before);
    wait::until(Duration::from_secs(10), "the closed server", || {
        (!stack.facts.api.psql("select 1").unwrap().ok()).then_some(())
    });
}

#[test]
fn a_backup_taken_while_it_runs_brings_everything_back() {
    let mut stack = own();
    let copy = stack.facts.folder.join("people/store.backup");
    let copy = copy.to_str().unwrap().to_owned();
    stack.facts.on_host(&["store", "backup", "--to", &copy]).unwrap().expect_success().unwrap();
    let holds_the_key = fs::read(&copy).unwrap().windows(12).any(|bytes| bytes == b"BEGIN PRIVAT");
    assert!(!holds_the_key, "the copy holds a key in the clear");
    let group = "apiVersion: portcullis.dev/v1\nkind: Group\nmetadata: { name: later }\nspec: {}\n";
    stack.facts.apply(group).unwrap().expect_success().unwrap();
    let running = stack.facts.on_host(&["store", "restore", "--from", &copy]).unwrap();
    assert!(!running.ok(), "a store in use was replaced: {running}");

    stack.stop_server().unwrap();
    stack.facts.on_host(&["store", "restore", "--from", &copy]).unwrap().expect_success().unwrap();
    stack.start_server().unwrap();
    let groups = stack.facts.admin.must(&["get", "groups"]).unwrap();
    assert!(groups.contains("orders-readers") && !groups.contains("later"), "{groups}");
    stack.facts.api.psql("select 1").unwrap().expect_success().unwrap();
}

#[test]
fn up_writes_an_environment_that_works_and_down_leaves_nothing_also_after_a_crash() {
    let _slot = testkit::slot(testkit::Kind::Database);
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("stack");
    let options = detached::options(Privileges::TestStack, Fsync::Off);
    let facts = detached::up(&folder, &options, &StandIn::Thread).unwrap().leave_running().unwrap();
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let env = folder.join("env");
    assert_eq!(fs::metadata(&env).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(
        detached::up(&folder, &options, &StandIn::Thread).is_err(),
        "a second stack in the same folder"
    );

    let script = r#"set -eu; . "$1"
        export PORTCULLIS_HOME=$(dirname "$1")/someone
        "$PORTCULLIS" login "$ADMIN_USER" --key-file "$ADMIN_KEY_FILE" --totp-secret-file "$ADMIN_TOTP_SECRET_FILE" >&2
        "$PORTCULLIS" get groups >&2
        token() { AZURE_CLIENT_ID=$1 AZURE_CLIENT_SECRET=$2 "$PORTCULLIS" token; }
        ask() { PGPASSWORD=$(token "$2" "$3") psql -X -A -t "host=$PG_HOST port=$PG_PORT dbname=$PG_DB user=$1 sslmode=verify-full" -c "$4"; }
        ask "$API_DB_USER" "$API_CLIENT_ID" "$API_CLIENT_SECRET" 'select session_user'
        ask "$OWNER_DB_USER" "$OWNER_CLIENT_ID" "$OWNER_CLIENT_SECRET" 'select rolsuper from pg_roles where rolname = session_user'
        AZURE_CLIENT_ID=$API_CLIENT_ID AZURE_CLIENT_CERTIFICATE_PATH=$API_CLIENT_CERTIFICATE_PATH "$PORTCULLIS" token | wc -l
        psql -X -A -t "host=$PG_DIRECT_HOST port=$PG_DIRECT_PORT dbname=$PG_DB user=postgres sslmode=verify-full sslrootcert=$PG_DIRECT_CA sslcert=$PG_DIRECT_CERT sslkey=$PG_DIRECT_KEY" -c 'select current_user'
        review='{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","namespace":"team","object":{"metadata":{"name":"p"},"spec":{"serviceAccountName":"app","containers":[{"name":"c"}]}}}}'
        curl --silent --fail --noproxy '*' --data "$review" "$WEBHOOK_URL" | grep -o '"patchType":"JSONPatch"'"#;
    let mut shell = program::clean("sh");
    let said = program::run(shell.args(["-c", script, "sh"]).arg(&env)).unwrap();
    assert_eq!(
        said.clone().expect_success().unwrap(),
        "orders-api\nt\n1\npostgres\n\"patchType\":\"JSONPatch\"",
        "{said}"
    );

    // A crash: the server is gone without a word.
    let ledger = fs::read_to_string(folder.join("ledger")).unwrap();
    let server = ledger.lines().find_map(|line| line.strip_prefix("server ")).unwrap();
    let pid: u32 = server.split(' ').next().unwrap().parse().unwrap();
    let server = Identity::of(pid).unwrap();
    assert!(server.kill());
    wait::until(Duration::from_secs(5), "the crash", || (!server.runs()).then_some(()));
    detached::down(&folder).unwrap();
    assert!(!folder.try_exists().unwrap() && !facts.postgres.try_exists().unwrap());
    detached::down(&folder).unwrap();
}
