//! Files on the server's host: read whole, written whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use super::HostError;

/// A file of ours that nobody but its folder's owner has to read.
pub(super) const PRIVATE: u32 = 0o600;
/// One that everybody may read who may enter its folder.
pub(super) const SHARED: u32 = 0o644;

/// Its text; none when it is not there.
pub(super) fn read(path: &Path) -> Result<Option<String>, HostError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HostError::File { path: path.to_owned(), source }),
    }
}

/// Whole or not at all, with the owner and mode of the file that it replaces. A new one is its folder's owner's, and no
/// more open than its folder.
pub(super) fn write(path: &Path, content: &str, mode: u32) -> Result<(), HostError> {
    let fresh = path.with_extension("portcullis-new");
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let (owner, mode) = match fs::metadata(path) {
            Ok(file) => {
                let mode = file.mode() & 0o7777;
                (file, mode)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = fs::metadata(folder)?;
                let mode = folder.mode() & mode;
                (folder, mode)
            }
            Err(error) => return Err(error),
        };
        remove_if_there(&fresh)?;
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(PRIVATE).open(&fresh)?;
        file.write_all(content.as_bytes())?;
        // Whatever the umask says: the server must be able to read it.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        fs::rename(&fresh, path)?;
        fs::File::open(folder)?.sync_all()
    };
    write().map_err(|source| HostError::File { path: path.to_owned(), source })
}

/// Whether it was there or not.
pub(super) fn remove(path: &Path) -> Result<(), HostError> {
    remove_if_there(path).map_err(|source| HostError::File { path: path.to_owned(), source })
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
