//! How many databases run at once: a semaphore that holds for threads, processes and other copies alike.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::time::Duration;

use crate::wait;

/// What a slot is for.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A test with a database server of its own.
    Database,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
        }
    }

    /// Each starts a PostgreSQL; the build machines have two cores.
    fn slots_max(self) -> usize {
        match self {
            Self::Database => 3,
        }
    }
}

/// Permission to run one; given back when dropped, or when the process dies.
#[derive(Debug)]
pub struct Slot {
    _lock: File,
}

/// Waits until fewer than the allowed number run.
#[expect(clippy::expect_used, reason = "a machine without a temporary folder runs no tests")]
pub fn slot(kind: Kind) -> Slot {
    let directory = folder();
    fs::create_dir_all(&directory).expect("the temporary folder can be written");
    let lock = wait::until(Duration::from_mins(10), "a free slot", || {
        (0..kind.slots_max()).find_map(|number| {
            let path = directory.join(format!("{}.{number}", kind.name()));
            let options =
                OpenOptions::new().create(true).truncate(false).write(true).open(path).ok()?;
            options.try_lock().is_ok().then_some(options)
        })
    });
    Slot { _lock: lock }
}

fn folder() -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    std::env::temp_dir().join(format!("portcullis-slots-{user}"))
}
