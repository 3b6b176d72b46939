//! Fuzzing on the stable toolchain: each target for so long or so often, what it ran counted, and the inputs that are
//! worth keeping kept in `fuzz/corpus`, one file a target, which the unit tests replay.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::shell;

const SECONDS_DEFAULT: &str = "60";
/// Longer inputs find nothing that shorter ones do not, and are slow.
const INPUT_BYTES_MAX: usize = 512;
/// So much is kept of one target, shortest first.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// How long.
#[derive(Clone, Copy)]
enum Bound<'a> {
    Seconds(&'a str),
    Executions(&'a str),
}

/// Whether what was found is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Corpus {
    Leave,
    Keep,
}

struct Wish<'a> {
    target: Option<&'a str>,
    bound: Bound<'a>,
    corpus: Corpus,
}

/// `[TARGET] [--seconds N | --executions N] [--keep]`.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let wish = Wish::read(words)?;
    let known = shell::output(cargo_fuzz().arg("list"))
        .context("cargo-fuzz is missing; `cargo install cargo-fuzz` brings it")?;
    let targets: Vec<&str> =
        known.lines().filter(|known| wish.target.is_none_or(|wanted| wanted == *known)).collect();
    if targets.is_empty() {
        bail!("no such target; there are:\n{known}");
    }
    shell::run(cargo_fuzz().args(["build", "--sanitizer", "none"]))?;
    let mut all = 0_u64;
    for target in targets {
        let executions = fuzz(target, wish.bound)?;
        all += executions;
        println!("{target}: {executions} executions");
        if wish.corpus == Corpus::Keep {
            keep(target)?;
        }
    }
    println!("{all} executions in all");
    Ok(())
}

impl<'a> Wish<'a> {
    fn read(words: &[&'a str]) -> Result<Self> {
        let mut wish =
            Self { target: None, bound: Bound::Seconds(SECONDS_DEFAULT), corpus: Corpus::Leave };
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let mut number = || {
                let number = words.next().filter(|number| number.parse::<u64>().is_ok());
                number.with_context(|| format!("`{word}` wants a number"))
            };
            match word {
                "--seconds" => wish.bound = Bound::Seconds(number()?),
                "--executions" => wish.bound = Bound::Executions(number()?),
                "--keep" => wish.corpus = Corpus::Keep,
                target if !target.starts_with('-') => wish.target = Some(target),
                other => bail!("`{other}` is no option of `fuzz`"),
            }
        }
        Ok(wish)
    }
}

fn cargo_fuzz() -> Command {
    let mut cargo = shell::cargo(["fuzz"]);
    // libFuzzer's instrumentation sits behind unstable flags only.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    cargo
}

/// Runs one target from what is kept of it; how many inputs it tried.
fn fuzz(target: &str, bound: Bound<'_>) -> Result<u64> {
    let found = working_folder(target)?;
    let bound = match bound {
        Bound::Seconds(seconds) => format!("-max_total_time={seconds}"),
        Bound::Executions(executions) => format!("-runs={executions}"),
    };
    let mut command = cargo_fuzz();
    command.args(["run", "--sanitizer", "none", target]).arg(&found);
    let recorded = match target {
        "pg_session" => Some("crates/wire/tests/corpus"),
        "mysql_session" => Some("crates/wire/tests/corpus/mysql"),
        _ => None,
    };
    command.args(recorded.map(|folder| shell::checkout().join(folder)));
    let length = format!("-max_len={INPUT_BYTES_MAX}");
    command.args(["--", &bound, &length, "-timeout=10", "-print_final_stats=1"]);
    let mut child = command.stderr(Stdio::piped()).spawn().context("cannot run cargo")?;
    let stderr = child.stderr.take().context("its output was not piped")?;
    let (mut executions, mut said) = (None, Vec::new());
    for line in BufReader::new(stderr).lines() {
        let line = line?;
        if let Some(number) = line.strip_prefix("stat::number_of_executed_units:") {
            executions = number.trim().parse().ok();
        }
        said.push(line);
    }
    if !child.wait()?.success() {
        let last = said.len().saturating_sub(40);
        bail!("{target}:\n{}", said.get(last..).unwrap_or_default().join("\n"));
    }
    executions.with_context(|| format!("{target} did not say how much it ran"))
}

/// Where libFuzzer puts what it finds, with all that is kept in it.
fn working_folder(target: &str) -> Result<PathBuf> {
    let folder = shell::target().join("fuzz-corpus").join(target);
    fs::create_dir_all(&folder)?;
    for (number, input) in unpack(&kept_file(target))?.iter().enumerate() {
        fs::write(folder.join(format!("kept-{number:05}")), input)?;
    }
    Ok(folder)
}

fn kept_file(target: &str) -> PathBuf {
    shell::checkout().join("fuzz/corpus").join(format!("{target}.inputs"))
}

/// Of all inputs those that reach something that the others do not, in one file: a length of four bytes, the input, and
/// so on.
fn keep(target: &str) -> Result<()> {
    let found = working_folder(target)?;
    let least = found.with_extension("least");
    if least.try_exists()? {
        fs::remove_dir_all(&least)?;
    }
    fs::create_dir_all(&least)?;
    let mut merge = cargo_fuzz();
    merge.args(["run", "--sanitizer", "none", target]).args([&least, &found]);
    let length = format!("-max_len={INPUT_BYTES_MAX}");
    shell::output(merge.args(["--", "-merge=1", &length]))?;
    let mut inputs = Vec::new();
    for entry in fs::read_dir(&least)? {
        inputs.push(fs::read(entry?.path())?);
    }
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    let mut packed = Vec::new();
    for input in inputs {
        if packed.len() + input.len() > KEPT_BYTES_MAX {
            break;
        }
        packed.extend_from_slice(&u32::try_from(input.len())?.to_be_bytes());
        packed.extend_from_slice(&input);
    }
    let file = kept_file(target);
    fs::create_dir_all(file.parent().context("a file without a folder")?)?;
    fs::write(&file, packed)?;
    println!("{target}: kept in {}", file.display());
    Ok(())
}

fn unpack(file: &Path) -> Result<Vec<Vec<u8>>> {
    if !file.try_exists()? {
        return Ok(Vec::new());
    }
    let bytes = fs::read(file)?;
    let mut rest = bytes.as_slice();
    let mut inputs = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::try_from(u32::from_be_bytes(*length))?;
        let (input, next) = after.split_at_checked(length).context("a kept input is cut short")?;
        inputs.push(input.to_vec());
        rest = next;
    }
    Ok(inputs)
}
