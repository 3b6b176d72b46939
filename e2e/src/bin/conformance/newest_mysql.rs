//! MySQL's own server and clients, the newest, through the gateway: the distribution has MariaDB's only.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::mysql::MySql;
use testkit::program::{self, Said};
use testkit::stack::{Beside, Facts, MARIADB_SERVER, Options, Person, Stack};
use testkit::wait;

use crate::install::{self, Cache};
use crate::known::Engine;

const WITHIN: Duration = Duration::from_secs(20);
const PASSWORD: &str = "p4ss wörd";

/// What a client could see that it must not: everything here is compared with what the server says directly.
const SCRIPT: &str = "\
create table t (id int auto_increment primary key, name varchar(20) character set utf8mb4, at datetime(6), n decimal(20,6),
                b bit(9), j json, g geometry, e enum('a','b'), s set('x','y'), y year, bl blob, d double, f float, u bigint unsigned);
insert into t (name, at, n, b, j, g, e, s, y, bl, d, f, u) values
  ('Zoë', '2026-11-29 12:00:00.123456', -1.5, b'101', '{\"a\": [1, null]}', st_geomfromtext('point(1 2)'), 'b', 'x,y', 1999,
   x'00ff', 1e300, 0.1, 18446744073709551615), (null, null, null, null, null, null, null, null, null, null, null, null, null);
select * from t;
select id, name from t where id < 0;
insert into t (name) values ('far too long for a column of twenty characters');
insert ignore into t (name) values ('far too long for a column of twenty characters');
show warnings;
select 1; select 'two', 2.0; select null;
update t set name = 'x' where id = 1;
select row_count(), found_rows(), last_insert_id();
set @a = 5;
prepare p from 'select ? + @a as sum, ? as text';
execute p using @a, @a;
deallocate prepare p;
select no_such_function();
create procedure two() begin select 1 as one; select 2 as two, 'b' as b; end;
call two();
select repeat('x', 20000000) = '', length(repeat('y', 17000000));
start transaction; delete from t; rollback;
select count(*) from t;
set session transaction read only; insert into t (name) values ('no');
set session transaction read write;
with recursive c as (select 1 as n union all select n + 1 from c where n < 1000) select sum(n) from c;
explain format=tree select * from t where id = 1;
select * from t procedure analyse();
drop table t; drop procedure two;
";

struct Scene {
    python: PathBuf,
    stack: Stack,
    mysql: MySql,
    person: Person,
    activation: String,
    token: String,
}

/// Any difference is an error.
pub(crate) fn run(programs: &Path, cache: &Cache) -> Result<()> {
    let python = install::python(Engine::MySql, cache)?;
    println!("Starting the gateway and MySQL …");
    let scene = Scene::prepare(programs, python)?;
    println!("  MySQL {}", scene.mysql.sql("mysql", "select version()")?.trim());
    for (what, check) in CHECKS {
        check(&scene).with_context(|| (*what).to_owned())?;
        println!("  {what}");
    }
    Ok(())
}

type Check = fn(&Scene) -> Result<()>;

const CHECKS: &[(&str, Check)] = &[
    (
        "caching_sha2_password: the password whole at the first login, its scramble afterwards",
        |scene| {
            // An account that was altered is not in the server's cache.
            for _ in 0..3 {
                ensure!(user(scene)? == "app_writer@127.0.0.1", "another user");
            }
            Ok(())
        },
    ),
    ("a password that is wrong is the gateway's affair", |scene| {
        scene.secret("another")?;
        let said = scene.mysql_client("select 1")?;
        scene.secret(PASSWORD)?;
        ensure!(
            said.stderr.contains("PC1308") && !said.stderr.contains("app_writer"),
            "{}",
            said.stderr
        );
        Ok(())
    }),
    ("MySQL's and MariaDB's command-line clients see what they see directly", |scene| {
        for client in [Client::MySql, Client::MariaDb] {
            let (direct, through) =
                (scene.script(client, Way::Direct)?, scene.script(client, Way::Gateway)?);
            ensure!(
                direct == through,
                "{client:?}:\n{direct}\nand through the gateway:\n{through}"
            );
            ensure!(direct.contains("Zoë") && direct.contains("ERROR 1406"), "{direct}");
        }
        Ok(())
    }),
    ("query attributes reach the server, and the record has the statement", |scene| {
        let facts = &scene.stack.facts;
        let mut command = program::clean(&scene.python);
        command.arg(install::source(Engine::MySql, "python").join("query_attributes.py"));
        command.args([&facts.reach.mysql_port.to_string(), &scene.person.user]);
        command.arg(&facts.reach.ca).env("MYSQL_PWD", &scene.token);
        let seen = program::run(&mut command)?.json()?;
        let expected = serde_json::json!({
            "python": ["green python", "blue python", 7, "none"],
            "c": ["green c", "blue c", 7, "none"],
        });
        ensure!(seen == expected, "{seen}");
        recorded(facts, "select mysql_query_attribute_string('colour') as plain")?;
        recorded(facts, "select mysql_query_attribute_string('colour'), ? as prepared")
    }),
    ("mysqldump and mysqladmin work as directly", |scene| {
        scene.mysql.sql(
            "orders",
            "create table kept (id int primary key, name text); insert into kept values (1, 'one')",
        )?;
        let mut dump = scene.reaching(Command::new(scene.mysql.program("mysqldump")), Way::Gateway);
        dump.args(["--no-tablespaces", "--single-transaction", "--set-gtid-purged=OFF", "orders"]);
        let said = program::run(&mut dump)?.expect_success()?;
        ensure!(said.contains("INSERT INTO `kept` VALUES (1,'one')"), "{said}");
        let mut ping =
            scene.reaching(Command::new(scene.mysql.program("mysqladmin")), Way::Gateway);
        let said = program::run(ping.arg("ping"))?.expect_success()?;
        ensure!(said.contains("alive"), "{said}");
        Ok(())
    }),
    ("the cut ends the connection on the server", |scene| {
        let mut command = scene.client(Client::MySql, Way::Gateway);
        command.args(["-e", "select sleep(600)"]).stdin(Stdio::null());
        let client = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let running = || {
            let sql =
                "select count(*) from performance_schema.processlist where user = 'app_writer'";
            scene.mysql.sql("mysql", sql).map(|count| count.trim().to_owned())
        };
        wait::try_until(WITHIN, || (running().ok()? == "1").then_some(()))
            .context("no statement")?;
        scene.stack.facts.approver.must(&["revoke", &scene.activation, "--note", "test"])?;
        let said = client.wait_with_output()?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        ensure!(said.contains("PC1204"), "{said}");
        wait::try_until(WITHIN, || (running().ok()? == "0").then_some(())).context("it stays")
    }),
    (
        "enrolled, it knows people by accounts of their own, which only their certificates open",
        |scene| {
            scene.enroll()?;
            let own = format!("{}@127.0.0.1", scene.person.user);
            scene.activated(|| {
                // Clients of both families, prepared statements and all.
                let said =
                    scene.mysql_client("select current_user(), count(*) from orders.kept")?;
                ensure!(said.stdout.contains(&own), "{}{}", said.stdout, said.stderr);
                let said =
                    program::run(scene.client(Client::MariaDb, Way::Gateway).args(["-e", KILLED]))?;
                ensure!(said.stderr.contains("ERROR 1317"), "{}{}", said.stdout, said.stderr);
                recorded(&scene.stack.facts, "select current_user(), count(*) from orders.kept")?;
                let mut command = scene.client(Client::MySql, Way::Gateway);
                command.args(["-e", "select sleep(600)"]).stdin(Stdio::null());
                Ok(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?)
            })?;
            let account = "select concat(account_locked, ' ', (select count(*) from role_edges where to_user = user)) \
                       from user where user = 'mysql@example.com'";
            let ended = || {
                Some(()).filter(|()| {
                    scene.mysql.sql("mysql", account).is_ok_and(|it| it.trim() == "Y 0")
                })
            };
            wait::try_until(WITHIN, ended).context("the account stays open")
        },
    ),
];

/// A connection that ends what it runs itself.
const KILLED: &str = "kill query connection_id()";

#[derive(Clone, Copy, Debug)]
enum Client {
    MySql,
    MariaDb,
}

#[derive(Clone, Copy)]
enum Way {
    Direct,
    Gateway,
}

impl Scene {
    fn prepare(programs: &Path, python: PathBuf) -> Result<Self> {
        let mysql = MySql::start(programs, &[])?;
        let account = "app_writer@'127.0.0.1'";
        mysql.sql(
            "mysql",
            &format!(
                "install component 'file://component_query_attributes';
create database orders;
create user {account} identified with caching_sha2_password by '{PASSWORD}' require ssl;
grant all on orders.* to {account};"
            ),
        )?;
        let stack = Stack::start(&Options { beside: Beside::MariaDb, ..Options::default() })?;
        let facts = &stack.facts;
        facts.apply(&document(facts, (&mysql, &stack))?)?.expect_success()?;
        let person = facts.newcomer("mysql@example.com", &["orders-writers"])?;
        let activation = facts.activate(&person, "orders-writers", "30m")?;
        let token = person.token()?;
        let scene = Self { python, stack, mysql, person, activation, token };
        scene.secret(PASSWORD)?;
        Ok(scene)
    }

    /// What an operator does on the server's host, after the document has been changed.
    fn enroll(&self) -> Result<()> {
        let facts = &self.stack.facts;
        let documents = document(facts, (&self.mysql, &self.stack))?;
        let (before, rest) = documents.split_once("  upstreamIdentity:").context("no identity")?;
        let (_, ca) = rest.split_once("  ca: |\n").context("no authority")?;
        facts
            .apply(&format!("{before}  upstreamIdentity: certificate\n  ca: |\n{ca}"))?
            .expect_success()?;
        let mut command = facts.admin.portcullis(&["server", "enroll", MARIADB_SERVER, "--apply"]);
        command.arg("--data-directory").arg(self.mysql.data_directory());
        command.arg("--socket").arg(self.mysql.socket());
        command.arg("--configuration-directory").arg(self.mysql.configuration_directory());
        command.arg("--client").arg(self.mysql.program("mysql"));
        program::run(command.args(["--os-user", self.mysql.os_user()]))?.expect_success()?;
        self.mysql.restart()
    }

    /// Does something with an activation, which is then revoked; whoever still runs something is told so.
    fn activated(&self, run: impl FnOnce() -> Result<Child>) -> Result<()> {
        let facts = &self.stack.facts;
        let activation = facts.activate(&self.person, "orders-writers", "30m")?;
        let client = run()?;
        let running = || {
            let sql = "select count(*) from information_schema.processlist where info like 'select sleep%'";
            self.mysql.sql("mysql", sql).map(|count| count.trim().to_owned())
        };
        wait::try_until(WITHIN, || (running().ok()? == "1").then_some(()))
            .context("no statement")?;
        facts.approver.must(&["revoke", &activation, "--note", "test"])?;
        let said = client.wait_with_output()?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        ensure!(said.contains("PC1204"), "{said}");
        wait::try_until(WITHIN, || (running().ok()? == "0").then_some(())).context("it stays")
    }

    fn secret(&self, password: &str) -> Result<()> {
        let folder = self.stack.facts.folder.join("secrets");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("app_writer"), password)?;
        Ok(fs::set_permissions(folder.join("app_writer"), fs::Permissions::from_mode(0o600))?)
    }

    fn mysql_client(&self, sql: &str) -> Result<Said> {
        program::run(self.client(Client::MySql, Way::Gateway).args(["-e", sql]))
    }

    fn client(&self, client: Client, way: Way) -> Command {
        let program = match client {
            Client::MySql => Command::new(self.mysql.program("mysql")),
            Client::MariaDb => program::clean("mariadb"),
        };
        let mut command = match client {
            Client::MySql => self.reaching(program, way),
            Client::MariaDb => {
                let mut command = self.reached(program, way);
                command.arg("--ssl-verify-server-cert");
                command
            }
        };
        command.args(["-D", "orders"]);
        command
    }

    /// A program of MySQL's.
    fn reaching(&self, program: Command, way: Way) -> Command {
        let mut command = self.reached(program, way);
        command.args(["--ssl-mode=VERIFY_CA", "--enable-cleartext-plugin"]);
        command
    }

    fn reached(&self, mut command: Command, way: Way) -> Command {
        let facts = &self.stack.facts;
        let (port, user, password, ca) = match way {
            Way::Direct => (self.mysql.port(), "app_writer", PASSWORD, self.mysql.server_ca_file()),
            Way::Gateway => {
                let Person { user, .. } = &self.person;
                (facts.reach.mysql_port, user.as_str(), self.token.as_str(), facts.reach.ca.clone())
            }
        };
        command
            .args(["--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", "-P", &port.to_string()])
            .args(["-u", user, "--ssl-ca"])
            .arg(ca)
            .env("MYSQL_PWD", password);
        command
    }

    /// All that the client prints of the script, errors too.
    fn script(&self, client: Client, way: Way) -> Result<String> {
        let mut command = self.client(client, way);
        command.args(["--force", "--table", "--column-type-info", "--show-warnings", "--comments"]);
        command.args([
            "--delimiter=//",
            "--max-allowed-packet=64M",
            "--default-character-set=utf8mb4",
            "-vv",
        ]);
        let script = SCRIPT.replace(";\n", "//\n");
        let said = program::feed(&mut command, &script)?;
        // How long a statement took differs.
        let kept = said.stdout.lines().chain(said.stderr.lines()).map(|line| {
            line.split_once(" sec)")
                .map_or(line, |(before, _)| before.rsplit_once('(').map_or(before, |it| it.0))
        });
        Ok(kept.collect::<Vec<_>>().join("\n"))
    }
}

fn user(scene: &Scene) -> Result<String> {
    let mut command = scene.client(Client::MySql, Way::Gateway);
    command.args(["-N", "-B", "-e", "select current_user()"]);
    Ok(program::run(&mut command)?.expect_success()?.trim().to_owned())
}

fn recorded(facts: &Facts, sql: &str) -> Result<()> {
    let found = || {
        let events = facts.audit(&["--type", "statement", "--text", sql]).ok()?;
        events.iter().any(|event| event.get("sql").is_some_and(|it| it == sql)).then_some(())
    };
    wait::try_until(WITHIN, found).context("the record has another statement, or none")
}

/// The stack's document for MariaDB, with MySQL in its place.
fn document(facts: &Facts, (mysql, stack): (&MySql, &Stack)) -> Result<String> {
    let documents = fs::read_to_string(facts.folder.join("seed/6-mariadb.yaml"))?;
    let server = documents.split("\n---\n").next().context("no document")?;
    let mariadb = stack.mariadb.as_ref().context("no MariaDB")?;
    let server =
        server.replace(&format!("port: {}", mariadb.port()), &format!("port: {}", mysql.port()));
    let (before, _) = server.split_once("  ca: |\n").context("no authority")?;
    let ca: String =
        mysql.server_ca().trim_end().lines().flat_map(|line| ["    ", line, "\n"]).collect();
    Ok(format!(
        "{before}  upstreamIdentity:\n    sharedUsers:\n      - roles: [{MARIADB_SERVER}.writer]\n        \
         user: app_writer\n        credential: {{ password: {{ secret: app_writer }} }}\n  ca: |\n{ca}"
    ))
}
