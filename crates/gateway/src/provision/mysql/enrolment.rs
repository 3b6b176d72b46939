//! SQL of the enrolment: what it asks, and the steps that follow from it. Run by the server's own superuser.

use std::collections::{BTreeMap, BTreeSet};

use access::database_user::PROVISIONER;
use model::Refusal;
use model::kind::database_role::Privileges;
use model::kind::server::Databases;

use super::account::{NO_PASSWORD, UNKNOWN_PASSWORD};
use super::catalog::Catalog;
use super::connection::{Row, own_privileges};
use super::grants::{handed_on, is_privilege};
use super::quote::{account, common_name, ident, literal};
use super::role::SYSTEM;
use super::{version, weakness};
use crate::enrolment::mysql::{Held, Observed, Provisioner, Role};
use crate::enrolment::{EnrollInput, Script, Step};

/// As in sessions of the provisioner's: only the quote itself means anything in a text.
pub(crate) fn settings(catalog: Catalog) -> [String; 2] {
    [catalog.sql_mode().to_owned(), "SET SESSION lock_wait_timeout = 20".to_owned()]
}

/// Reads the files of TLS anew, from where MariaDB knows them.
pub(crate) const RELOAD: &str = "FLUSH SSL";

/// Where MariaDB reads client authorities from, and whether it speaks TLS.
pub(crate) const CLIENT_AUTHORITIES: &str = "SELECT COALESCE(@@ssl_ca, ''), @@have_ssl";

const VERSION: &str = "SELECT VERSION()";

/// What it takes to grant everything, to make accounts, and to change settings.
const POWERS: &str = "IS_GRANTABLE = 'YES' AND PRIVILEGE_TYPE IN ('SELECT', 'UPDATE', 'CREATE USER', 'SUPER', 'RELOAD')";
const POWERS_NEEDED: u64 = 5;

fn server_settings(catalog: Catalog) -> String {
    let mysqls = match catalog {
        Catalog::MariaDb => "0, 0",
        Catalog::MySql(_) => "@@partial_revokes, @@tls_certificates_enforced_validation",
    };
    format!(
        "SELECT @@datadir, COALESCE(@@ssl_ca, ''), @@require_secure_transport, @@skip_name_resolve, \
         COALESCE(@@bind_address, ''), CAST(UNIX_TIMESTAMP() - {} AS UNSIGNED), {mysqls}",
        catalog.status("Uptime")
    )
}

/// What asks, of whatever answers.
pub(crate) type Ask<'a, E> = dyn FnMut(&str) -> Result<Vec<Row>, E> + 'a;

/// Which server it is, if it is one that is administered.
pub(crate) fn catalog<E>(ask: &mut Ask<'_, E>) -> Result<Result<Catalog, Refusal>, E> {
    let rows = ask(VERSION)?;
    let version = rows.first().map(|row| row.text(0)).unwrap_or_default();
    Ok(version::check(version).map(Catalog::of))
}

/// Whether whoever asks may do what a plan needs.
pub(crate) fn is_all_powerful<E>(ask: &mut Ask<'_, E>) -> Result<bool, E> {
    let rows = ask(&own_privileges(POWERS))?;
    Ok(rows.first().is_some_and(|row| row.number(0) == POWERS_NEEDED))
}

/// All but the files; and when the server was started, in seconds since 1970.
pub(crate) fn observe<E>(catalog: Catalog, ask: &mut Ask<'_, E>) -> Result<(Observed, i64), E> {
    let settings = ask(&server_settings(catalog))?.into_iter().next().unwrap_or_default();
    let databases = ask(&format!(
        "SELECT SCHEMA_NAME FROM information_schema.schemata WHERE SCHEMA_NAME NOT IN ({SYSTEM})"
    ))?;
    let roles = ask(&catalog.roles())?;
    let [settings_of_weakness, accounts] = weakness::questions(catalog);
    let role = |row: &Row| Role { name: row.text(0).to_owned(), plain: row.says_yes(1) };
    let observed = Observed {
        product: Some(catalog.product()),
        partial_revokes: settings.says_yes(6),
        tls_certificates_enforced_validation: settings.says_yes(7),
        data_directory: settings.text(0).to_owned(),
        ssl_ca: settings.text(1).to_owned(),
        require_secure_transport: settings.says_yes(2),
        skip_name_resolve: settings.says_yes(3),
        bind_address: settings.text(4).to_owned(),
        databases: databases.iter().map(|row| row.text(0).to_owned()).collect(),
        roles: roles.iter().map(role).collect(),
        provisioners: provisioners(catalog, ask)?,
        weak: weakness::seen(catalog, [ask(&settings_of_weakness)?, ask(&accounts)?]),
        ..Observed::default()
    };
    Ok((observed, i64::try_from(settings.number(5)).unwrap_or(i64::MAX)))
}

fn provisioners<E>(catalog: Catalog, ask: &mut Ask<'_, E>) -> Result<Vec<Provisioner>, E> {
    let accounts = ask(&catalog.provisioners())?;
    let begins = literal(&format!("'{PROVISIONER}'@'"));
    let of_ours = format!("LEFT(GRANTEE, LENGTH({begins})) = {begins}");
    let global = ask(&format!(
        "SELECT GRANTEE, PRIVILEGE_TYPE, IS_GRANTABLE = 'YES', '' FROM information_schema.user_privileges \
         WHERE {of_ours}"
    ))?;
    let databases = ask(&format!(
        "SELECT GRANTEE, PRIVILEGE_TYPE, IS_GRANTABLE = 'YES', TABLE_SCHEMA \
         FROM information_schema.schema_privileges WHERE {of_ours}"
    ))?;
    let hands_on = match catalog {
        Catalog::MariaDb => ask(&format!(
            "SELECT Host, Role FROM mysql.roles_mapping WHERE User = {} AND Admin_option = 'Y'",
            literal(PROVISIONER)
        ))?,
        // It hands on what there is, by a privilege.
        Catalog::MySql(_) => Vec::new(),
    };
    let provisioner = |row: &Row| {
        let host = row.text(0);
        let is_its = |held: &&Row| grantee_host(held.text(0)) == Some(host);
        let mut by_database: BTreeMap<String, Held> = BTreeMap::new();
        for held in databases.iter().filter(is_its) {
            hold(by_database.entry(held.text(3).to_owned()).or_default(), held);
        }
        let mut everywhere = Held::default();
        global.iter().filter(is_its).for_each(|held| hold(&mut everywhere, held));
        Provisioner {
            host: host.to_owned(),
            locked: row.says_yes(1),
            other_way_in: row.says_yes(2),
            require: require(row.number(3), (row.text(4), row.text(5), row.text(6))),
            global: everywhere,
            databases: by_database,
            hands_on: hands_on
                .iter()
                .filter(|held| held.text(0) == host)
                .map(|held| held.text(1).to_owned())
                .collect(),
        }
    };
    Ok(accounts.iter().map(provisioner).collect())
}

/// The host in `'user'@'host'`.
fn grantee_host(grantee: &str) -> Option<&str> {
    grantee.rsplit_once("'@'").and_then(|(_, host)| host.strip_suffix('\''))
}

fn hold(held: &mut Held, row: &Row) {
    // `USAGE` is the word for none.
    if row.text(1) != "USAGE" {
        held.privileges.insert(row.text(1).to_owned());
    }
    held.grantable |= row.says_yes(2);
}

/// The clause that an account was made with, from how the server keeps it.
fn require(kind: u64, (subject, issuer, cipher): (&str, &str, &str)) -> String {
    match kind {
        0 => "REQUIRE NONE".to_owned(),
        1 => "REQUIRE SSL".to_owned(),
        2 => "REQUIRE X509".to_owned(),
        _ => {
            let parts = [("SUBJECT", subject), ("ISSUER", issuer), ("CIPHER", cipher)];
            let parts = parts.iter().filter(|(_, value)| !value.is_empty());
            let parts: Vec<String> =
                parts.map(|(word, value)| format!("{word} {}", literal(value))).collect();
            format!("REQUIRE {}", parts.join(" AND "))
        }
    }
}

/// On the server as a whole: to make accounts and hand roles on, to see and to end sessions.
const fn global(catalog: Catalog) -> &'static [&'static str] {
    match catalog {
        Catalog::MariaDb => &["CONNECTION ADMIN", "CREATE USER", "PROCESS"],
        Catalog::MySql(_) => &[
            "ALLOW_NONEXISTENT_DEFINER",
            "CONNECTION_ADMIN",
            "CREATE USER",
            "PROCESS",
            "ROLE_ADMIN",
        ],
    }
}

/// In the server's own tables: on MariaDB only who may write there sets another account's default role.
const fn in_its_tables(catalog: Catalog) -> &'static [&'static str] {
    match catalog {
        Catalog::MariaDb => &["SELECT", "UPDATE"],
        Catalog::MySql(_) => &["SELECT"],
    }
}

/// The accounts' steps, and what is in their way.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    pub(crate) steps: Vec<Step>,
    pub(crate) obstacles: Vec<String>,
}

/// The provisioner's account for each address that the gateway dials from.
pub(crate) fn accounts(input: &EnrollInput, observed: &Observed) -> Accounts {
    let mut accounts = Accounts::default();
    let roles = roles_handed_on(input, observed);
    for address in &input.gateway_addresses {
        let host = address.to_string();
        let known = observed.provisioner(&host);
        if known.is_some_and(|known| known.other_way_in) {
            accounts.obstacles.push(format!(
                "{} exists and is not as the enrolment makes it: more than a certificate opens it, or something else; \
                 drop it and enrol again",
                account(PROVISIONER, &host)
            ));
            continue;
        }
        accounts.steps.extend(one(input, observed, (&host, known)));
        accounts.steps.extend(roles_of_one(&roles, (&host, known)));
    }
    accounts
}

fn one(
    input: &EnrollInput,
    observed: &Observed,
    (host, known): (&str, Option<&Provisioner>),
) -> Option<Step> {
    let catalog = observed.catalog();
    let mut script = Script::default();
    let who = account(PROVISIONER, host);
    let require = format!("REQUIRE SUBJECT {}", literal(&common_name(PROVISIONER)));
    match known {
        None => {
            let made = match catalog {
                Catalog::MariaDb => format!("CREATE USER {who} {require}"),
                Catalog::MySql(_) => {
                    format!("CREATE USER {who} {UNKNOWN_PASSWORD} {require} PASSWORD EXPIRE NEVER")
                }
            };
            script.add(made, retire(catalog, host));
            if catalog != Catalog::MariaDb {
                script.statements.push(format!("ALTER USER {who} {NO_PASSWORD}"));
            }
        }
        Some(known) if known.locked || known.require != require => {
            let lock = if known.locked { "LOCK" } else { "UNLOCK" };
            script.add(
                format!("ALTER USER {who} {require} ACCOUNT UNLOCK"),
                format!("ALTER USER IF EXISTS {who} {} ACCOUNT {lock}", known.require),
            );
        }
        Some(_) => {}
    }
    let nothing = Provisioner::default();
    let held = known.unwrap_or(&nothing);
    let back = if known.is_some() { Back::Singly(catalog) } else { Back::WithTheAccount };
    let test_stack = input.server.spec.test_stack;
    if test_stack {
        if !(held.global.grantable && held.global.privileges.contains("SUPER")) {
            everything(&held.global, &who, &mut script, back);
        }
    } else {
        for difference in ordinary(input, observed, held) {
            difference.into_script(&who, &mut script, back);
        }
    }
    script.step(
        "mysql",
        &format!("an account for the gateway's own administration, from {host}"),
        match (test_stack, catalog) {
            (true, _) => TEST_STACKS,
            (false, Catalog::MariaDb) => ORDINARY,
            (false, Catalog::MySql(_)) => ORDINARY_ON_MYSQL,
        },
    )
}

fn ordinary(input: &EnrollInput, observed: &Observed, held: &Provisioner) -> Vec<Difference> {
    let in_catalog = held.databases.get("mysql").cloned().unwrap_or_default();
    let catalog = observed.catalog();
    let handed_on = handed_on(catalog);
    let mut all = vec![
        Difference::of("*.*", &held.global, (global(catalog), Extra::Taken)),
        Difference::of("`mysql`.*", &in_catalog, (in_its_tables(catalog), Extra::Left)),
    ];
    for database in reachable(input, observed) {
        let names = catalog.names_of(&database);
        let known = names.iter().rev().find_map(|name| held.databases.get(name));
        let known = known.cloned().unwrap_or_default();
        let place = catalog.whole(&database);
        all.push(Difference::of(&place, &known, (&handed_on, Extra::HandedOn)));
    }
    all
}

/// The provisioner's accounts from addresses that the gateway does not dial from, in words. They may be another gateway's.
pub(crate) fn former_accounts(input: &EnrollInput, observed: &Observed) -> Vec<String> {
    let named: BTreeSet<String> = input.gateway_addresses.iter().map(ToString::to_string).collect();
    let former =
        observed.provisioners.iter().filter(|known| !known.locked && !named.contains(&known.host));
    let told = former.map(|known| {
        format!(
            "{} is for an address that `gateway.addresses` does not name: drop it, unless another gateway dials from there",
            account(PROVISIONER, &known.host)
        )
    });
    told.collect()
}

const ORDINARY: &str = "\
the gateway makes and withdraws people's accounts through it, and hands on what database roles hold; it has no password, \
and only its certificate opens it, whichever authority in the file above signed that. Writing to `mysql` is what MariaDB \
asks of whoever sets another account's default role. CREATE USER can change every account in any case: this one's key \
never leaves the gateway's memory";

const ORDINARY_ON_MYSQL: &str = "\
the gateway makes and withdraws people's accounts through it, and hands on what database roles hold; it has no password, \
and only its certificate opens it, whichever authority in the file above signed that. Accounts with SYSTEM_USER, such as \
root, are beyond it; every other it can change in any case: its key never leaves the gateway's memory. \
ALLOW_NONEXISTENT_DEFINER lets it drop accounts from former addresses of the gateway's that have defined something";

const TEST_STACKS: &str = "\
test stack: the gateway's provisioner is a superuser here, so that database roles with the superuser attribute can exist";

fn reachable(input: &EnrollInput, observed: &Observed) -> BTreeSet<String> {
    match &input.server.spec.databases {
        Databases::Any => observed.databases.clone(),
        Databases::Only(names) => names.clone(),
    }
}

/// What becomes of privileges beside the wanted ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extra {
    /// They are too much.
    Taken,
    /// They are somebody else's matter.
    Left,
    /// So, and the wanted ones can be handed on.
    HandedOn,
}

/// How a grant is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Back {
    /// By itself: the account was there before.
    Singly(Catalog),
    /// What a new account holds goes with it.
    WithTheAccount,
}

/// The right to hand on what is held in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GrantOption {
    Unwanted,
    Held,
    Missing,
}

/// What one account must hold more, or less, in one place.
struct Difference {
    place: String,
    missing: Vec<String>,
    extra: Vec<String>,
    option: GrantOption,
}

impl Difference {
    fn of(place: &str, held: &Held, (wanted, extra): (&[&str], Extra)) -> Self {
        let missing = wanted.iter().filter(|word| !held.privileges.contains(**word));
        let beside = held.privileges.iter().filter(|word| {
            extra == Extra::Taken && !wanted.contains(&word.as_str()) && is_privilege(word)
        });
        Self {
            place: place.to_owned(),
            missing: missing.map(|word| (*word).to_owned()).collect(),
            extra: beside.cloned().collect(),
            option: match (extra, held.grantable) {
                (Extra::Taken | Extra::Left, _) => GrantOption::Unwanted,
                (Extra::HandedOn, true) => GrantOption::Held,
                (Extra::HandedOn, false) => GrantOption::Missing,
            },
        }
    }

    fn into_script(self, who: &str, script: &mut Script, back: Back) {
        let Self { place, missing, extra, option } = self;
        if !missing.is_empty() || option == GrantOption::Missing {
            // `USAGE` is the word for none.
            let words = if missing.is_empty() { "USAGE".to_owned() } else { missing.join(", ") };
            let with = if option == GrantOption::Unwanted { "" } else { WITH_OPTION };
            let statement = format!("GRANT {words} ON {place} TO {who}{with}");
            let mut taken = missing;
            if option == GrantOption::Missing {
                taken.push("GRANT OPTION".to_owned());
            }
            let taken = format!("REVOKE {} ON {place} FROM {who}", taken.join(", "));
            back.add(script, statement, &taken);
        }
        if !extra.is_empty() {
            let words = extra.join(", ");
            script.add(
                format!("REVOKE {words} ON {place} FROM {who}"),
                format!("GRANT {words} ON {place} TO {who}"),
            );
        }
    }
}

const WITH_OPTION: &str = " WITH GRANT OPTION";

/// Makes the account a superuser's, and takes it back to what it held.
fn everything(held: &Held, who: &str, script: &mut Script, back: Back) {
    let mut taken =
        format!("REVOKE ALL PRIVILEGES ON *.* FROM {who}; REVOKE GRANT OPTION ON *.* FROM {who}");
    let words: Vec<&str> =
        held.privileges.iter().map(String::as_str).filter(|word| is_privilege(word)).collect();
    if !words.is_empty() {
        let with = if held.grantable { WITH_OPTION } else { "" };
        let again = format!("; GRANT {} ON *.* TO {who}{with}", words.join(", "));
        taken.push_str(&again);
    }
    back.add(script, format!("GRANT ALL PRIVILEGES ON *.* TO {who}{WITH_OPTION}"), &taken);
}

impl Back {
    fn add(self, script: &mut Script, statement: String, taken: &str) {
        match self {
            Self::Singly(catalog) => script.add(statement, tolerant(catalog, taken)),
            Self::WithTheAccount => script.statements.push(statement),
        }
    }
}

/// Existing roles that database roles name, and those that a provisioner's account has made: MariaDB lets only that one
/// account hand a role on, and the gateway may dial from another address.
fn roles_handed_on(input: &EnrollInput, observed: &Observed) -> BTreeSet<String> {
    if observed.catalog() != Catalog::MariaDb {
        return BTreeSet::new();
    }
    let mut roles: BTreeSet<String> =
        observed.provisioners.iter().flat_map(|known| known.hands_on.iter().cloned()).collect();
    for role in &input.roles {
        if let Privileges::ExistingRole(name) = &role.spec.privileges
            && observed.roles.iter().any(|known| known.name == *name)
        {
            roles.insert(name.clone());
        }
    }
    roles
}

fn roles_of_one(
    roles: &BTreeSet<String>,
    (host, known): (&str, Option<&Provisioner>),
) -> Option<Step> {
    let mut script = Script::default();
    let who = account(PROVISIONER, host);
    let missing =
        roles.iter().filter(|role| !known.is_some_and(|known| known.hands_on.contains(*role)));
    for role in missing.map(|role| ident(role)) {
        script.add(
            format!("GRANT {role} TO {who} WITH ADMIN OPTION"),
            tolerant(Catalog::MariaDb, &format!("REVOKE {role} FROM {who}")),
        );
    }
    script.step(
        "mysql",
        &format!("roles that the gateway hands on from {host}"),
        "MariaDB lets only the accounts to which a role was given WITH ADMIN OPTION hand it on: the existing roles that \
         database roles name, and those that the gateway has made from another of its addresses",
    )
}

/// Roles that it has made may still be in use: then it stays, and can do nothing. By them they are known to be ours when
/// the server is enrolled again.
fn retire(catalog: Catalog, host: &str) -> String {
    let who = account(PROVISIONER, host);
    if catalog != Catalog::MariaDb {
        // Roles say themselves whose they are.
        return format!("DROP USER IF EXISTS {who}");
    }
    format!(
        "BEGIN NOT ATOMIC IF EXISTS (SELECT 1 FROM mysql.roles_mapping WHERE User = {} AND Host = {}) THEN \
         ALTER USER IF EXISTS {who} ACCOUNT LOCK; REVOKE ALL PRIVILEGES, GRANT OPTION FROM {who}; \
         ELSE DROP USER IF EXISTS {who}; END IF; END",
        literal(PROVISIONER),
        literal(host)
    )
}

/// What is not there any more cannot be taken, and that is all right: no such grant, account or role
/// (`ER_NONEXISTING_GRANT` and its like).
fn tolerant(catalog: Catalog, statement: &str) -> String {
    if catalog != Catalog::MariaDb {
        let each = statement.split("; ").map(|one| match one.strip_prefix("REVOKE ") {
            Some(rest) => format!("REVOKE IF EXISTS {rest} IGNORE UNKNOWN USER"),
            None => one.to_owned(),
        });
        return each.collect::<Vec<_>>().join("; ");
    }
    format!(
        "BEGIN NOT ATOMIC DECLARE CONTINUE HANDLER FOR 1133, 1141, 1147, 1269, 1396, 1959, 1962 BEGIN END; {statement}; END"
    )
}

/// In force at once, before the option file is.
pub(crate) fn secure_transport(observed: &Observed) -> Option<Step> {
    let mut script = Script::default();
    if !observed.require_secure_transport {
        script.add(
            "SET GLOBAL require_secure_transport = ON".to_owned(),
            "SET GLOBAL require_secure_transport = OFF".to_owned(),
        );
    }
    script.step(
        "mysql",
        "refuse plain text from now on",
        "the option file above does so from the next start; the unix socket of this host counts as secure",
    )
}
