//! PostgreSQL: the naked server, pgbouncer, Portcullis.

mod durable;
mod idle;
mod latency;
mod login;
mod memory;
pub(crate) mod pgbouncer;
mod route;
mod stacks;
mod throughput;
mod workload;

use crate::sessions::Engine;
use crate::{Part, cut};

pub(crate) const PARTS: [Part; 7] = [
    ("throughput", throughput::run),
    ("latency", latency::run),
    ("login", login::run),
    ("durable", durable::run),
    ("memory", memory::run),
    ("cut", |extent| cut::run(extent, Engine::PostgreSql)),
    ("idle", idle::run),
];
