//! The gateway's folder of secrets: a file each, as systemd's credentials, Kubernetes' volumes and Vault's agent put them
//! there. Read anew for every login, so that a password that is rotated there counts from the next login on.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model::code;
use runtime::Secret;
use zeroize::Zeroize;

use crate::outcome::Denied;

/// Longer ones are no passwords.
const SECRET_BYTES_MAX: u64 = 4_096;
/// How the names of Portcullis' own credentials begin.
const OURS: &str = "portcullis";
/// Bits that let every account of the host in.
const OTHERS: u32 = 0o007;

/// Where secrets lie.
#[derive(Debug)]
pub(super) struct Secrets {
    folder: Option<PathBuf>,
}

impl Secrets {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// The secret of this name, without the line's end behind it.
    pub(super) async fn read(&self, name: &str) -> Result<Secret<Vec<u8>>, Denied> {
        let unusable = |cause: String| {
            let message = format!("the secret `{name}` cannot be used");
            Denied::new(&code::UPSTREAM_CREDENTIAL, message).because(cause)
        };
        // Such names are refused before they are stored; this folder may hold the master key, so they are here too.
        if name.contains('/') || name.starts_with(OURS) {
            return Err(unusable("its name is not one of a shared user's secret".to_owned()));
        }
        let Some(folder) = &self.folder else {
            let cause = "the configuration names no folder of secrets (`gateway.secrets`)";
            return Err(unusable(cause.to_owned()));
        };
        let path = folder.join(name);
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        match read {
            Ok(read) => read.map_err(unusable),
            Err(error) => Err(unusable(error.to_string())),
        }
    }
}

fn read(path: &Path) -> Result<Secret<Vec<u8>>, String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("{} is no file", path.display()));
    }
    if metadata.permissions().mode() & OTHERS != 0 {
        return Err(format!("{} can be read by every account of the host", path.display()));
    }
    let mut secret =
        Secret::new(Vec::with_capacity(1 + usize::try_from(SECRET_BYTES_MAX).unwrap_or(0)));
    file.take(SECRET_BYTES_MAX + 1).read_to_end(secret.expose_mut()).map_err(failed)?;
    let bytes = secret.expose_mut();
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(format!("{} is longer than {SECRET_BYTES_MAX} bytes", path.display()));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.is_empty() || bytes.contains(&0) {
        bytes.zeroize();
        return Err(format!("{} is empty, or holds a NUL", path.display()));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(folder: &Path, name: &str, content: &[u8], mode: u32) {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[tokio::test]
    async fn a_secret_is_read_anew_without_the_lines_end_and_only_where_not_everyone_can() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(Some(folder.path().to_owned()));
        write(folder.path(), "orders", b" p4ss word\n", 0o440);
        assert_eq!(secrets.read("orders").await.unwrap().expose(), b" p4ss word");
        fs::remove_file(folder.path().join("orders")).unwrap();
        write(folder.path(), "orders", b"rotated", 0o600);
        assert_eq!(secrets.read("orders").await.unwrap().expose(), b"rotated");

        write(folder.path(), "open", b"x", 0o644);
        write(folder.path(), "empty", b"\n", 0o600);
        write(folder.path(), "nul", b"a\0b", 0o600);
        write(folder.path(), "long", &[b'x'; 4_097], 0o600);
        for (name, cause) in [
            ("open", "every account of the host"),
            ("empty", "is empty"),
            ("nul", "NUL"),
            ("long", "longer than 4096 bytes"),
            ("absent", "No such file"),
            (".", "is no file"),
            ("portcullis.master-key", "not one of a shared user's"),
            ("../orders", "not one of a shared user's"),
        ] {
            let denied = secrets.read(name).await.unwrap_err();
            assert_eq!(denied.refusal.code.id, "PC1308");
            assert!(denied.cause.as_deref().is_some_and(|told| told.contains(cause)), "{denied}");
        }
        let denied = Secrets::new(None).read("orders").await.unwrap_err();
        assert!(denied.cause.unwrap().contains("gateway.secrets"));
    }
}
