//! `cargo xtask …`: everything that a developer of Portcullis runs, and what continuous integration runs.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

mod build;
mod deny;
mod fuzz;
mod newest_mysql;
mod packages;
mod shell;
mod stack;
mod suites;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask COMMAND

  demo [--keep]                        zero trust on a real PostgreSQL server, in a minute
  up --dir DIR [--fsync on|off]        the demo's stack in the background; DIR/env says how to reach it
  down --dir DIR                       takes it away again, also after a crash
  test [--quick]                       everything that must hold before a change is taken; --quick leaves out what
                                       starts servers
  test --kill-loop [ROUNDS]            `kill -9` of gateway and database under load, 200 times (10 minutes)
  test --failing-disk [full | torn | unsynced]
                                       each write and each sync of a scripted day fails once (20 minutes)
  conformance [CLIENT…]                every client's features through the gateway and directly (5 minutes); writes
                                       docs/conformance/clients.md
  conformance --mysql [CLIENT…]        the same for clients of MySQL's and MariaDB's (5 minutes); writes
                                       docs/conformance/clients-mysql.md
  conformance --suites [SUITE…]        drivers' own suites, likewise (10 minutes); writes docs/conformance/drivers.md
  conformance --newest                 protocol 3.2 in front of PostgreSQL 18, by hand and with libpq 18 (2 minutes)
  conformance --newest-mysql           MySQL's own server and clients of Debian's unstable suite (8 minutes)
  conformance --azure-cli              azure-cli from PyPI: registers the cloud, signs in in each way, and its token opens
                                       the database (5 minutes, most of them for the installation)
  test --pg-regress                    PostgreSQL's own suites, directly and through the gateway, and the server's own
                                       statement log against ours
  test --mariadb-test [WAY] [TEST…]    MariaDB's own suite, directly and through the gateway (1 hour; one WAY of text,
                                       prepared, cursors: 20 minutes); writes docs/conformance/mariadb-test.md
  bench pg [--quick] [--only PART]     interleaved comparison with pgbouncer and the naked server; the parts: throughput,
                                       latency, login, durable, memory, cut, idle
  bench mysql [--quick] [--only PART]  the same with MariaDB and haproxy; the parts: throughput, login, dump, memory, cut
  bench sts [--quick] [--only PART]    tokens issued and verified beside the bare cryptography; the parts: tokens, verifications,
                                       memory
  bench audit                          what an append to the audit log takes
  bench hostility                      what others notice while some clients take more than their share
  lint                                 formatting, clippy, documentation, dependency policy, tidiness
  tidy | deny                          one of these alone
  docs [--check]                       writes docs/reference from the code
  bless                                takes the present output of the program as what snapshots expect
  fuzz [TARGET] [--seconds N | --executions N] [--keep]
                                       fuzzes one target, or each in turn; --keep adds what was found to fuzz/corpus";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<()> {
    match words {
        ["demo", rest @ ..] => stack::demo(rest),
        ["up", rest @ ..] => stack::up(rest),
        ["down", rest @ ..] => stack::down(rest),
        ["bench", "hostility"] => stack::hostility(),
        ["bench", "audit"] => stack::append(),
        ["bench", rest @ ..] => stack::bench(rest),
        ["conformance", rest @ ..] => stack::conformance(rest),
        ["test"] => test::run(test::Extent::Whole),
        ["test", "--quick"] => test::run(test::Extent::Quick),
        ["test", "--kill-loop"] => test::long(test::Long::Kills { rounds: "200" }),
        ["test", "--kill-loop", rounds] if rounds.parse::<u32>().is_ok() => {
            test::long(test::Long::Kills { rounds })
        }
        ["test", "--failing-disk"] => test::long(test::Long::FailingDisk { fault: "every" }),
        ["test", "--failing-disk", fault @ ("full" | "torn" | "unsynced")] => {
            test::long(test::Long::FailingDisk { fault })
        }
        ["test", "--pg-regress"] => suites::run(),
        ["test", "--mariadb-test", tests @ ..] => suites::mariadb(tests),
        ["lint"] => test::lint(),
        ["tidy"] => tidy::run(),
        ["deny"] => deny::run(),
        ["docs"] => stack::docs(stack::Docs::Write),
        ["docs", "--check"] => stack::docs(stack::Docs::Check),
        ["bless"] => test::bless(),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("`{}` is not a command\n\n{USAGE}", other.join(" ")),
    }
}
