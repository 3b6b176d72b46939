//! The only place that writes to standard output. A reader that goes away (`| head`) is no failure.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use crate::cli::Format;
use crate::failure::Failure;

/// Prints text as it is.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new("cannot print the result", error)),
    }
}

/// Prints one line.
pub(crate) fn line(line: &str) -> Result<(), Failure> {
    text(&format!("{line}\n"))
}

/// Says something to the person, beside the result: on standard error, so that pipes carry results only.
pub(crate) fn note(line: &str) {
    // Nobody may be listening there; that is their choice.
    drop(writeln!(io::stderr().lock(), "{line}"));
}

/// Prints a value for machines, or what `table` makes of it for people.
pub(crate) fn show<T: Serialize>(
    format: Format,
    value: &T,
    table: impl FnOnce() -> String,
) -> Result<(), Failure> {
    text(&rendered(format, value, table)?)
}

fn rendered<T: Serialize>(
    format: Format,
    value: &T,
    table: impl FnOnce() -> String,
) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new("cannot print the result", error);
    match format {
        Format::Table => Ok(table()),
        Format::Json => {
            let json = serde_json::to_string_pretty(value).map_err(|error| failed(&error))?;
            Ok(format!("{json}\n"))
        }
        Format::Yaml => serde_saphyr::to_string(value).map_err(|error| failed(&error)),
    }
}

/// Several documents: a JSON array, or a YAML stream with a document each.
pub(crate) fn show_all<T: Serialize>(
    format: Format,
    values: &[T],
    table: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if format != Format::Yaml {
        return show(format, &values, table);
    }
    let documents: Vec<String> = values
        .iter()
        .map(|value| rendered(format, value, String::new))
        .collect::<Result<_, _>>()?;
    text(&documents.join("---\n"))
}
