//! Workloads on a machine: unmodified Azure libraries get tokens from the machine's agent, without a secret, and open
//! the database with them; whoever may not be an identity is not.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use testkit::process::Running;
use testkit::program::{self, Said};
use testkit::stack::federation::JOB;
use testkit::stack::{Facts, Options, Stack};
use testkit::wait;

use crate::support::{assert_says, events, own_with, text};
use crate::token_service::{CLIENTS, python};

const RESOURCE: &str = "https://ossrdbms-aad.database.windows.net";
/// An account that is none of the test's.
const OTHER_UID: &str = "65534";

/// The account that the tests and all that they start run as.
fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").unwrap().uid()
}

/// A number for each start of an agent.
fn start_number() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// A stack whose server takes hosts.
fn stack() -> Stack {
    // One that is free now, and the same after the server was stopped and started.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let configuration = format!("hosts: {{ listen: \"{free}\" }}").leak();
    own_with(&Options { configuration, ..Options::default() })
}

/// `web-1`: this account may be the stack's managed identity and the host's own.
fn host(enabled: bool) -> String {
    let uid = own_uid();
    format!(
        "apiVersion: portcullis.dev/v1
kind: ManagedIdentity
metadata: {{ name: web-1-own }}
spec: {{ displayName: Web 1, assignment: {{ systemAssigned: {{ host: web-1 }} }} }}
---
apiVersion: portcullis.dev/v1
kind: RoleAssignment
metadata: {{ name: orders-web-1-own }}
spec: {{ principal: {{ managedIdentity: web-1-own }}, role: orders.reader }}
---
apiVersion: portcullis.dev/v1
kind: ManagedIdentity
metadata: {{ name: billing }}
spec: {{ displayName: Billing }}
---
apiVersion: portcullis.dev/v1
kind: Host
metadata: {{ name: web-1 }}
spec:
  displayName: Web 1
  enabled: {enabled}
  identities:
    - {{ identity: {JOB}, callers: [{{ uid: {uid} }}] }}
    - {{ identity: web-1-own, callers: [{{ uid: {uid} }}] }}
    - {{ identity: billing, callers: [{{ cgroup: /billing.slice, uid: {uid} }}] }}
"
    )
}

/// The machine: what it keeps, and its agent.
struct Machine<'a> {
    facts: &'a Facts,
    folder: tempfile::TempDir,
    agent: Option<Running>,
    port: u16,
}

impl<'a> Machine<'a> {
    fn new(facts: &'a Facts) -> Self {
        facts.apply(&host(true)).unwrap().expect_success().unwrap();
        Self { facts, folder: tempfile::tempdir().unwrap(), agent: None, port: 0 }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run/agent.sock")
    }

    fn join_token(&self) -> String {
        let issued = self.facts.admin.must(&["host", "join-token", "web-1", "-o", "json"]).unwrap();
        let issued: Value = serde_json::from_str(&issued).unwrap();
        text(&issued, "/token").to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.facts.reach.portcullis(self.folder.path());
        command.args(arguments);
        command
    }

    fn join(&self, token: &str) -> Said {
        let mut command = self.command(&["agent", "join", "web-1", "--state"]);
        program::feed(command.arg(self.state()), token).unwrap()
    }

    /// Starts the agent at this address; where it listens.
    fn run(&mut self, listen: &str) {
        let log = self.folder.path().join(format!("agent-{}.log", start_number()));
        let mut command = self.command(&["agent", "run", "--listen", listen, "--state"]);
        command.arg(self.state()).arg("--socket").arg(self.socket());
        self.agent = Some(Running::start(&mut command, &log).unwrap());
        self.port = wait::until(Duration::from_secs(20), "the agent listens", || {
            let said = std::fs::read_to_string(&log).ok()?;
            let (_, address) = said.rsplit_once("hands out tokens at ")?;
            address.lines().next()?.rsplit_once(':')?.1.parse().ok()
        });
    }

    fn stop(&mut self) {
        let status = self.agent.take().unwrap().stop(Duration::from_secs(10)).unwrap();
        assert!(status.success(), "{status}");
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// An unmodified library in a process of its own.
    fn library(&self, which: &str, wanted: &[(&str, &str)]) -> Command {
        let mut command = program::clean(python());
        command.arg(Path::new(CLIENTS).join("azure_managed.py")).arg(which);
        command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.endpoint());
        command.env("NO_PROXY", "127.0.0.1,169.254.169.254");
        command.envs(wanted.iter().copied());
        command
    }

    /// The same command by way of `agent exec`.
    fn exec(&self, identity: &[&str], command: &Command) -> Command {
        let mut exec = self.command(&["agent", "exec", "--socket"]);
        exec.arg(self.socket()).args(identity).arg("--").arg(command.get_program());
        exec.args(command.get_args()).env("NO_PROXY", "127.0.0.1");
        exec
    }

    /// A bare request; status and body.
    fn ask(&self, wrapper: &[&str], headers: &[&str], query: &str) -> (u16, Value) {
        let url = format!(
            "{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={RESOURCE}{query}",
            self.endpoint()
        );
        let words = [wrapper, &["curl", "-s", "-w", "\n%{http_code}"]].concat();
        let mut command = program::clean(words[0]);
        command.args(&words[1..]);
        for header in headers {
            command.args(["-H", header]);
        }
        let said = program::run(command.arg(url)).unwrap().expect_success().unwrap();
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.trim().parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    fn identity(&self, name: &str) -> (String, String, String) {
        let shown = self.facts.admin.must(&["get", "managedidentities", name, "-o", "json"]);
        let shown: Value = serde_json::from_str(&shown.unwrap()).unwrap();
        let of = |pointer| text(&shown, pointer).to_owned();
        (of("/status/clientId"), of("/metadata/uid"), of("/status/resourceId"))
    }

    #[track_caller]
    fn assert_opens(&self, mut command: Command, user: &str) {
        let token = program::run(&mut command).unwrap().expect_success().unwrap();
        let said = self.facts.reach.psql(user, &token, "select session_user").unwrap();
        assert_eq!(said.expect_success().unwrap(), user, "{command:?}");
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            let _ended = agent.kill();
        }
    }
}

fn not_found() -> (u16, Value) {
    let body = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
    (400, serde_json::from_str(body).unwrap())
}

#[test]
fn azures_library_gets_tokens_from_the_agent_and_opens_the_database() {
    let stack = stack();
    let mut machine = Machine::new(&stack.facts);
    machine.join(&machine.join_token()).expect_success().unwrap();
    machine.run("127.0.0.1:0");
    let (client, object, resource) = machine.identity(JOB);
    for which in ["managed", "aio", "default"] {
        machine.assert_opens(machine.library(which, &[("CLIENT_ID", &client)]), JOB);
        machine.assert_opens(machine.library(which, &[]), "web-1-own");
    }
    machine.assert_opens(machine.library("managed", &[("OBJECT_ID", &object)]), JOB);
    machine.assert_opens(machine.library("managed", &[("RESOURCE_ID", &resource)]), JOB);
    let issued = events(&stack.facts, "token", "managed_identity");
    let uid = own_uid();
    assert_says(text(&issued[0], "/credential"), &["host web-1: uid ", &uid.to_string()]);
    machine.stop();
}

#[test]
fn app_services_variables_are_for_the_process_that_was_given_them() {
    let stack = stack();
    let mut machine = Machine::new(&stack.facts);
    machine.join(&machine.join_token()).expect_success().unwrap();
    machine.run("127.0.0.1:0");
    for which in ["managed", "aio", "default"] {
        let library = machine.library(which, &[]);
        machine.assert_opens(machine.exec(&["--identity", JOB], &library), JOB);
        machine.assert_opens(machine.exec(&[], &library), "web-1-own");
    }
    // The header alone is worth nothing in another account's hands, nor is a made-up one in ours.
    let mut show = Command::new("sh");
    show.args(["-c", "echo $IDENTITY_ENDPOINT $IDENTITY_HEADER"]);
    let said =
        program::run(&mut machine.exec(&["--identity", JOB], &show)).unwrap().expect_success();
    let said = said.unwrap();
    let (endpoint, header) = said.trim().split_once(' ').unwrap();
    let ask = |wrapper: &[&str], header: &str| {
        let words =
            [wrapper, &["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H"]].concat();
        let mut command = program::clean(words[0]);
        command.args(&words[1..]).arg(format!("X-IDENTITY-HEADER: {header}"));
        command.arg(format!("{endpoint}?api-version=2019-08-01&resource={RESOURCE}"));
        program::run(&mut command).unwrap().expect_success().unwrap()
    };
    let other = ["setpriv", "--reuid", OTHER_UID, "--clear-groups"];
    assert_eq!(ask(&[], header), "200");
    assert_eq!(ask(&other, header), "401");
    assert_eq!(ask(&[], &format!("{header}x")), "401");
    // It is the same after a restart, and rests on no disk.
    machine.stop();
    for entry in std::fs::read_dir(machine.state()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(!kept.contains(header) && !kept.contains("access_token"), "{}", path.display());
    }
    let listen = endpoint.trim_start_matches("http://").trim_end_matches("/msi/token").to_owned();
    let (header, listen) = (header.to_owned(), listen.as_str());
    machine.run(listen);
    assert_eq!(ask(&[], &header), "200");
    let refused = program::run(&mut machine.exec(&["--identity", "billing"], &show)).unwrap();
    assert_says(&refused.expect_failure(1).unwrap().text(), &["Identity not found"]);
}

#[test]
fn whoever_may_not_be_an_identity_is_told_so_at_once() {
    let mut stack = stack();
    let facts = stack.facts.clone();
    let mut machine = Machine::new(&facts);
    machine.join(&machine.join_token()).expect_success().unwrap();
    machine.run("127.0.0.1:0");
    let metadata = ["Metadata: true"];
    let (billing, _, _) = machine.identity("billing");
    assert_eq!(machine.ask(&[], &metadata, "").0, 200);
    assert_eq!(machine.ask(&[], &metadata, &format!("&client_id={billing}")), not_found());
    assert_eq!(machine.ask(&[], &metadata, "&client_id=none"), not_found());
    let other = ["setpriv", "--reuid", OTHER_UID, "--clear-groups"];
    assert_eq!(machine.ask(&other, &metadata, ""), not_found());
    let (status, body) = machine.ask(&[], &[], "");
    assert_eq!((status, text(&body, "/error")), (400, "bad_request_102"));
    let forwarded = ["Metadata: true", "X-Forwarded-For: 192.0.2.1"];
    assert_eq!(machine.ask(&[], &forwarded, "").0, 400);
    let (status, body) = machine.ask(&[], &metadata, "&resource=https://vault.azure.net");
    assert_eq!((status, text(&body, "/error")), (400, "invalid_request"));

    // The installation is away: what is in memory goes on, the rest may be tried again.
    stack.stop_server().unwrap();
    assert_eq!(machine.ask(&[], &metadata, "").0, 200);
    assert_eq!(machine.ask(&other, &metadata, "").0, 503);
    stack.start_server().unwrap();

    facts.apply(&host(false)).unwrap().expect_success().unwrap();
    let (job, _, _) = machine.identity(JOB);
    let (status, body) = machine.ask(&[], &metadata, &format!("&client_id={job}"));
    assert_eq!((status, text(&body, "/error")), (400, "host_refused"));
    assert!(!events(&facts, "token", "PC2031").is_empty());
}

#[test]
fn a_join_token_joins_one_machine_once() {
    let stack = stack();
    let (first, second) = (Machine::new(&stack.facts), Machine::new(&stack.facts));
    let token = first.join_token();
    first.join(&token).expect_success().unwrap();
    let replayed = second.join(&token).expect_failure(4).unwrap();
    assert_says(&replayed.text(), &["PC2030", "portcullis host join-token"]);
    assert_eq!(events(&stack.facts, "signIn", "hostJoin").len(), 2);
    // Who has copied the certificate, and not the key, has nothing.
    let copied = second.state();
    std::fs::copy(first.state().join("host.json"), copied.join("host.json")).unwrap();
    let run = |machine: &Machine<'_>| {
        let mut command = machine.command(&["agent", "run", "--listen", "127.0.0.1:0", "--state"]);
        command.arg(machine.state()).arg("--socket").arg(machine.socket());
        program::run(&mut command).unwrap().expect_failure(1).unwrap().text()
    };
    assert_says(&run(&second), &["host.key"]);
    std::fs::set_permissions(
        first.state().join("host.key"),
        std::fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    assert_says(&run(&first), &["others can read"]);
}

#[test]
fn in_a_network_namespace_the_agent_is_where_libraries_look_for_it() {
    let stack = stack();
    let mut machine = Machine::new(&stack.facts);
    machine.join(&machine.join_token()).expect_success().unwrap();
    let namespace = Namespace::new();
    machine.run(&format!("{}@169.254.169.254:80", namespace.0));
    let inside = |command: &Command| {
        let mut inside = program::clean("ip");
        inside.args(["netns", "exec", &namespace.0]).arg(command.get_program());
        inside.args(command.get_args()).env("NO_PROXY", "169.254.169.254");
        inside
    };
    let mut library = program::clean(python());
    library.arg(Path::new(CLIENTS).join("azure_managed.py"));
    for which in ["managed", "default"] {
        let mut command = program::clean(library.get_program());
        command.args(library.get_args()).arg(which);
        machine.assert_opens(inside(&command), "web-1-own");
    }
    let issued = events(&stack.facts, "token", &format!("of network {}", namespace.0));
    assert_says(text(&issued[0], "/credential"), &["host web-1"]);
}

/// A network namespace with Azure's address in it; goes with the test.
struct Namespace(String);

impl Namespace {
    fn new() -> Self {
        let name = format!("portcullis-{}", std::process::id());
        let namespace = Self(name.clone());
        for words in [
            format!("netns add {name}"),
            format!("-n {name} link set lo up"),
            format!("-n {name} addr add 169.254.169.254/32 dev lo"),
        ] {
            let mut ip = Command::new("ip");
            program::run(ip.args(words.split(' '))).unwrap().expect_success().unwrap();
        }
        namespace
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _removed = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}
