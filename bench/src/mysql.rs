//! MariaDB: the naked server, haproxy as the floor of any relay, Portcullis.

mod compression;
mod dump;
mod haproxy;
mod login;
mod memory;
mod sysbench;
mod throughput;
mod ways;

use crate::sessions::Engine;
use crate::{Part, cut};

pub(crate) const PARTS: [Part; 6] = [
    ("throughput", throughput::run),
    ("login", login::run),
    ("dump", dump::run),
    ("memory", memory::run),
    ("compression", compression::run),
    ("cut", |extent| cut::run(extent, Engine::MariaDb)),
];
