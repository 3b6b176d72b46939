//! Ways to falsify an audit log, each on a copy of its own. `portcullis audit verify` must find every one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest;

/// What was done to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    FlippedByte,
    RecordRemoved,
    RecordsSwapped,
    RecordDoubled,
    TailCut,
    LastSegmentMissing,
    ChainRecomputed,
}

impl Damage {
    pub const ALL: &'static [Self] = &[
        Self::FlippedByte,
        Self::RecordRemoved,
        Self::RecordsSwapped,
        Self::RecordDoubled,
        Self::TailCut,
        Self::LastSegmentMissing,
        Self::ChainRecomputed,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::FlippedByte => "one byte flipped",
            Self::RecordRemoved => "one record removed",
            Self::RecordsSwapped => "two records swapped",
            Self::RecordDoubled => "one record doubled",
            Self::TailCut => "the tail cut off",
            Self::LastSegmentMissing => "the last segment missing",
            Self::ChainRecomputed => "a value changed and the chain computed anew",
        }
    }

    /// Copies the log and does it to the copy.
    pub fn copy(self, log: &Path, copy: &Path) -> Result<()> {
        duplicate(log, copy)?;
        let segments = segments(copy)?;
        let last = segments.last().context("the log has no segment")?;
        if self == Self::LastSegmentMissing {
            return Ok(fs::remove_file(last)?);
        }
        let text = fs::read(last)?;
        let lines: Vec<Vec<u8>> =
            text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        ensure!(lines.len() >= 4, "the last segment has too few records to damage");
        Ok(fs::write(last, self.damaged(lines)?.concat())?)
    }

    fn damaged(self, mut lines: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        let middle = lines.len() / 2;
        match self {
            Self::FlippedByte => {
                let line = lines.get_mut(middle).context("no such record")?;
                let at = line.len() - 3;
                *line.get_mut(at).context("an empty record")? ^= 1;
            }
            Self::RecordRemoved => drop(lines.remove(middle)),
            Self::RecordsSwapped => lines.swap(middle, middle + 1),
            Self::RecordDoubled => {
                let twice = lines.get(middle).context("no such record")?.clone();
                lines.insert(middle, twice);
            }
            Self::TailCut => lines.truncate(middle),
            Self::LastSegmentMissing => {}
            Self::ChainRecomputed => return recomputed(lines, middle),
        }
        Ok(lines)
    }
}

/// A copy of the log as it is now.
pub fn duplicate(log: &Path, copy: &Path) -> Result<()> {
    fs::create_dir_all(copy)?;
    for entry in fs::read_dir(log)? {
        let path = entry?.path();
        if path.is_file() {
            let name = path.file_name().context("a file without a name")?;
            fs::copy(&path, copy.join(name))?;
        }
    }
    Ok(())
}

/// The segments, oldest first: `<first sequence>.log`.
pub fn segments(log: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(log)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|e| e == "log")) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// A forger who knows the format: changes a record and makes every later hash fit.
fn recomputed(mut lines: Vec<Vec<u8>>, middle: usize) -> Result<Vec<Vec<u8>>> {
    let before = middle.checked_sub(1).and_then(|before| lines.get(before));
    let (hash, _) = parts(before.context("no record before the middle")?)?;
    let mut previous = unhex(hash)?;
    for (number, line) in lines.iter_mut().enumerate().skip(middle) {
        let (_, record) = parts(line)?;
        let record = if number == middle {
            record.replacen("\"time\":\"2", "\"time\":\"1", 1)
        } else {
            record.to_owned()
        };
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&previous);
        hash.update(record.as_bytes());
        previous = hash.finish().as_ref().to_vec();
        *line = format!("{} {record}\n", hex(&previous)).into_bytes();
    }
    Ok(lines)
}

/// A record's hash and its JSON.
fn parts(line: &[u8]) -> Result<(&str, &str)> {
    let text = std::str::from_utf8(line)?.trim_end();
    text.split_once(' ').context("a record without its hash")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| Ok(u8::from_str_radix(text.get(at..at + 2).context("half a byte")?, 16)?))
        .collect()
}
