//! `portcullis server enroll` may be run by root, in folders that are the server's account's: nothing that lies there
//! leads it anywhere else.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use gateway::enroll::{self, Change, Host, HostError, Local};
use serde_json::{Value, json};
use testkit::mariadb::MariaDb;
use testkit::postgres::Postgres;

use crate::{enrolment as pg, enrolment_mariadb as mariadb};

const CLIENT_AUTHORITY: &str = "portcullis-client-ca.pem";
const OPTION_FILE: &str = "zz-portcullis.cnf";
const JOURNAL: &str = "portcullis-enrolment.json";
const SECRET: &str = "only root reads this\n";

fn we_are_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A file of ours in a folder that the server's account cannot enter.
struct Secret {
    folder: tempfile::TempDir,
}

impl Secret {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), SECRET).unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    /// Nothing was written to it or beside it.
    fn is_untouched(&self) {
        assert_eq!(fs::read_to_string(self.path()).unwrap(), SECRET);
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 1);
    }
}

/// A link to the file where another was, which is given back.
fn linked<T>(place: &Path, to: &Path, act: impl FnOnce() -> T) -> T {
    let former = place.with_extension("former");
    let was_there = fs::rename(place, &former).is_ok();
    symlink(to, place).unwrap();
    let acted = act();
    assert_eq!(fs::read_link(place).unwrap(), to, "the link is as it was");
    fs::remove_file(place).unwrap();
    if was_there {
        fs::rename(&former, place).unwrap();
    }
    acted
}

fn is_link(refused: &HostError, place: &Path) {
    assert!(matches!(refused, HostError::NoFile(path) if path == place), "{refused}");
}

#[test]
fn a_link_where_a_file_must_be_is_neither_read_nor_written() {
    let server = mariadb::start();
    let (host, secret) = (mariadb::host(&server), Secret::new());
    let options = server.configuration_directory().join(OPTION_FILE);
    let authority = server.data_directory().join(CLIENT_AUTHORITY);
    let journal = server.data_directory().join(JOURNAL);
    let before = mariadb::state(&server);
    let plan = mariadb::planned(&server);
    for place in [&options, &authority] {
        let document = mariadb::input(&server).server;
        linked(place, &secret.path(), || {
            is_link(&enroll::observe(&host, &document).unwrap_err(), place);
            is_link(&enroll::apply(&plan, &host).unwrap_err(), place);
        });
        secret.is_untouched();
    }
    linked(&journal, &secret.path(), || {
        is_link(&enroll::apply(&plan, &host).unwrap_err(), &journal);
        is_link(&enroll::undo(&host).unwrap_err(), &journal);
    });
    assert_eq!(mariadb::state(&server), before);

    enroll::apply(&plan, &host).unwrap();
    let enrolled = mariadb::state(&server);
    for place in [&options, &authority, &journal] {
        linked(place, &secret.path(), || is_link(&enroll::undo(&host).unwrap_err(), place));
        secret.is_untouched();
        assert_eq!(mariadb::state(&server), enrolled);
    }
    enroll::undo(&host).unwrap();
    assert_eq!(mariadb::state(&server), before);
}

#[test]
fn admission_rules_behind_a_link_are_neither_read_nor_written() {
    let postgres = pg::start();
    let (host, secret) = (pg::host(&postgres), Secret::new());
    let input = pg::observed(&postgres, pg::input(&postgres, false));
    let plan = enroll::plan(&input).unwrap();
    let rules = postgres.data_directory().join("pg_hba.conf");
    linked(&rules, &secret.path(), || {
        is_link(&enroll::observe(&host, &input.server).unwrap_err(), &rules);
        is_link(&enroll::apply(&plan, &host).unwrap_err(), &rules);
    });
    secret.is_untouched();
    assert!(
        !postgres.data_directory().join(CLIENT_AUTHORITY).try_exists().unwrap(),
        "nothing half done"
    );
}

#[test]
fn a_mode_that_is_more_than_a_files_is_not_carried_over() {
    let postgres = pg::start();
    let rules = postgres.data_directory().join("pg_hba.conf");
    fs::set_permissions(&rules, fs::Permissions::from_mode(0o4750)).unwrap();
    let input = pg::observed(&postgres, pg::input(&postgres, false));
    enroll::apply(&enroll::plan(&input).unwrap(), &pg::host(&postgres)).unwrap();
    let about = fs::metadata(&rules).unwrap();
    let folder = fs::metadata(postgres.data_directory()).unwrap();
    assert_eq!(
        (about.uid(), about.gid(), about.mode() & 0o7777),
        (folder.uid(), folder.gid(), 0o640)
    );
}

fn entry(path: &Path, before: &Value) -> Value {
    json!([{ "file": { "path": path, "before": before, "written": null } }])
}

/// The account's own, as far as there is another than ours; others may write it in any case.
fn forged(postgres: &Postgres, journal: &Value) -> PathBuf {
    let path = postgres.data_directory().join(JOURNAL);
    fs::write(&path, journal.to_string()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    path
}

fn trusted(path: &Path, journal: &Value) {
    fs::write(path, journal.to_string()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
}

#[test]
fn a_journal_that_somebody_else_could_have_written_is_not_believed() {
    let (postgres, secret) = (pg::start(), Secret::new());
    let host = pg::host(&postgres);
    let input = pg::observed(&postgres, pg::input(&postgres, false));
    let plan = enroll::plan(&input).unwrap();
    let folder = fs::metadata(postgres.data_directory()).unwrap();
    for before in [Value::Null, json!("root::0:0:::\n")] {
        let journal = forged(&postgres, &entry(&secret.path(), &before));
        let refusals = || {
            for refused in
                [enroll::undo(&host).unwrap_err(), enroll::apply(&plan, &host).unwrap_err()]
            {
                assert!(
                    matches!(&refused, HostError::Distrusted { path, .. } if *path == journal),
                    "{refused}"
                );
            }
            secret.is_untouched();
        };
        refusals();
        fs::set_permissions(&journal, fs::Permissions::from_mode(0o640)).unwrap();
        if we_are_root() {
            std::os::unix::fs::chown(&journal, Some(folder.uid()), None).unwrap();
            refusals();
        } else {
            // Its own account enrols; a second name by which another could change it is too much.
            fs::hard_link(&journal, journal.with_extension("second")).unwrap();
            refusals();
            fs::remove_file(journal.with_extension("second")).unwrap();
        }
        fs::remove_file(&journal).unwrap();
    }
    assert!(!postgres.data_directory().join(CLIENT_AUTHORITY).try_exists().unwrap());
}

#[test]
fn a_journal_that_names_a_file_of_another_place_moves_nothing_there() {
    let (server, secret) = (mariadb::start(), Secret::new());
    let host = mariadb::host(&server);
    let before = mariadb::state(&server);
    let journal = server.data_directory().join(JOURNAL);
    for text in [Value::Null, json!("root::0:0:::\n")] {
        trusted(&journal, &entry(&secret.path(), &text));
        let refused = enroll::undo(&host).unwrap_err();
        assert!(
            matches!(&refused, HostError::OtherPlace(path) if *path == secret.path()),
            "{refused}"
        );
        secret.is_untouched();
    }
    fs::remove_file(&journal).unwrap();
    assert_eq!(mariadb::state(&server), before);
}

/// Where PostgreSQL's rules are only the server knows, and that is its account.
#[test]
fn what_the_servers_account_may_not_do_is_not_done_for_it_by_root() {
    if !we_are_root() {
        // There is no other's right to do it with.
        return;
    }
    let (postgres, secret) = (pg::start(), Secret::new());
    let host = pg::host(&postgres);
    let journal = postgres.data_directory().join(JOURNAL);
    // It reads the file, and may not change it.
    fs::set_permissions(secret.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let refused = |refused: &HostError| {
        assert!(refused.to_string().contains("Permission denied"), "{refused}");
        secret.is_untouched();
    };
    for text in [Value::Null, json!("root::0:0:::\n")] {
        trusted(&journal, &entry(&secret.path(), &text));
        refused(&enroll::undo(&host).unwrap_err());
    }
    fs::remove_file(&journal).unwrap();

    let input = pg::observed(&postgres, pg::input(&postgres, false));
    let mut plan = enroll::plan(&input).unwrap();
    for step in &mut plan.steps {
        if let Change::File { path, .. } = &mut step.change
            && path.ends_with("pg_hba.conf")
        {
            *path = secret.path().display().to_string();
        }
    }
    refused(&enroll::apply(&plan, &host).unwrap_err());
    // It may not even enter the folder.
    fs::set_permissions(secret.folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    refused(&enroll::apply(&plan, &host).unwrap_err());
    assert!(
        !postgres.data_directory().join(CLIENT_AUTHORITY).try_exists().unwrap(),
        "nothing half done"
    );
}

fn with_folder(server: &MariaDb, configuration_directory: PathBuf) -> Host {
    let local = Local::MySql { socket: server.socket(), configuration_directory, client: None };
    Host { local, ..mariadb::host(server) }
}

#[test]
fn roots_own_folder_is_written_by_root_and_one_that_others_change_is_refused() {
    if !we_are_root() {
        // It is no root's folder then.
        return;
    }
    let server = mariadb::start();
    let folder = tempfile::tempdir().unwrap();
    let etc = folder.path().join("conf.d");
    fs::create_dir(&etc).unwrap();
    for path in [folder.path(), &etc] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let host = with_folder(&server, etc.clone());
    let document = mariadb::input(&server).server;
    for open in [&etc, folder.path()] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = enroll::observe(&host, &document).unwrap_err();
        assert!(
            matches!(&refused, HostError::Distrusted { path, .. } if *path == etc),
            "{refused}"
        );
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let link = folder.path().join("link");
    symlink(&etc, &link).unwrap();
    let refused = enroll::observe(&with_folder(&server, link.clone()), &document).unwrap_err();
    assert!(matches!(&refused, HostError::Distrusted { path, .. } if *path == link), "{refused}");

    let mut input = mariadb::input(&server);
    input.observed = Some(enroll::observe(&host, &document).unwrap());
    enroll::apply(&enroll::plan(&input).unwrap(), &host).unwrap();
    let about = fs::metadata(etc.join(OPTION_FILE)).unwrap();
    assert_eq!((about.uid(), about.mode() & 0o777), (0, 0o644));
    enroll::undo(&host).unwrap();
    assert!(!etc.join(OPTION_FILE).try_exists().unwrap());
}
