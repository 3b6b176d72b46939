//! The demo: zero trust on a real PostgreSQL server and a real MariaDB server, in seven scenes. Every command that is shown is the one that runs.

mod cast;
mod cut;

use anyhow::{Context, Result};
use testkit::damage::{self, Damage};
use testkit::program;
use testkit::stack::{self, Beside, Enrolment, Options, Stack, detached};
use testkit::wait;

use crate::stage::Stage;
use cast::Cast;

/// How long the first membership lasts: long enough for two scenes, short enough to wait for its end.
const FIRST_MEMBERSHIP: &str = "15s";

/// What becomes of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Afterwards {
    CleanUp,
    Keep,
}

pub(crate) fn run(afterwards: Afterwards) -> Result<()> {
    let started = wait::now();
    let folder = stack::private_folder("portcullis-demo-")?;
    let options =
        Options { enrolment: Enrolment::Left, beside: Beside::MariaDb, ..Options::default() };
    let stack = detached::up(&folder, &options, &super::own_program()?)?;
    let mut stage = Stage::new();
    let told = story(&mut stage, &stack);
    println!("\nThe demo took {:.1} s.", started.elapsed().as_secs_f64());
    match (afterwards, &told) {
        (Afterwards::Keep, Ok(())) => keep(stack)?,
        // Also what runs beside the stack, which is not its own to end.
        (Afterwards::CleanUp, _) | (Afterwards::Keep, Err(_)) => {
            stack.leave_running()?;
            detached::down(&folder)?;
        }
    }
    told?;
    stage.conclude()
}

fn story(stage: &mut Stage, stack: &Stack) -> Result<()> {
    let cast = Cast::of(stack)?;
    server(stage, &cast, stack)?;
    installation(stage, &cast, stack)?;
    let activation = developer(stage, &cast)?;
    let open = cut::open(stage, &cast)?;
    auditor(stage, &cast, stack)?;
    cut::expiry(stage, &cast, stack, open, &activation)?;
    cut::revocation(stage, &cast, stack)?;
    workload(stage, &cast)?;
    mariadb(stage, &cast, stack)
}

fn server(stage: &mut Stage, cast: &Cast, stack: &Stack) -> Result<()> {
    stage.scene(1, "A PostgreSQL server that nobody can reach with a password");
    let sql = "select (select count(*) from customers) as customers, \
               (select count(*) from products) as products, \
               (select count(*) from orders) as orders, \
               (select count(*) from order_lines) as order_lines, \
               split_part(version(), ' (', 1) as server";
    let said = stage.run(&cast.operator, &format!("{} -c \"{sql}\"", cast.superuser_psql))?;
    stage.claim("the orders database is there", said.ok() && said.stdout.contains("72737"));

    stage.say("What an operator must change, and why. Without --apply it is only printed.");
    let enroll = format!(
        "portcullis server enroll {} --data-directory $ORDERS_DATA --socket-directory $ORDERS_SOCKET \
         --os-user {} --superuser postgres",
        stack::SERVER,
        stack.postgres.os_user(),
    );
    let dry = stage.run(&cast.admin, &enroll)?;
    stage.claim("enrolment says what it would change", dry.ok() && dry.stdout.contains("hostssl"));
    let applied = stage.run(&cast.admin, &format!("{enroll} --apply > /dev/null"))?;
    stage.claim("enrolment is applied", applied.ok());
    let rules = "grep -v -e '^#' -e '^$' $PGDATA/pg_hba.conf";
    let rules = stage.run(&cast.operator, rules)?;
    let password = ["password", "scram-sha-256", "md5", "trust"];
    let remote: Vec<&str> = rules.stdout.lines().filter(|line| line.starts_with("host")).collect();
    let only_certificates =
        remote.iter().all(|line| line.contains(" cert") || line.contains("reject"));
    stage.claim(
        "over the network the server takes client certificates from the gateway's address, and nothing else",
        !remote.is_empty()
            && only_certificates
            && !password.iter().any(|method| rules.stdout.contains(method)),
    );
    Ok(())
}

fn installation(stage: &mut Stage, cast: &Cast, stack: &Stack) -> Result<()> {
    stage.scene(2, "Portcullis, started from one folder of files");
    for took in &stack.took {
        println!("  {:<26}{:>6.2} s", took.part, took.length.as_secs_f64());
    }
    for command in [
        "portcullis get groups",
        "portcullis get eligibilities",
        "portcullis get accessrules",
        "portcullis get roleassignments",
    ] {
        let said = stage.run(&cast.admin, command)?;
        stage.claim(
            &format!("`{command}` answers from the example folder"),
            said.ok() && said.stdout.contains("orders-readers"),
        );
    }
    Ok(())
}

/// The activation's id.
fn developer(stage: &mut Stage, cast: &Cast) -> Result<String> {
    stage.scene(3, "A developer asks, is approved, and works under their own name");
    let refused = stage.run(&cast.dev, &Cast::psql("select count(*) from orders"))?;
    stage.claim(
        "without membership the connection is refused, with the command that helps",
        !refused.ok() && refused.stderr.contains("portcullis request orders-readers"),
    );

    let request = format!(
        "portcullis request orders-readers --for {FIRST_MEMBERSHIP} --because \"why are returns up in Brno?\""
    );
    let asked = stage.run(&cast.dev, &request)?;
    stage.claim("the request is made", asked.ok());
    let activation = cast.requested(stack::DEV)?;
    let own = stage.run(&cast.dev, &format!("portcullis approve {activation}"))?;
    stage.claim("nobody approves their own request", own.code == 3);
    let approve = format!("portcullis approve {activation} --note \"have a look\"");
    let approved = stage.run(&cast.approver, &approve)?;
    stage.claim("the approver approves", approved.ok());

    let name = stage.run(&cast.dev, &Cast::psql("select session_user"))?;
    stage
        .claim("inside the database the developer is themselves", name.stdout.contains(stack::DEV));
    let read = "select * from revenue_by_country order by revenue desc limit 3";
    let read = stage.run(&cast.dev, &Cast::psql(read))?;
    stage.claim("reading works", read.ok() && read.stdout.contains("NL"));
    let write =
        stage.run(&cast.dev, &Cast::psql("update orders set status = 'paid' where id = 7"))?;
    stage.claim(
        "the database itself refuses a write",
        !write.ok() && write.stderr.contains("permission denied for table orders"),
    );
    let bound = "PGPASSWORD=$(portcullis token) pgbench -n -M extended -t 1 -f newest.sql";
    stage.say("A statement whose values travel apart from its text (psql 15 cannot, pgbench can):");
    let bound = stage.run(&cast.dev, &format!("{bound} | grep processed"))?;
    stage.claim("a statement with bind values runs", bound.stdout.contains("1/1"));
    let explain = format!("portcullis explain {} --server orders --database orders", stack::DEV);
    let explained = stage.run(&cast.dev, &explain)?;
    stage.claim("explain says what is allowed and why", explained.ok());
    Ok(activation)
}

fn auditor(stage: &mut Stage, cast: &Cast, stack: &Stack) -> Result<()> {
    stage.scene(4, "The auditor sees who did what, and that nobody touched the record");
    let listed = stage.run(&cast.auditor, "portcullis audit --actor dev@example.com")?;
    let expected = ["request", "session", "revenue_by_country", "permission denied", "4990"];
    stage.claim(
        "request, login, statements with values, rows and outcome are there",
        listed.ok() && expected.iter().all(|text| listed.stdout.contains(text)),
    );
    let approvals = stage.run(&cast.auditor, "portcullis audit --actor approver@example.com")?;
    stage.claim("and the approval", approvals.stdout.contains("have a look"));
    let whole = stage.run(&cast.operator, "portcullis audit verify --config $CONFIG")?;
    stage.claim("the log is whole", whole.ok());
    stage.say("Now somebody falsifies a copy of it, in seven ways.");
    let key = cast.audit_key()?;
    let checkpoint = stack.facts.folder.join("known-checkpoint.json");
    std::fs::copy(stack.facts.folder.join("checkpoint.json"), &checkpoint)?;
    for damage in Damage::ALL {
        let copy = stack.facts.folder.join("falsified");
        damage.copy(&stack.facts.audit_log(), &copy)?;
        let said = program::run(&mut cast.verify(&copy, &key, &checkpoint))?;
        let told = said.stderr.lines().next().unwrap_or_default();
        stage.claim(&format!("{}: {told}", damage.name()), said.code == 1 && !told.is_empty());
        std::fs::remove_dir_all(&copy)?;
    }
    let copy = stack.facts.folder.join("true-copy");
    damage::duplicate(&stack.facts.audit_log(), &copy)?;
    let said = program::run(&mut cast.verify(&copy, &key, &checkpoint))?;
    stage.claim("a true copy passes", said.ok());
    Ok(())
}

fn workload(stage: &mut Stage, cast: &Cast) -> Result<()> {
    stage.scene(6, "A workload signs in with its certificate and runs pgbench");
    let token =
        stage.run(&cast.api, "portcullis token | cut -d. -f1 | base64 -d 2>/dev/null; echo")?;
    stage.claim("a signed assertion gets a token", token.stdout.contains("RS256"));
    let bench =
        "PGPASSWORD=$(portcullis token) pgbench -n -f order_total.sql -M prepared -c 4 -j 2 -T 4";
    let bench = stage.run(&cast.api, bench)?;
    stage.claim(
        "pgbench runs through the gateway without a failed transaction",
        bench.ok() && bench.stdout.contains("number of failed transactions: 0 (0.000%)"),
    );
    Ok(())
}

fn mariadb(stage: &mut Stage, cast: &Cast, stack: &Stack) -> Result<()> {
    stage.scene(7, "The same workload on MariaDB, with nothing but its token");
    enroll_mariadb(stage, cast, stack)?;
    let connect = format!("portcullis connect {} -- -t -e", stack::MARIADB_SERVER);
    let read = format!("{connect} \"select current_user(), count(*) as orders from orders\"");
    let said = stage.run(&cast.api, &read)?;
    stage.claim("it reads as itself", said.ok() && said.stdout.contains("orders-api@127.0.0.1"));
    let refused = stage.run(&cast.api, &format!("{connect} \"delete from orders\""))?;
    stage.claim(
        "what its role does not give, the server refuses",
        !refused.ok() && refused.stderr.contains("ERROR 1142"),
    );
    let audit = "portcullis audit --type statement --text \"delete from orders\"";
    let audit = stage.run(&cast.auditor, audit)?;
    stage.claim("and the audit log has who asked for it", audit.stdout.contains("orders-api"));
    Ok(())
}

fn enroll_mariadb(stage: &mut Stage, cast: &Cast, stack: &Stack) -> Result<()> {
    let server = stack.mariadb.as_ref().context("no MariaDB runs beside")?;
    stage.say("What an operator must change there, applied by the same command, and a restart.");
    let enroll = format!(
        "portcullis server enroll {} --data-directory $MARIADB_DATA --socket $MARIADB_SOCKET \
         --configuration-directory $MARIADB_OPTIONS --os-user {} --apply",
        stack::MARIADB_SERVER,
        server.os_user(),
    );
    let applied = stage.run(&cast.admin, &enroll)?;
    stage.claim(
        "enrolment is applied, and says what it changed",
        applied.ok() && applied.stdout.contains("require_secure_transport = ON"),
    );
    server.restart()
}

fn keep(stack: Stack) -> Result<()> {
    let facts = stack.leave_running()?;
    let home = |person: &stack::Person| person.home.display().to_string();
    println!(
        "
The stack goes on running in {folder}. To try it yourself:

  . {folder}/env
  export PATH={folder}:$PATH PGHOST=$PG_HOST PGPORT=$PG_PORT PGDATABASE=$PG_DB PGUSER=$DEV_USER PGSSLMODE=verify-full

  export PORTCULLIS_HOME={dev}        # you are dev@example.com
  portcullis request orders-readers --for 10m --because \"trying it out\"
  PORTCULLIS_HOME={approver} portcullis get activations
  PORTCULLIS_HOME={approver} portcullis approve ID
  PGPASSWORD=$(portcullis token) psql
  PORTCULLIS_HOME={auditor} portcullis audit --since 10m

To take it away again:  cargo xtask down --dir {folder}",
        folder = facts.folder.display(),
        dev = home(&facts.dev),
        approver = home(&facts.approver),
        auditor = home(&facts.auditor),
    );
    Ok(())
}
