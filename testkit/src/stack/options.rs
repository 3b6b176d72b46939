//! How a stack is made.

use std::path::PathBuf;

use crate::server::Fsync;

/// Whether a superuser exists among the workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// As in production: the provisioner holds CREATEROLE and pg_signal_backend.
    Ordinary,
    /// `testStack: true`: `orders-owner` is a superuser, so that PostgreSQL's own suite can run.
    TestStack,
}

/// Whether the database server already trusts the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrolment {
    /// `portcullis server enroll --apply` has been run.
    Applied,
    /// Someone else will run it.
    Left,
}

/// Whether MariaDB runs beside PostgreSQL, with the same database. Most tests need not wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    Nothing,
    MariaDb,
}

/// How a stack is made.
#[derive(Clone, Debug)]
pub struct Options {
    pub privileges: Privileges,
    pub fsync: Fsync,
    pub beside: Beside,
    /// More settings of the database server's.
    pub postgres: Vec<(String, String)>,
    /// More settings of MariaDB's.
    pub mariadb: Vec<(String, String)>,
    /// Where another PostgreSQL than the distribution's is installed.
    pub postgres_at: Option<PathBuf>,
    pub enrolment: Enrolment,
    /// `durable`, `gated` or `bounded`.
    pub audit_mode: &'static str,
    /// `gateway.limits` of `portcullis.yaml`.
    pub limits: &'static str,
    /// More lines of `portcullis.yaml`.
    pub configuration: &'static str,
    /// More lines of its `gateway`.
    pub gateway: String,
    /// More environment for the server's process.
    pub environment: Vec<(String, String)>,
    /// What the server's command line begins with: programs that change its surroundings and then become it.
    pub wrapper: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            privileges: Privileges::Ordinary,
            fsync: Fsync::Off,
            beside: Beside::Nothing,
            postgres: Vec::new(),
            mariadb: Vec::new(),
            postgres_at: None,
            enrolment: Enrolment::Applied,
            audit_mode: "bounded",
            limits: "",
            configuration: "",
            gateway: String::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
        }
    }
}
