//! The enrolment's hands: a plan is carried out whole or not at all, and what was done is in a journal before it is done,
//! so that it can be taken back.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::files::{self, Place};
use super::{Change, Host, HostError, Plan, Step, Whose};

/// In the data directory.
const JOURNAL_FILE: &str = "portcullis-enrolment.json";

/// One thing that can be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Done {
    #[serde(rename_all = "camelCase")]
    File {
        path: PathBuf,
        before: Option<String>,
        /// Hash of what we wrote into a file of ours. By it a hand that changed the file since is noticed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        written: Option<String>,
    },
    Sql {
        database: String,
        undo: Vec<String>,
    },
}

/// What was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// Nothing had been done here.
    Nothing,
    /// All that had been done.
    Everything,
}

/// Applies the plan's steps in order. When one fails, those before it are taken back.
pub fn apply(plan: &Plan, host: &Host) -> Result<(), HostError> {
    if !plan.obstacles.is_empty() {
        return Err(HostError::Obstacles(plan.obstacles.join("; ")));
    }
    if plan.steps.is_empty() {
        return Ok(());
    }
    carry_out(&plan.steps, host)?;
    host.reload()
}

/// The steps without what takes files into force.
pub(super) fn carry_out(steps: &[Step], host: &Host) -> Result<(), HostError> {
    let before = Journal::read(host)?;
    for step in steps {
        before.look_before(step, host)?;
    }
    let mut journal = before.clone();
    let mut done = Vec::new();
    for step in steps {
        let Err(cause) = journal.carry_out(step, host, &mut done) else { continue };
        let cause = Box::new(cause);
        let taken_back = done.iter().rev().try_for_each(|done| take_back(done, host));
        return Err(match taken_back.and_then(|()| before.keep(host)) {
            Ok(()) => HostError::TakenBack(cause),
            Err(left) => HostError::HalfDone { cause, left: Box::new(left) },
        });
    }
    Ok(())
}

/// Takes back everything that was applied here, latest first.
pub fn undo(host: &Host) -> Result<Undone, HostError> {
    host.check_way()?;
    let mut journal = Journal::read(host)?;
    if journal.done.is_empty() {
        return Ok(Undone::Nothing);
    }
    for done in &journal.done {
        if let Done::File { path, before: _, written } = done {
            let place = host.place(path)?;
            let text = files::read(&place)?;
            if let Some(written) = written {
                unchanged(&place, text.as_deref(), written)?;
            }
        }
    }
    while let Some(done) = journal.done.last() {
        take_back(done, host)?;
        journal.done.pop();
        journal.keep(host)?;
    }
    host.reload()?;
    Ok(Undone::Everything)
}

fn take_back(done: &Done, host: &Host) -> Result<(), HostError> {
    match done {
        Done::File { path, before: Some(before), written: _ } => {
            files::write(&host.place(path)?, before)?;
            host.file_is_back()
        }
        Done::File { path, before: None, written: _ } => files::remove(&host.place(path)?),
        Done::Sql { database, undo } => undo
            .iter()
            .try_for_each(|statement| host.sql(database, std::slice::from_ref(statement))),
    }
}

/// What was done here so far, first things first.
#[derive(Clone, Debug)]
struct Journal {
    done: Vec<Done>,
}

impl Journal {
    fn read(host: &Host) -> Result<Self, HostError> {
        let place = Self::place(host)?;
        let Some(text) = files::read(&place)? else {
            return Ok(Self { done: Vec::new() });
        };
        let done = serde_json::from_str(&text).map_err(|source| HostError::Unreadable {
            what: place.path.display().to_string(),
            source,
        })?;
        Ok(Self { done })
    }

    /// In the server's folder, and not the server's: what it says is done with the rights of whoever undoes it.
    fn place(host: &Host) -> Result<Place, HostError> {
        Ok(Place::of_journal(host.data_directory.join(JOURNAL_FILE), host.account()?))
    }

    fn keep(&self, host: &Host) -> Result<(), HostError> {
        let place = Self::place(host)?;
        if self.done.is_empty() {
            return files::remove(&place);
        }
        let text = serde_json::to_string_pretty(&self.done).map_err(|source| {
            HostError::Unreadable { what: place.path.display().to_string(), source }
        })?;
        files::write(&place, &text)
    }

    /// Whether a step would write over what somebody else wrote, or where we may not. Asked of all steps before the first.
    fn look_before(&self, step: &Step, host: &Host) -> Result<(), HostError> {
        let Change::File { path, content: _, whose } = &step.change else { return Ok(()) };
        let path = host.data_directory.join(path);
        let place = host.place(&path)?;
        let text = files::read(&place)?;
        files::try_write(&place)?;
        match (whose, self.written(&path)) {
            (Whose::Servers, _) | (Whose::Ours, Written::Somehow) => Ok(()),
            (Whose::Ours, Written::So(hash)) => unchanged(&place, text.as_deref(), hash),
            (Whose::Ours, Written::Never) if text.is_some() => Err(HostError::NotOurs(path)),
            (Whose::Ours, Written::Never) => Ok(()),
        }
    }

    fn written(&self, wanted: &Path) -> Written<'_> {
        let found = self.done.iter().find_map(|done| match done {
            Done::File { path, written, .. } if path == wanted => Some(written.as_deref()),
            Done::File { .. } | Done::Sql { .. } => None,
        });
        match found {
            Some(Some(hash)) => Written::So(hash),
            Some(None) => Written::Somehow,
            None => Written::Never,
        }
    }

    /// `done` is what takes this and the steps before it back.
    fn carry_out(
        &mut self,
        step: &Step,
        host: &Host,
        done: &mut Vec<Done>,
    ) -> Result<(), HostError> {
        match &step.change {
            Change::File { path, content, whose } => {
                let path = host.data_directory.join(path);
                let place = host.place(&path)?;
                let before = files::read(&place)?;
                let written = (*whose == Whose::Ours).then(|| hash(content));
                self.note_file(&path, before.clone(), written);
                self.keep(host)?;
                done.push(Done::File { path: path.clone(), before, written: None });
                files::write(&place, content)?;
                host.check_files()
            }
            Change::Sql { database, statements, undo } => {
                let entry = Done::Sql { database: database.clone(), undo: undo.clone() };
                self.done.push(entry.clone());
                self.keep(host)?;
                let told = host.sql(database, statements);
                if told.is_ok() || !host.is_atomic(statements) {
                    done.push(entry);
                }
                told
            }
        }
    }

    /// The first state counts, also when the plan is applied again.
    fn note_file(&mut self, wanted: &Path, before: Option<String>, now: Option<String>) {
        for done in &mut self.done {
            if let Done::File { path, written, .. } = done
                && path == wanted
            {
                *written = now;
                return;
            }
        }
        self.done.push(Done::File { path: wanted.to_owned(), before, written: now });
    }
}

/// What the journal knows of a file.
enum Written<'a> {
    /// It is none of ours.
    Never,
    /// Ours, of the time before hashes were kept.
    Somehow,
    /// Ours, with this hash.
    So(&'a str),
}

/// Whether a file of ours is as we wrote it, or gone.
fn unchanged(place: &Place, text: Option<&str>, written: &str) -> Result<(), HostError> {
    match text {
        Some(text) if hash(text) != written => Err(HostError::ChangedByHand(place.path.clone())),
        Some(_) | None => Ok(()),
    }
}

fn hash(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        // Writing into a String never fails.
        let _written = write!(hex, "{byte:02x}");
        hex
    })
}
