//! How long a dump of a gigabyte takes.

use std::io;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use testkit::wait;

use super::ways::{Way, Ways};
use crate::Extent;
use crate::measured::{Measured, spent};
use crate::stacks::FEW;
use crate::statistics::{Spread, in_turns};

/// Rows of a thousand bytes of text each; a tenth of them when it has to be quick.
const ROWS: u32 = 1_000_000;
/// What a dump has besides the text.
const BYTES_A_ROW_MIN: u64 = 1_000;

pub(crate) fn run(extent: Extent) -> Result<()> {
    let ways = Ways::start(FEW)?;
    let rows = if extent.rounds > 1 { ROWS } else { ROWS / 10 };
    let mariadb = ways.stack.mariadb.as_ref().context("no MariaDB runs beside")?;
    mariadb.sql(
        "orders",
        &format!(
            "create table bulk (id int primary key, text varchar(1000) not null);\n\
             insert into bulk select seq, left(repeat(md5(seq), 32), 1000) from seq_1_to_{rows};\n"
        ),
    )?;
    let [naked, haproxy, portcullis] =
        in_turns(extent.rounds, &ways.ways, |way| dumped(way, u64::from(rows)))?;
    println!("{:<12}{:>14}{:>30}{:>18}", "", "MB/s", "time over naked", "processor, µs/MB");
    let named = [&naked, &haproxy, &portcullis].into_iter().zip(&ways.ways);
    for (turns, way) in named {
        let cost = Spread::of(turns.iter().map(Measured::cost)).median;
        println!(
            "{:<12}{:>14.0}{:>30}{:>18}",
            way.name,
            Spread::of(turns.iter().map(|it| it.rate)).median,
            Spread::of_ratios((&naked, turns), |it: &Measured| it.rate),
            way.proxy.map(|_| format!("{cost:.0}")).unwrap_or_default(),
        );
    }
    println!(
        "\n`mariadb-dump --quick --single-transaction` of {rows} rows of 1,000 bytes, to a pipe."
    );
    Ok(())
}

fn dumped(way: &Way, rows: u64) -> Result<Measured> {
    let mut command = way.client("mariadb-dump");
    command.args(["--quick", "--single-transaction", "--no-tablespaces", "orders", "bulk"]);
    let before = way.processor()?;
    let started = wait::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().context("no output of mariadb-dump's")?;
    let bytes = io::copy(&mut stdout, &mut io::sink())?;
    let seconds = started.elapsed().as_secs_f64();
    let ended = child.wait_with_output()?;
    ensure!(ended.status.success(), "{}: {}", way.name, String::from_utf8_lossy(&ended.stderr));
    ensure!(bytes > rows * BYTES_A_ROW_MIN, "{bytes} bytes came");
    let megabytes = f64::from(u32::try_from(bytes / 1_000)?) / 1e3;
    let processor = spent(before, way.processor()?).map(|spent| spent / megabytes);
    Ok(Measured { rate: megabytes / seconds, processor })
}
