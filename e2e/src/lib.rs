//! What end-to-end tests need beside the test kit: clients that misbehave on purpose.
#![expect(missing_docs, reason = "documentation for its own sake is padding in test code")]

pub mod azure;
pub mod chromium;
pub mod hostile;
pub mod https;
pub mod jwt;
pub mod load;
pub mod mysql;
pub mod raw;
pub mod sidecar;
mod tls;
