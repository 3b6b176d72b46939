//! A disk under the server that fails once, at the n-th write or sync, as a full or a broken one does.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::program;

const SOURCE: &str = include_str!("disk/failing.c");
/// As in the source: armed, at, error, spare, count, fired, what.
const CONTROL_BYTES: usize = 256;
const COUNT_AT: u64 = 32;
const WHAT_AT: u64 = 48;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No room: nothing is written.
    Full,
    /// Half of it is written before the disk breaks.
    Torn,
    /// What was written cannot be made to last.
    Unsynced,
}

impl Fault {
    pub const ALL: [Self; 3] = [Self::Full, Self::Torn, Self::Unsynced];

    fn fields(self) -> [u64; 2] {
        let error = match self {
            Self::Full => rustix::io::Errno::NOSPC,
            Self::Torn | Self::Unsynced => rustix::io::Errno::IO,
        };
        let kind = match self {
            Self::Full => 1,
            Self::Torn => 2,
            Self::Unsynced => 3,
        };
        [kind, u64::try_from(error.raw_os_error()).unwrap_or_default()]
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Came {
    /// Calls of the kind.
    pub calls: u64,
    /// The call that failed, and its file.
    pub failed: Option<String>,
}

/// Built by the C compiler that the cryptographic library needs anyway.
#[derive(Debug)]
pub struct FailingDisk {
    control: File,
    environment: Vec<(String, String)>,
}

impl FailingDisk {
    /// Under everything below `folder`, told in `scratch`.
    pub fn create(folder: &Path, scratch: &Path) -> Result<Self> {
        let (source, library, control) = (
            scratch.join("failing.c"),
            scratch.join("failing.so"),
            scratch.join("failing.control"),
        );
        fs::write(&source, SOURCE)?;
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&library).arg(&source).arg("-ldl");
        program::run(&mut cc)?.expect_success()?;
        fs::write(&control, [0; CONTROL_BYTES])?;
        let text = |path: &PathBuf| path.to_str().map(str::to_owned).context("a path not in UTF-8");
        let environment = vec![
            ("LD_PRELOAD".to_owned(), text(&library)?),
            ("FAILING_DISK".to_owned(), text(&control)?),
            ("FAILING_DISK_FOLDER".to_owned(), text(&folder.to_owned())?),
        ];
        let control = File::options().read(true).write(true).open(control)?;
        Ok(Self { control, environment })
    }

    /// For the server's process.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// From now on the `at`-th call fails, counted from 1.
    pub fn arm(&self, fault: Fault, at: u64) -> Result<()> {
        let [kind, error] = fault.fields();
        let rest: Vec<u8> = [at, error, 0, 0, 0].iter().flat_map(|n| n.to_ne_bytes()).collect();
        self.control.write_all_at(&rest, 8)?;
        Ok(self.control.write_all_at(&kind.to_ne_bytes(), 0)?)
    }

    /// From now on nothing fails.
    pub fn disarm(&self) -> Result<Came> {
        self.control.write_all_at(&[0; 8], 0)?;
        let mut read = [0; CONTROL_BYTES];
        self.control.read_exact_at(&mut read, 0)?;
        let number = |at: u64| -> Result<u64> {
            let at = usize::try_from(at)?;
            let bytes = read.get(at..).and_then(|rest| rest.first_chunk());
            Ok(u64::from_ne_bytes(*bytes.context("the control file is short")?))
        };
        let what = read.get(usize::try_from(WHAT_AT)?..).unwrap_or_default();
        let what = what.split(|byte| *byte == 0).next().unwrap_or_default();
        let fired = number(COUNT_AT + 8)? != 0;
        let failed = fired.then(|| String::from_utf8_lossy(what).into_owned());
        Ok(Came { calls: number(COUNT_AT)?, failed })
    }
}
