//! What every part with I/O shares: configuration, environment, clock, tasks, shutdown, secrets, TLS contexts,
//! telemetry. A thing enters only with two users.

pub mod clock;
pub mod config;
pub mod descriptors;
pub mod environment;
pub mod metrics;
pub mod secret;
pub mod tasks;
pub mod telemetry;
pub mod tls;

pub use clock::{Clock, ManualClock};
pub use config::{Config, ConfigError};
pub use environment::Environment;
pub use secret::Secret;
pub use tasks::{Shutdown, Tasks};
