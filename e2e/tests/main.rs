//! User stories, each against the real binary and real servers.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the test fails where its story breaks"
)]

mod affected;
mod agent;
mod approvals;
mod auditor;
mod azure_clients;
mod bad_input;
mod balancers;
mod browser;
mod client;
mod clock;
mod conditional_access;
mod connect;
mod crashes;
mod developer;
mod disks;
mod doctor;
mod endings;
mod enrolment_mariadb;
mod fidelity;
mod hostile_clients;
mod hostile_servers;
mod installation;
mod kubernetes;
mod mariadb;
mod mariadb_drivers;
mod oauth_bearer;
mod operate;
mod operator;
mod proxy;
mod proxy_mysql;
mod races;
mod replication;
mod scim;
mod secrets;
mod sessions_completeness;
mod sessions_cut;
mod sessions_failures;
mod sessions_relay;
mod shared_users;
mod store;
mod support;
mod token_service;
mod workload;
