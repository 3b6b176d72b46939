//! The seam between engines: what the provisioner asks of a server and tells it. The flow around it is the same for every
//! engine; the SQL stands in `pg` and in `mysql`, and nowhere else.

use std::collections::BTreeSet;

use access::database_user::NameLimit;
use model::finding::Check;
use model::kind::server::Product;
use model::{DatabaseRoleName, event};

use super::connection::{Connection, Trouble};
use super::drift::found::{InDatabase, Observed};
use super::pg::relation::Relation;
use super::plan::Attributes;
use super::seen::{
    Backends, Facts, ObservedMembership, ObservedUser, Places, Prepared, Rights, Role, Roles,
    WantedUser,
};
use super::{mysql, names, pg};

/// A login user: its name, and what tells it from a later one of the same name.
pub(crate) type LoginUser<'a> = (&'a str, u32);

/// A schema and the role that owns it.
pub(crate) type SchemaOwner = (String, String);

/// What came of the rights of all roles in one database.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Only where schemas have owners.
    pub(crate) owners: Vec<SchemaOwner>,
    /// Roles from which something was taken, or may have been, that open sessions keep.
    pub(crate) narrowed: Vec<String>,
    /// What could not be brought about, in words.
    pub(crate) findings: Vec<String>,
}

impl Connection {
    /// Whether it still stands.
    pub(crate) async fn is_open(&self) -> bool {
        match self {
            Self::PostgreSql(pg) => pg.is_open(),
            Self::MySql(mysql) => mysql.is_open().await,
        }
    }

    /// As a number that grows: `server_version_num`, or 101119 for 10.11.19.
    pub(crate) fn version(&self) -> u32 {
        match self {
            Self::PostgreSql(pg) => pg.version,
            Self::MySql(mysql) => mysql.version,
        }
    }

    /// Which server it is.
    pub(crate) fn product(&self) -> Product {
        match self {
            Self::PostgreSql(_) => Product::PostgreSql,
            Self::MySql(mysql) => mysql.catalog.product(),
        }
    }

    /// The server's role that stands for a database role.
    pub(crate) fn role_name(&self, role: &DatabaseRoleName) -> String {
        names::role(role, NameLimit::of(self.product()))
    }

    /// The authority that accounts are made to name; none where they name none.
    pub(crate) fn signing(&self) -> Option<&str> {
        match self {
            Self::PostgreSql(_) => None,
            Self::MySql(mysql) => Some(&mysql.accounts.issuer),
        }
    }

    /// Whether the provisioner may do everything: on test stacks only.
    pub(crate) fn is_superuser(&self) -> bool {
        match self {
            Self::PostgreSql(pg) => pg.superuser,
            Self::MySql(mysql) => mysql.superuser,
        }
    }

    /// A user of this name, when there is one.
    pub(crate) async fn observe_user(&self, user: &str) -> Result<Option<ObservedUser>, Trouble> {
        match self {
            Self::PostgreSql(pg) => pg::user::observe(pg, user).await,
            Self::MySql(mysql) => mysql::observe::user(mysql, user).await,
        }
    }

    /// Memberships that the provisioner cannot take away.
    pub(crate) fn beyond_reach<'a>(
        &'a self,
        observed: &'a ObservedUser,
    ) -> impl Iterator<Item = &'a ObservedMembership> {
        observed.memberships.iter().filter(move |held| match self {
            Self::PostgreSql(pg) => !pg::user::within_reach(held, pg),
            Self::MySql(_) => false,
        })
    }

    /// Makes a login user what it must be.
    pub(crate) async fn enable(
        &self,
        wanted: &WantedUser<'_>,
        observed: Option<&ObservedUser>,
    ) -> Result<(), Trouble> {
        match self {
            Self::PostgreSql(pg) => {
                pg.run("prepare a user", &pg::user::enable(wanted, observed, pg)).await
            }
            Self::MySql(mysql) => mysql::user::enable(mysql, wanted, observed).await,
        }
    }

    /// Ends every session of a user and then its rights: no login, no password, no membership.
    pub(crate) async fn disable(&self, user: &str, observed: &ObservedUser) -> Result<(), Trouble> {
        match self {
            Self::PostgreSql(pg) => {
                pg.run("withdraw a user", &pg::user::disable(user, observed, pg)).await
            }
            Self::MySql(mysql) => mysql::user::disable(mysql, user, observed).await,
        }
    }

    /// The part of [`Connection::disable`] that no lock of the user's can hold up.
    pub(crate) async fn revoke_all(
        &self,
        user: &str,
        observed: &ObservedUser,
    ) -> Result<(), Trouble> {
        match self {
            Self::PostgreSql(pg) => {
                pg.run("withdraw a user's roles", &pg::user::revoke_all(user, observed, pg)).await
            }
            Self::MySql(mysql) => mysql::user::revoke_all(mysql, user, observed).await,
        }
    }

    /// Takes some roles away and gives others.
    pub(crate) async fn change(
        &self,
        (user, observed): (&str, &ObservedUser),
        wanted: &BTreeSet<String>,
        attributes: Attributes,
    ) -> Result<(), Trouble> {
        match self {
            Self::PostgreSql(pg) => {
                let mut sql = pg::user::change(user, observed, wanted, pg);
                if pg.superuser {
                    sql.push_str(&pg::user::attributes(user, attributes));
                }
                pg.run("change a user's roles", &sql).await
            }
            Self::MySql(mysql) => {
                mysql::user::change(mysql, (user, observed), wanted, attributes).await
            }
        }
    }

    /// Marks a user as a record's and leaves the certificate as its only way in.
    pub(crate) async fn take_over(&self, user: &str, mark: &str) -> Result<(), Trouble> {
        match self {
            Self::PostgreSql(pg) => {
                let sql = [pg::user::mark(user, mark), pg::user::forget_password(user)].concat();
                pg.run("take over a user", &sql).await
            }
            Self::MySql(mysql) => mysql::user::take_over(mysql, user, mark).await,
        }
    }

    /// Lets the provisioner act on what a user owns, for a moment, where objects have owners.
    pub(crate) async fn enter(&self, user: &str) -> Result<(), Trouble> {
        match self {
            Self::PostgreSql(pg) => pg.run("enter a user", &pg::user::enter(user, pg)).await,
            Self::MySql(_) => Ok(()),
        }
    }

    /// Takes [`Connection::enter`] back.
    pub(crate) async fn leave(&self, user: &str) -> Result<(), Trouble> {
        match self {
            Self::PostgreSql(pg) => pg.run("leave a user", &pg::user::leave(user, pg)).await,
            Self::MySql(_) => Ok(()),
        }
    }

    /// Which backends there are now, for [`Backends::Before`].
    pub(crate) async fn now(&self) -> Result<String, Trouble> {
        match self {
            Self::PostgreSql(pg) => pg::user::server_now(pg).await,
            Self::MySql(mysql) => mysql::backend::now(mysql).await,
        }
    }

    /// Ends backends of a user.
    pub(crate) async fn terminate(
        &self,
        (user, oid): LoginUser<'_>,
        which: &Backends,
    ) -> Result<(), Trouble> {
        match self {
            Self::PostgreSql(pg) => pg::user::terminate(pg, oid, which).await.map(drop),
            Self::MySql(mysql) => mysql::backend::terminate(mysql, user, which).await,
        }
    }

    /// How many backends of a user are left.
    pub(crate) async fn count(
        &self,
        (user, oid): LoginUser<'_>,
        which: &Backends,
    ) -> Result<u64, Trouble> {
        match self {
            Self::PostgreSql(pg) => pg::user::count(pg, oid, which).await,
            Self::MySql(mysql) => mysql::backend::count(mysql, user, which).await,
        }
    }

    /// Ends these backends, each if it is the user's beside it; which there were.
    pub(crate) async fn terminate_each(
        &self,
        backends: &[(&str, u32)],
    ) -> Result<Vec<u32>, Trouble> {
        match self {
            Self::PostgreSql(pg) => pg::user::terminate_each(pg, backends).await,
            Self::MySql(mysql) => mysql::backend::terminate_each(mysql, backends).await,
        }
    }

    /// Where a user has left something.
    pub(crate) async fn places(&self, (user, oid): LoginUser<'_>) -> Result<Places, Trouble> {
        match self {
            Self::PostgreSql(pg) => pg::leftovers::places(pg, oid).await,
            Self::MySql(mysql) => mysql::leftovers::places(mysql, user).await,
        }
    }

    /// Rolls a prepared transaction of a user's back.
    pub(crate) async fn roll_back(&self, user: &str, prepared: &Prepared) -> Result<(), Trouble> {
        match self {
            Self::PostgreSql(pg) => pg::leftovers::roll_back(pg, user, prepared).await,
            // They belong to nobody there, so none is ever listed as a user's.
            Self::MySql(_) => Ok(()),
        }
    }

    /// Hands over what a user leaves behind in the connection's database; what it was, in words.
    pub(crate) async fn hand_over(
        &self,
        (user, oid): LoginUser<'_>,
        database: &str,
    ) -> Result<Vec<String>, Trouble> {
        match self {
            Self::PostgreSql(pg) => pg::leftovers::hand_over(pg, user, oid).await,
            Self::MySql(mysql) => mysql::leftovers::hand_over(mysql, user, database).await,
        }
    }

    /// The roles with these names and marks, and all others that are ours.
    pub(crate) async fn observe_roles(&self, asked: &[(String, String)]) -> Result<Roles, Trouble> {
        match self {
            Self::PostgreSql(pg) => {
                let names: Vec<String> = asked.iter().map(|(name, _)| name.clone()).collect();
                pg::role::observe(pg, &names).await
            }
            Self::MySql(mysql) => mysql::role::observe(mysql, asked).await,
        }
    }

    /// Makes roles that nobody logs in as, with these names and marks.
    pub(crate) async fn create_roles(&self, roles: &[(String, String)]) -> Result<(), Trouble> {
        match self {
            Self::PostgreSql(pg) => {
                let create = |(name, mark): &(String, String)| pg::role::create(name, mark, pg);
                let sql: String = roles.iter().map(create).collect();
                pg.run("make roles", &sql).await
            }
            Self::MySql(mysql) => mysql::role::create(mysql, roles).await,
        }
    }

    /// Makes a role a member of exactly these.
    pub(crate) async fn settle_role(
        &self,
        role: &Role,
        wanted: &BTreeSet<String>,
    ) -> Result<(), Trouble> {
        match self {
            Self::PostgreSql(pg) => {
                let sql = pg::role::memberships(&role.name, &role.member_of, wanted, pg);
                pg.run("hand on roles", &sql).await
            }
            Self::MySql(mysql) => mysql::role::settle(mysql, role, wanted).await,
        }
    }

    /// Removes a role that holds nothing any more.
    pub(crate) async fn drop_role(&self, name: &str) -> Result<(), Trouble> {
        match self {
            Self::PostgreSql(pg) => pg.run("drop a role", &pg::role::drop(name)).await,
            Self::MySql(mysql) => mysql::role::drop(mysql, name).await,
        }
    }

    /// Brings what roles hold in the connection's database to what they must hold.
    pub(crate) async fn settle_rights(
        &self,
        database: &str,
        wanted: &[Rights],
    ) -> Result<Settled, Trouble> {
        match self {
            Self::PostgreSql(pg) => pg::grants::settle(pg, wanted).await,
            Self::MySql(mysql) => mysql::grants::settle(mysql, database, wanted).await,
        }
    }

    /// What no resource explains: these users, and everyone else who can log in.
    pub(crate) async fn observe_drift(&self, users: &[String]) -> Result<Observed, Trouble> {
        match self {
            Self::PostgreSql(pg) => pg::drift::observe(pg, users).await,
            Self::MySql(mysql) => mysql::drift::observe(mysql, users).await,
        }
    }

    /// What users did in the connection's database.
    pub(crate) async fn drift_in(
        &self,
        database: &str,
        users: &[String],
    ) -> Result<InDatabase, Trouble> {
        match self {
            Self::PostgreSql(pg) => pg::drift::in_database(pg, users).await,
            Self::MySql(mysql) => mysql::drift::in_database(mysql, database, users).await,
        }
    }

    /// Settings and figures.
    pub(crate) async fn facts(&self) -> Result<Facts, Trouble> {
        match self {
            Self::PostgreSql(pg) => pg::examine::facts(pg).await,
            Self::MySql(mysql) => mysql::examine::facts(mysql).await,
        }
    }

    /// What lets somebody in, or do something, beside the gateway, where that is not a matter of admission rules. `users`
    /// are ours.
    pub(crate) async fn weaknesses(
        &self,
        users: &[String],
    ) -> Result<Vec<(&'static Check, String)>, Trouble> {
        match self {
            Self::PostgreSql(_) => Ok(Vec::new()),
            Self::MySql(mysql) => mysql::examine::weaknesses(mysql, users).await,
        }
    }

    /// What tables are called, where outcomes name them by number.
    pub(crate) async fn relations(&self, oids: &[u32]) -> Result<Vec<Relation>, Trouble> {
        match self {
            Self::PostgreSql(pg) => pg::relation::named(pg, oids).await,
            Self::MySql(_) => Ok(Vec::new()),
        }
    }

    /// Every table, where outcomes name none.
    pub(crate) async fn all_relations(&self) -> Result<Vec<event::Relation>, Trouble> {
        match self {
            Self::PostgreSql(_) => Ok(Vec::new()),
            Self::MySql(mysql) => mysql::relation::all(mysql).await,
        }
    }
}
