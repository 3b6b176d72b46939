//! The control plane: every intent of people and of Portcullis itself, and the one write path that they all take.
//!
//! authenticate → authorise → store → audit, in [`Control::write`] and nowhere else. Nothing in here speaks HTTP.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

mod abandon;
mod activations;
mod apply;
mod caller;
mod check;
mod control;
pub mod credentials;
mod diff;
mod install;
mod interrupted;
mod issue;
pub mod keyring;
mod live_sessions;
pub mod reconcile;
mod resources;
mod rules;
mod scim;
mod sessions;
mod sightings;
mod verb;
mod visible;
mod write;

pub use apply::{Applied, AppliedChange, ApplyOptions, Conflicts, Manifest};
pub use caller::Caller;
pub use control::{Control, Parts};
pub use install::{InitOptions, Initialised, offline, recover_owner};
pub use issue::{PASS_LIFETIME, Revoke, TOKEN_LIFETIME_MAX};
pub use keyring::{KeepKeys, Keyring, KeyringError};
pub use live_sessions::{Cut, Cutting, LiveSession, LiveSessions, SessionInfo, SessionState};
pub use reconcile::Reconciler;
pub use scim::{DirectoryGroup, DirectoryUser, Known, Provisioner, Release};
pub use sightings::{Sighted, Sightings};
pub use verb::{Verb, allowed};
pub use write::{Done, Writing};
