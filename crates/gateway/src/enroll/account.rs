//! The account that the server runs as. Whatever lies in its folders is its own to change, so what is read and written
//! there is read and written with its rights: a link that it lays leads nowhere where it could not go itself.

use std::io;
use std::process::Command;
use std::thread;

use rustix::fs::{Gid, Uid};
use rustix::process::{getegid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::HostError;
use super::host::feed;

/// An account of this host.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) user: Uid,
    pub(super) group: Gid,
    /// All of its groups.
    groups: Vec<Gid>,
}

/// Whether we may do everything here, and have to mind whom we do it for.
pub(super) fn we_are_root() -> bool {
    geteuid().is_root()
}

impl Account {
    /// The account of this name. Whoever is not root can only ever be itself.
    pub(super) fn named(name: &str) -> Result<Self, HostError> {
        if !we_are_root() {
            return Ok(Self { user: geteuid(), group: getegid(), groups: Vec::new() });
        }
        let unknown = |said: String| HostError::NoAccount { name: name.to_owned(), said };
        let ask = |what: &str| -> Result<Vec<u32>, HostError> {
            let mut command = Command::new("id");
            command.args([what, "--", name]).env("LC_ALL", "C");
            let output = feed(command, "")?;
            let said = String::from_utf8_lossy(&output.stdout);
            let numbers = said.split_whitespace().map(str::parse).collect::<Result<_, _>>();
            match numbers {
                Ok(numbers) if output.status.success() => Ok(numbers),
                Ok(_) | Err(_) => {
                    Err(unknown(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
                }
            }
        };
        let user = ask("-u")?.into_iter().next().map(Uid::from_raw);
        let groups: Vec<Gid> = ask("-G")?.into_iter().map(Gid::from_raw).collect();
        // The first is the one that its new files belong to.
        let (Some(user), Some(group)) = (user, groups.first().copied()) else {
            return Err(unknown("`id` names no numbers".to_owned()));
        };
        Ok(Self { user, group, groups })
    }

    /// Whether something has to be done to be it.
    pub(super) fn is_another(&self) -> bool {
        we_are_root() && !self.user.is_root()
    }

    /// Does something with this account's rights and no other.
    pub(super) fn act<T: Send>(&self, act: impl FnOnce() -> T + Send) -> io::Result<T> {
        if !self.is_another() {
            return Ok(act());
        }
        // The rights are a thread's own. This one ends with them; only what is asked for files changes, so that the
        // account cannot lay hands on the thread.
        thread::scope(|scope| {
            let acting = scope.spawn(|| {
                set_thread_groups(&self.groups)?;
                set_thread_res_gid(None::<Gid>, self.group, None::<Gid>)?;
                set_thread_res_uid(None::<Uid>, self.user, None::<Uid>)?;
                Ok(act())
            });
            acting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}
