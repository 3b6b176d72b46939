//! The process's own log: structured lines on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::LogFormat;

/// The log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("`{filter}` is not a log filter; write it like `info` or `info,gateway=debug`")]
    Filter {
        /// As given.
        filter: String,
        /// Why.
        #[source]
        cause: tracing_subscriber::filter::ParseError,
    },
    /// It runs already.
    #[error("the log was started twice")]
    Started(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Starts the log of this process, once. `filter` is `info` when absent.
pub fn start(format: LogFormat, filter: Option<&str>) -> Result<(), TelemetryError> {
    start_with(format, filter, std::io::stderr)
}

fn start_with<W>(format: LogFormat, filter: Option<&str>, writer: W) -> Result<(), TelemetryError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let text = filter.unwrap_or("info");
    let filter = EnvFilter::try_new(text)
        .map_err(|cause| TelemetryError::Filter { filter: text.to_owned(), cause })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match resolved(format, std::io::stderr().is_terminal()) {
        LogFormat::Auto | LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(TelemetryError::Started)
}

/// Who reads it.
const fn resolved(format: LogFormat, is_terminal: bool) -> LogFormat {
    match (format, is_terminal) {
        (LogFormat::Auto, true) => LogFormat::Text,
        (LogFormat::Auto, false) => LogFormat::Json,
        (LogFormat::Text | LogFormat::Json, _) => format,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_text_and_a_machine_json_unless_it_is_said_otherwise() {
        use LogFormat::{Auto, Json, Text};
        for (format, terminal, expected) in
            [(Auto, true, Text), (Auto, false, Json), (Text, false, Text), (Json, true, Json)]
        {
            assert_eq!(resolved(format, terminal), expected);
        }
    }

    #[test]
    fn a_wrong_filter_is_refused_with_an_example_and_a_second_start_too() {
        let refused = start(LogFormat::Text, Some("gateway=loud")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`gateway=loud` is not a log filter; write it like `info` or `info,gateway=debug`"
        );
        start_with(LogFormat::Json, None, std::io::sink).unwrap();
        let twice = start(LogFormat::Text, None).unwrap_err();
        assert_eq!(twice.to_string(), "the log was started twice");
    }
}
