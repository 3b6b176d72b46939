//! SCIM 2.0 (RFC 7643, RFC 7644) as far as it is computation: filters, paths, PATCH, what a user and a group say, and the
//! documents by which a service provider describes itself.
//!
//! Pure: resources are JSON values, and what they mean here is somebody else's to say. Everything that a client sends has a
//! bound with a name.
#![forbid(unsafe_code)]

mod discovery;
mod error;
mod filter;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod lexer;
mod patch;
mod path;
mod resource;

pub use discovery::{
    RESULTS_MAX, resource_type, resource_types, schema, schemas, service_provider_config,
};
pub use error::{Error, Problem};
pub use filter::{FILTER_BYTES_MAX, Filter};
pub use patch::{OPERATIONS_MAX, patch};
pub use resource::{
    Group, Kind, Meta, User, group_json, list_response, projected, read_group, read_user, user_json,
};

/// `Content-Type` of everything.
pub const MEDIA_TYPE: &str = "application/scim+json";
/// The schema of a user.
pub const USER_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The schema of a group.
pub const GROUP_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// The schema of a PATCH request.
pub const PATCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
