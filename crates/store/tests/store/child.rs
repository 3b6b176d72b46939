//! This executable again, as a process of its own that can be killed and watched: it writes and says what was
//! acknowledged.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use runtime::Clock;
use store::Store;

use crate::fixture::{put, user};

const STORE: &str = "STORE_UNDER_TEST";
const WRITES: &str = "STORE_WRITES";

/// The command that runs the named test as the child, with `runner` before it.
pub(crate) fn command(runner: &[OsString], test: &str, store: &Path, writes: u64) -> Command {
    let executable = std::env::current_exe().unwrap().into_os_string();
    let mut words = runner.iter().cloned().chain([executable]);
    let mut command = Command::new(words.next().unwrap());
    command
        .args(words)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(STORE, store)
        .env(WRITES, writes.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// In the child: writes, and returns `true` when done. In the parent: `false`.
pub(crate) fn is_child() -> bool {
    let Some(path) = std::env::var_os(STORE).map(PathBuf::from) else { return false };
    let writes: u64 = std::env::var_os(WRITES).unwrap().into_string().unwrap().parse().unwrap();
    let store = Store::open(&path, Clock::system()).unwrap();
    // The test harness has begun a line.
    say("");
    let next = store.snapshots().load().revision.0 + 1;
    for number in next..next + writes {
        match put(&store, user(&format!("user-{number}"))) {
            Ok(committed) => say(&format!("acknowledged {}", committed.revision)),
            Err(error) => say(&format!("refused {error}")),
        }
    }
    true
}

/// One `write(2)`, so that a trace shows when it was said.
fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}
