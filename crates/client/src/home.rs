//! Files on a person's machine: device keys, TOTP secrets, tokens. Only the owner can read them, or they are not used.
//! There is no keyring on servers and in containers, so files are the store.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use model::UserName;
use runtime::Secret;
use rustix::fs::{FlockOperation, flock};

use crate::ClientError;

/// Longer files are not read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Bits that let anyone but the owner in.
const OTHERS: u32 = 0o077;

/// The folder of one installation: one subfolder of `PORTCULLIS_HOME` an origin, so that no key or token meant for one
/// ever reaches another.
#[derive(Clone, Debug)]
pub struct Home {
    folder: PathBuf,
}

/// An exclusive right to change the tokens; ends when dropped.
#[derive(Debug)]
pub(crate) struct Locked {
    _file: File,
}

impl Home {
    /// The folder for `origin` under `home`, created 0700.
    pub fn open(home: Option<&Path>, origin: &str) -> Result<Self, ClientError> {
        let home = home.ok_or(ClientError::HomeMissing)?;
        let name: String = origin
            .trim_start_matches("https://")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' })
            .collect();
        let folder = home.join(name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(file("create", &folder))?;
        let mode = fs::metadata(&folder).map_err(file("look at", &folder))?.permissions().mode();
        private(&folder, mode)?;
        Ok(Self { folder })
    }

    /// Where the device key of a person lies when no other place is named.
    pub fn key_file(&self, user: &UserName) -> PathBuf {
        self.folder.join(format!("{}.key.pem", stem(user)))
    }

    /// The tokens of a person.
    pub(crate) fn tokens_file(&self, user: &UserName) -> PathBuf {
        self.folder.join(format!("{}.tokens.json", stem(user)))
    }

    /// Who signed in last.
    pub(crate) fn account_file(&self) -> PathBuf {
        self.folder.join("account")
    }

    /// Waits for other processes that change tokens.
    pub(crate) fn lock(&self) -> Result<Locked, ClientError> {
        let path = self.folder.join("lock");
        let file_lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(file("open", &path))?;
        flock(&file_lock, FlockOperation::LockExclusive)
            .map_err(|error| file("lock", &path)(error.into()))?;
        Ok(Locked { _file: file_lock })
    }

    /// Forgets all tokens; device keys stay.
    pub fn forget_tokens(&self) -> Result<(), ClientError> {
        let _locked = self.lock()?;
        let entries = fs::read_dir(&self.folder).map_err(file("list", &self.folder))?;
        for entry in entries {
            let path = entry.map_err(file("list", &self.folder))?.path();
            let tokens = path.to_string_lossy().ends_with(".tokens.json");
            if tokens || path == self.account_file() {
                fs::remove_file(&path).map_err(file("delete", &path))?;
            }
        }
        Ok(())
    }
}

/// A file name for a user name: readable, and unique by its hash.
fn stem(user: &UserName) -> String {
    let readable: String =
        user.as_str().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '@').take(60).collect();
    let hash = HEXLOWER.encode(digest(&SHA256, user.as_str().as_bytes()).as_ref());
    format!("{readable}-{}", hash.get(..16).unwrap_or_default())
}

/// Reads a file that only its owner may read; nothing when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Secret<String>>, ClientError> {
    read_if(path, private)
}

/// Reads a file that someone named: it may also lie in a folder that only its owner may enter.
pub(crate) fn read_given(path: &Path) -> Result<Option<Secret<String>>, ClientError> {
    read_if(path, |path, mode| if in_private_folder(path) { Ok(()) } else { private(path, mode) })
}

fn read_if(
    path: &Path,
    check: impl FnOnce(&Path, u32) -> Result<(), ClientError>,
) -> Result<Option<Secret<String>>, ClientError> {
    let opened = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(file("open", path))?,
    };
    let mode = opened.metadata().map_err(file("look at", path))?.permissions().mode();
    check(path, mode)?;
    let mut text = String::new();
    opened.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(file("read", path))?;
    Ok(Some(Secret::new(text)))
}

/// Whether others cannot even enter the folder; then a file's own bits say nothing.
fn in_private_folder(path: &Path) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let about = fs::metadata(folder.unwrap_or(Path::new(".")));
    about.is_ok_and(|about| about.permissions().mode() & OTHERS == 0)
}

fn private(path: &Path, mode: u32) -> Result<(), ClientError> {
    if mode & OTHERS == 0 {
        return Ok(());
    }
    Err(ClientError::Exposed { path: path.to_owned(), mode: mode & 0o7777 })
}

/// Writes a file that only its owner can read: whole, or not at all.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), ClientError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let unique = uuid::Uuid::new_v4();
    let temporary = folder.join(format!(".portcullis-{unique}"));
    let written = write_new(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The half-written file is of no use; the first error is the one that counts.
        let _removed = fs::remove_file(&temporary);
    }
    written.map_err(file("write", path))
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

pub(crate) fn file(task: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ClientError {
    let path = path.to_owned();
    move |source| ClientError::File { task, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_0600_in_a_folder_that_is_0700_and_others_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let home = Home::open(Some(root.path()), "https://sts.test:8443").unwrap();
        let folder = root.path().join("sts.test_8443");
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let path = home.account_file();
        assert_eq!(read(&path).unwrap(), None);
        write(&path, "ada").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap(), Some(Secret::new("ada".to_owned())));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = read(&path).unwrap_err();
        assert!(matches!(&refused, ClientError::Exposed { mode, .. } if mode & 0o777 == 0o640));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let refused = Home::open(Some(root.path()), "https://sts.test:8443").unwrap_err();
        assert!(matches!(refused, ClientError::Exposed { .. }));
    }

    #[test]
    fn a_named_file_is_as_private_as_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("totp.secret");
        fs::write(&path, "JBSWY3DP").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(read_given(&path).unwrap().is_some());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(read_given(&path), Err(ClientError::Exposed { .. })));
    }

    #[test]
    fn no_user_name_leaves_the_folder() {
        for name in ["..", "...", "ada@example.com", &"ü".repeat(120)] {
            let stem = stem(&name.parse().unwrap());
            assert!(stem.len() < 100 && !stem.contains(['/', '.']), "{stem}");
        }
    }

    #[test]
    fn forgetting_tokens_keeps_the_key() {
        let root = tempfile::tempdir().unwrap();
        let home = Home::open(Some(root.path()), "https://sts.test").unwrap();
        let ada: UserName = "ada@example.com".parse().unwrap();
        for path in [home.key_file(&ada), home.tokens_file(&ada), home.account_file()] {
            write(&path, "x").unwrap();
        }
        home.forget_tokens().unwrap();
        assert!(read(&home.key_file(&ada)).unwrap().is_some());
        assert!(read(&home.tokens_file(&ada)).unwrap().is_none());
        assert!(read(&home.account_file()).unwrap().is_none());
    }
}
