//! A whole day of an installation, and then: no secret of it stands anywhere that is written down, shown in a list of
//! processes, or printed to someone who did not ask for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::https;
use e2e::raw::Client;
use serde_json::Value;
use testkit::damage;
use testkit::program::{self, Said};
use testkit::stack::{Credential, DEV, Facts, Options, Person};

use crate::support::{own_with, text};

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// What a person keeps: the base64 lines of keys, and every long text in files of tokens.
fn kept(person: &Person) -> BTreeSet<String> {
    let mut secrets = BTreeSet::new();
    for file in files(&person.home) {
        let text = fs::read_to_string(&file).unwrap_or_default();
        match serde_json::from_str(&text) {
            Ok(value) => texts(&value, &mut secrets),
            Err(_) => secrets.extend(text.lines().map(str::to_owned)),
        }
    }
    // Of a token only the signature is secret; what it says stands in the log by rights.
    let secret = |text: &String| text.rsplit('.').next().unwrap_or(text).to_owned();
    let secrets = secrets.iter().filter(|text| !text.starts_with("-----")).map(secret);
    secrets.filter(|secret| secret.len() >= 16).collect()
}

/// Texts that are secrets by their name.
fn texts(value: &Value, secrets: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str() {
                    Some(text)
                        if ["token", "text", "secret", "key"]
                            .iter()
                            .any(|part| name.to_lowercase().contains(part)) =>
                    {
                        secrets.insert(text.to_owned());
                    }
                    _ => texts(field, secrets),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, secrets)),
        _ => {}
    }
}

/// Arguments of every process, seen again and again until it is stopped.
struct Watched {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<BTreeSet<String>>,
}

impl Watched {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                for process in fs::read_dir("/proc").unwrap().flatten() {
                    if let Ok(arguments) = fs::read(process.path().join("cmdline")) {
                        seen.insert(String::from_utf8_lossy(&arguments).into_owned());
                    }
                }
                std::thread::yield_now();
            }
            seen
        });
        Self { stop, thread }
    }

    fn seen(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// What was used, and what was said by those who should not say it.
#[derive(Default)]
struct Day {
    secrets: BTreeSet<String>,
    said: String,
}

impl Day {
    fn secret(&mut self, secret: &str) {
        // Of a token the signature, of a handle what follows its public id.
        let secret = match secret.strip_prefix("pct_") {
            Some(sealed) => sealed.split_at(4).1,
            None => secret.rsplit('.').next().unwrap_or(secret),
        };
        assert!(secret.len() >= 6, "too short to look for");
        self.secrets.insert(secret.to_owned());
    }

    fn heard(&mut self, said: &Said) {
        self.said.push_str(&said.stdout);
        self.said.push_str(&said.stderr);
    }
}

impl Day {
    /// A pass, an enrolment with a wrong and the right one, and what enrolment leaves behind.
    fn enrolment(&mut self, facts: &Facts) -> Person {
        let pass = ["user", "pass", DEV, "-o", "json"];
        let printed = facts.admin.run(&pass).unwrap().json().unwrap();
        let pass = text(&printed, "/pass");
        self.secret(pass);
        let dev = Person::new(DEV, &facts.reach, &facts.folder.join("people/again")).unwrap();
        let wrong = format!("{}-zzzz", pass.split_at(pass.len() - 5).0);
        self.said.push_str(&dev.enrol(&wrong).unwrap_err().to_string());
        dev.enrol(pass).unwrap();
        facts.activate(&dev, "orders-readers", "10m").unwrap();
        dev
    }

    /// Tokens, handles, a client secret, a certificate: each where it counts and where it does not.
    fn credentials(&mut self, facts: &Facts, dev: &Person) {
        let api = &facts.api;
        self.secret(&api.secret);
        let pem = fs::read_to_string(api.certificate.as_ref().unwrap()).unwrap();
        let key = pem.split("-----BEGIN PRIVATE KEY-----").nth(1).unwrap();
        let key = key.split("-----END").next().unwrap().lines().filter(|line| line.len() >= 32);
        self.secrets.extend(key.map(str::to_owned));
        for (user, credential) in [
            (dev.user.as_str(), dev.token().unwrap()),
            (dev.user.as_str(), dev.must(&["token", "--handle"]).unwrap()),
            ("orders-api", api.token(Credential::Secret).unwrap()),
            ("orders-api", api.token(Credential::Certificate).unwrap()),
        ] {
            self.secret(&credential);
            let ask = |user, secret: &str| facts.reach.psql(user, secret, "select 1").unwrap();
            ask(user, &credential).expect_success().unwrap();
            self.heard(&ask("someone", &credential));
            self.heard(&ask(user, &format!("{credential}x")));
        }
        let mut token = api.token_command(Credential::Secret).unwrap();
        let token = token.env("AZURE_CLIENT_SECRET", format!("{}x", api.secret));
        self.heard(&program::run(token).unwrap());
    }

    /// A device asks, and is answered.
    fn device(&mut self, facts: &Facts, dev: &Person) {
        let path = format!("/{}/oauth2/v2.0/devicecode", facts.reach.tenant);
        let form = [
            ("client_id", "04b07795-8ddb-461a-bbee-02f9e1bf7b46"),
            ("scope", "https://ossrdbms-aad.database.windows.net/.default"),
        ];
        let asked = https::post_form(&facts.reach, &path, &form).unwrap();
        self.secret(&asked.field("device_code").unwrap());
        let code = asked.field("user_code").unwrap();
        let words = ["login", DEV, "--device-code", &code, "--decision", "approve"];
        let mut approve = dev.portcullis(&words);
        approve.arg("--key-file").arg(dev.key_file());
        approve.arg("--totp-secret-file").arg(dev.totp_secret_file());
        self.heard(&program::run(&mut approve).unwrap());
    }

    /// The key with which a session's statement can be cancelled, as a log could show it.
    fn cancel_key(&mut self, facts: &Facts) {
        let token = facts.api.token(Credential::Secret).unwrap();
        let parameters = [("user", "orders-api"), ("database", "orders")];
        let mut client = Client::started(&facts.reach, &parameters).unwrap();
        client.read_until(b'R').unwrap();
        client.message(b'p', &[token.as_bytes(), b"\0"].concat()).unwrap();
        let key = client.read_until(b'K').unwrap().body;
        let secret: [u8; 4] = key[4..].try_into().unwrap();
        let number = u32::from_be_bytes(secret);
        self.secrets.extend([format!("{number:08x}"), format!("{number}"), format!("{secret:?}")]);
    }
}

#[test]
fn no_secret_of_a_whole_day_stands_in_a_log_a_list_of_processes_or_an_error() {
    let watched = Watched::start();
    let debug = ("PORTCULLIS_LOG".to_owned(), "debug".to_owned());
    let stack = own_with(&Options { environment: vec![debug], ..Options::default() });
    let facts = &stack.facts;
    let mut day = Day::default();
    let dev = day.enrolment(facts);
    day.credentials(facts, &dev);
    day.device(facts, &dev);
    day.cancel_key(facts);
    for person in [&facts.admin, &facts.approver, &facts.auditor, &dev] {
        day.secrets.extend(kept(person));
    }

    let mut written = fs::read_to_string(facts.log()).unwrap();
    assert!(written.contains("DEBUG"), "the log says little");
    for segment in damage::segments(&facts.audit_log()).unwrap() {
        written.push_str(&fs::read_to_string(segment).unwrap());
    }
    let seen: Vec<String> = watched.seen().into_iter().collect();
    let processes = seen.join("\n");
    assert!(processes.contains("psql") && day.secrets.len() > 20, "{}", day.secrets.len());
    assert!(day.said.contains("PC1102") && day.said.contains("PC1109"), "{}", day.said);
    for secret in &day.secrets {
        let shown = secret.split_at(4).0;
        for (place, text) in
            [("a log", &written), ("a list of processes", &processes), ("an error", &day.said)]
        {
            assert!(!text.contains(secret.as_str()), "`{shown}…` stands in {place}");
        }
    }
}
