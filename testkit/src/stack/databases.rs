//! The servers of a stack and what lies in them: the same orders in each.

use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Beside, Created, Options, Parts, Privileges, Took};
use crate::mariadb::{self, MariaDb};
use crate::postgres::{self, Postgres};
use crate::server::DirectAccess;
use crate::wait;

const ORDERS: &str = include_str!("orders.sql");
const ORDERS_MARIADB: &str = include_str!("orders-mariadb.sql");

impl Parts<'_> {
    /// Both at a time: neither waits for the other.
    pub(super) fn databases(
        &mut self,
        created: &mut dyn FnMut(&Created<'_>) -> Result<()>,
    ) -> Result<(Postgres, Option<MariaDb>)> {
        let options = self.options;
        thread::scope(|threads| {
            let beside = match options.beside {
                Beside::Nothing => None,
                Beside::MariaDb => Some(threads.spawn(|| mariadb(options))),
            };
            let postgres = self.postgres(created);
            let mariadb = beside.map(|starting| self.joined(starting, created)).transpose();
            Ok((postgres?, mariadb?))
        })
    }

    fn postgres(
        &mut self,
        created: &mut dyn FnMut(&Created<'_>) -> Result<()>,
    ) -> Result<Postgres> {
        let options = postgres::Options {
            fsync: self.options.fsync,
            direct_access: direct_access(self.options),
            settings: self.options.postgres.clone(),
            installed_at: self.options.postgres_at.clone(),
        };
        let postgres = self.timed("PostgreSQL", || {
            let postgres = Postgres::start_with(&options)?;
            created(&Created::Postgres(postgres.directory()))?;
            Ok(postgres)
        })?;
        self.timed("orders database", || {
            postgres.psql(
                "postgres",
                "create role orders_owner; create database orders owner orders_owner;",
            )?;
            postgres.psql(
                "orders",
                &format!("begin; set local role orders_owner;\n{ORDERS}\ncommit; analyze;"),
            )
        })?;
        Ok(postgres)
    }

    fn joined(
        &mut self,
        starting: ScopedJoinHandle<'_, Result<(MariaDb, Duration)>>,
        created: &mut dyn FnMut(&Created<'_>) -> Result<()>,
    ) -> Result<MariaDb> {
        let started = starting.join().ok().context("the start of MariaDB panicked")?;
        let (mariadb, length) = started.context("MariaDB")?;
        created(&Created::MariaDb(mariadb.directory()))?;
        self.took.push(Took { part: "MariaDB (beside)", length });
        Ok(mariadb)
    }
}

fn mariadb(options: &Options) -> Result<(MariaDb, Duration)> {
    let started = wait::now();
    let mariadb = MariaDb::start_with(&mariadb::Options {
        fsync: options.fsync,
        direct_access: direct_access(options),
        settings: options.mariadb.clone(),
    })?;
    mariadb.sql("mysql", "create database orders")?;
    mariadb.sql("orders", ORDERS_MARIADB).context("orders database")?;
    Ok((mariadb, started.elapsed()))
}

fn direct_access(options: &Options) -> DirectAccess {
    match options.privileges {
        Privileges::Ordinary => DirectAccess::None,
        Privileges::TestStack => DirectAccess::Superuser,
    }
}
