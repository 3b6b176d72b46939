//! How the server is made: its configuration file, and who else comes in.

use std::fmt::Write as _;

use super::{DirectAccess, Fsync, MariaDb, SUPERUSER};
use crate::server::tls::DIRECT_AUTHORITY;

/// How the server is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether the server waits for the disk.
    pub fsync: Fsync,
    /// Whether there is a way around the gateway.
    pub direct_access: DirectAccess,
    /// More lines for the configuration file: names and values.
    pub settings: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { fsync: Fsync::Off, direct_access: DirectAccess::None, settings: Vec::new() }
    }
}

/// As small as it goes: many run at once, and none lives long.
const FIXED: &[(&str, &str)] = &[
    ("bind_address", "127.0.0.1"),
    ("skip_name_resolve", "ON"),
    ("require_secure_transport", "ON"),
    ("max_connections", "200"),
    ("character_set_server", "utf8mb4"),
    ("default_time_zone", "+00:00"),
    ("innodb_buffer_pool_size", "64M"),
    ("innodb_buffer_pool_dump_at_shutdown", "OFF"),
    ("innodb_buffer_pool_load_at_startup", "OFF"),
    ("innodb_log_file_size", "8M"),
    ("key_buffer_size", "1M"),
    ("aria_pagecache_buffer_size", "8M"),
    ("skip_log_bin", "1"),
];

impl Options {
    pub(super) fn configuration(&self, server: &MariaDb) -> String {
        let directory = server.directory();
        let (flush, doublewrite) = match self.fsync {
            Fsync::On => ("1", "ON"),
            Fsync::Off => ("0", "OFF"),
        };
        let path = |name: &str| directory.join(name).display().to_string();
        let mut text = "[mariadbd]\n".to_owned();
        let mut line = |name: &str, value: &str| {
            // Writing into a String never fails.
            let _written = writeln!(text, "{name} = {value}");
        };
        for (name, file) in [
            ("datadir", "data"),
            ("tmpdir", "tmp"),
            ("pid_file", "data/server.pid"),
            ("socket", "socket"),
            ("log_error", "server.log"),
            ("ssl_cert", "server.crt"),
            ("ssl_key", "server.key"),
        ] {
            line(name, &path(file));
        }
        line("innodb_flush_log_at_trx_commit", flush);
        line("innodb_doublewrite", doublewrite);
        for (name, value) in FIXED {
            line(name, value);
        }
        for (name, value) in &self.settings {
            line(name, value);
        }
        let _written = writeln!(text, "!includedir {}", path("conf.d"));
        text
    }
}

/// The SQL that lets the superuser in around the gateway.
pub(super) fn superuser() -> String {
    format!(
        "create user '{SUPERUSER}'@'127.0.0.1' require subject '/CN={SUPERUSER}' \
         and issuer '/CN={DIRECT_AUTHORITY}';\n\
         grant all on *.* to '{SUPERUSER}'@'127.0.0.1' with grant option;\n"
    )
}
