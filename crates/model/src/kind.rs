//! The kinds of resources, one file each.

pub mod access_rules;
pub mod activation;
pub mod application;
pub mod conditional_access_policy;
pub mod database_role;
pub mod database_user;
pub mod directory;
pub mod eligibility;
pub mod firewall;
pub mod group;
pub mod host;
pub mod managed_identity;
pub mod named_location;
pub mod principal_risk;
pub mod revocation;
pub mod role_assignment;
pub mod server;
pub mod signing_key;
pub mod tenant;
pub mod user;

pub use crate::document::Kind;
