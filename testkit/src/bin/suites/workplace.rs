//! Where the suites run: a folder that the database server's own account can read, and write its results to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use testkit::program;

/// A copy of what was prepared. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Workplace {
    folder: PathBuf,
}

impl Workplace {
    pub(crate) fn create(prepared: &Path) -> Result<Self> {
        // Below /tmp whatever TMPDIR says: the server's account must be able to go there.
        let folder =
            tempfile::Builder::new().prefix("portcullis-suites-").tempdir_in("/tmp")?.keep();
        let place = Self { folder };
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(prepared.join(".")).arg(&place.folder);
        program::run(&mut copy)?.expect_success()?;
        place.open_up(&place.folder, 0o755)?;
        for suite in ["regress", "isolation", "pipeline"] {
            let results = place.path(suite).join("results");
            fs::create_dir_all(&results).context("no folder for results")?;
            place.open_up(&results, 0o777)?;
        }
        Ok(place)
    }

    pub(crate) fn path(&self, part: &str) -> PathBuf {
        self.folder.join(part)
    }

    fn open_up(&self, folder: &Path, mode: u32) -> Result<()> {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode))
            .with_context(|| format!("{} in {}", folder.display(), self.folder.display()))
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // The server's account wrote into it; what it holds is of no more use.
        drop(fs::remove_dir_all(&self.folder));
    }
}
