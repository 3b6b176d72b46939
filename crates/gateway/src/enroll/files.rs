//! Files on the server's host: read whole, written whole or not at all, and never by way of a link.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{self, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::HostError;
use super::account::{Account, we_are_root};

/// A file that everybody may read who may enter its folder.
const SHARED: u32 = 0o644;
/// One that only we write, and the server's own group reads: what copies a data directory must be able to.
const JOURNAL: u32 = 0o640;
/// Of a mode, what a file of settings can have.
const MODE: u32 = 0o666;
/// What others than the owner write.
const WRITTEN_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;
/// Of one file. Admission rules of ten thousand lines are smaller.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Where a file is, and who lays hands on it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    hand: Hand,
}

#[derive(Clone, Debug)]
enum Hand {
    /// The server's account: the folder is its to change.
    Server(Account),
    /// We, in a folder that nobody but root changes.
    Ours,
    /// We, in this account's folder: what somebody else could have written is refused.
    Journal(Account),
}

impl Place {
    /// In a folder that the server's account may change.
    pub(super) const fn of_server(path: PathBuf, account: Account) -> Self {
        Self { path, hand: Hand::Server(account) }
    }

    /// In a folder that is the server's account's, or root's alone.
    pub(super) fn of_either(path: PathBuf, account: Account) -> Result<Self, HostError> {
        let folder = parent(&path);
        let owner = fs::metadata(folder)
            .map_err(|source| HostError::File { path: folder.to_owned(), source })?
            .uid();
        let hand = if owner == account.user.as_raw() { Hand::Server(account) } else { Hand::Ours };
        Ok(Self { path, hand })
    }

    /// The journal in the account's folder.
    pub(super) const fn of_journal(path: PathBuf, account: Account) -> Self {
        Self { path, hand: Hand::Journal(account) }
    }

    /// Does something in the folder, with the rights that are for it.
    fn act<T: Send>(
        &self,
        act: impl FnOnce(&OwnedFd, &OsStr) -> Result<T, HostError> + Send,
    ) -> Result<T, HostError> {
        let act = || {
            let folder = parent(&self.path);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = rustix::fs::open(folder, flags, Mode::empty());
            let opened = opened.map_err(|errno| self.failed(errno.into()))?;
            self.check_folder(folder, &opened)?;
            act(&opened, self.path.file_name().unwrap_or_default())
        };
        match &self.hand {
            Hand::Server(account) => account.act(act).map_err(|source| self.failed(source))?,
            Hand::Ours | Hand::Journal(_) => act(),
        }
    }

    fn failed(&self, source: io::Error) -> HostError {
        let source = match &self.hand {
            Hand::Server(account)
                if source.kind() == io::ErrorKind::PermissionDenied && account.is_another() =>
            {
                let said = format!("{source}, for the account that the server runs as");
                io::Error::new(source.kind(), said)
            }
            Hand::Server(_) | Hand::Ours | Hand::Journal(_) => source,
        };
        HostError::File { path: self.path.clone(), source }
    }

    fn check_folder(&self, folder: &Path, opened: &OwnedFd) -> Result<(), HostError> {
        let about = rustix::fs::fstat(opened).map_err(|errno| self.failed(errno.into()))?;
        match &self.hand {
            Hand::Ours if we_are_root() => only_root_changes(folder),
            Hand::Journal(account) if account.is_another() => {
                let its = about.st_uid == account.user.as_raw();
                let why = "it is not the folder of the account that the server runs as (`--os-user` names another)";
                if its { Ok(()) } else { Err(distrusted(folder, why)) }
            }
            Hand::Server(_) | Hand::Ours | Hand::Journal(_) => Ok(()),
        }
    }

    /// Whether it is a file, and one that its place allows.
    fn check_file(&self, about: &Stat) -> Result<(), HostError> {
        if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
            return Err(HostError::NoFile(self.path.clone()));
        }
        let Hand::Journal(_) = self.hand else { return Ok(()) };
        let ours_alone = about.st_uid == geteuid().as_raw()
            && about.st_mode & WRITTEN_BY_OTHERS == 0
            && about.st_nlink == 1;
        let why = "others than the account that enrols could have written it; look through it, make it that account's, \
                   writable by it alone (mode 640), and repeat";
        if ours_alone { Ok(()) } else { Err(distrusted(&self.path, why)) }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn distrusted(path: &Path, why: &'static str) -> HostError {
    HostError::Distrusted { path: path.to_owned(), why }
}

/// Whether both are the same file of the same folder.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    let folder = |path: &Path| fs::canonicalize(parent(path)).ok();
    one.file_name() == other.file_name() && folder(one).is_some() && folder(one) == folder(other)
}

/// Whether nobody else can put another folder, or another file into it.
fn only_root_changes(folder: &Path) -> Result<(), HostError> {
    let failed = |source| HostError::File { path: folder.to_owned(), source };
    let real = fs::canonicalize(folder).map_err(failed)?;
    if path::absolute(folder).map_err(failed)? != real {
        return Err(distrusted(folder, "links lead there; name it by its own path"));
    }
    for above in real.ancestors() {
        let about = fs::symlink_metadata(above).map_err(failed)?;
        // Nobody renames what is another's in a folder with that bit.
        let kept = above != real && about.mode() & STICKY != 0;
        if about.uid() != 0 || (about.mode() & WRITTEN_BY_OTHERS != 0 && !kept) {
            let why = "somebody else than root and the server's account can change it, or a folder above it";
            return Err(distrusted(folder, why));
        }
    }
    Ok(())
}

/// Its text; none when it is not there.
pub(super) fn read(place: &Place) -> Result<Option<String>, HostError> {
    let failed = |source| place.failed(source);
    let read = |folder: &OwnedFd, name: &OsStr| {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            Ok(file) => file,
            // A link, and a socket.
            Err(Errno::LOOP | Errno::NXIO) => return Err(HostError::NoFile(place.path.clone())),
            Err(errno) => return Err(failed(errno.into())),
        };
        let about = rustix::fs::fstat(&file).map_err(|errno| failed(errno.into()))?;
        place.check_file(&about)?;
        text(File::from(file)).map_err(failed)
    };
    match place.act(read) {
        Ok(text) => Ok(Some(text)),
        Err(HostError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The text of a file that the server itself reads, by way of links too; none when it is not there.
pub(super) fn read_as(account: &Account, path: &Path) -> Result<Option<String>, HostError> {
    let read = || {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        text(File::from(rustix::fs::open(path, flags, Mode::empty())?))
    };
    match account.act(read).flatten() {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HostError::File { path: path.to_owned(), source }),
    }
}

fn text(file: File) -> io::Result<String> {
    let mut text = String::new();
    file.take(FILE_BYTES_MAX.saturating_add(1)).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= FILE_BYTES_MAX) {
        return Ok(text);
    }
    Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")))
}

/// A file beside the one of this name, which takes its place when it is whole.
fn begin(folder: &OwnedFd, name: &OsStr) -> Result<(OsString, File), Errno> {
    let mut fresh = name.to_owned();
    fresh.push(".portcullis-new");
    remove_if_there(folder, &fresh)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, &fresh, flags, Mode::from_raw_mode(0o600))?;
    Ok((fresh, File::from(file)))
}

/// Whether it could be written, found out before anything is.
pub(super) fn try_write(place: &Place) -> Result<(), HostError> {
    place.act(|folder, name| {
        let begun = begin(folder, name).and_then(|(fresh, _)| remove_if_there(folder, &fresh));
        begun.map_err(|errno| place.failed(errno.into()))
    })
}

/// Whole or not at all, with the mode and group of the file that it replaces. A new one is no more open than its folder.
pub(super) fn write(place: &Place, content: &str) -> Result<(), HostError> {
    let failed = |errno: Errno| place.failed(errno.into());
    place.act(|folder, name| {
        let former = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(about) => Some(about),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(failed(errno)),
        };
        if let Some(about) = &former {
            place.check_file(about)?;
        }
        let about_folder = rustix::fs::fstat(folder).map_err(failed)?;
        let (fresh, mut file) = begin(folder, name).map_err(failed)?;
        file.write_all(content.as_bytes()).map_err(|source| place.failed(source))?;
        let mode = place.settle_group(&file, former.as_ref(), about_folder.st_mode)?;
        // Whatever the umask says: the server must be able to read it.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(failed)?;
        rustix::fs::fsync(&file).map_err(failed)?;
        rustix::fs::renameat(folder, &fresh, folder, name).map_err(failed)?;
        rustix::fs::fsync(folder).map_err(failed)
    })
}

impl Place {
    /// Gives a new file its group; the mode that goes with it.
    fn settle_group(
        &self,
        file: &File,
        former: Option<&Stat>,
        folder: u32,
    ) -> Result<u32, HostError> {
        let failed = |errno: Errno| self.failed(errno.into());
        if let Hand::Journal(account) = &self.hand {
            rustix::fs::fchown(file, None, Some(account.group)).map_err(failed)?;
            return Ok(JOURNAL);
        }
        let Some(former) = former else { return Ok(folder & SHARED) };
        let mode = former.st_mode & MODE;
        match rustix::fs::fchown(file, None, Some(Gid::from_raw(former.st_gid))) {
            Ok(()) => Ok(mode),
            // A group that whoever writes is not in; its own gets nothing of what was that one's.
            Err(Errno::PERM) => Ok(mode & !0o060),
            Err(errno) => Err(failed(errno)),
        }
    }
}

/// Whether it was there or not.
pub(super) fn remove(place: &Place) -> Result<(), HostError> {
    place.act(|folder, name| {
        remove_if_there(folder, name).map_err(|errno| place.failed(errno.into()))
    })
}

fn remove_if_there(folder: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(errno) if errno != Errno::NOENT => Err(errno),
        _ => Ok(()),
    }
}
