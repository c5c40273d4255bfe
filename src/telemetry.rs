//! Sets logging up, once, for the whole process.

use std::{
    io::{self, IsTerminal},
    panic::PanicHookInfo,
    thread,
};

use tracing_subscriber::{EnvFilter, util::TryInitError};

use crate::config::{Log, LogFormat};

/// The most that is logged of a panic's message, in characters.
const MAX_PANIC_TEXT: usize = 500;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read. The configuration checks it, so this is a filter from elsewhere.
    #[error("the log filter cannot be read: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Logging was set up before.
    #[error("logging is set up already: {0}")]
    Taken(#[from] TryInitError),
}

/// Sends log lines to standard error, coloured when it is a terminal and `NO_COLOR` is not set, and panics to the log.
///
/// # Errors
/// When the filter cannot be read or logging was set up before.
pub fn init(log: &Log) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder().parse(&log.filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match log.format {
        LogFormat::Text => try_init(builder.with_ansi(coloured()).finish())?,
        LogFormat::Json => try_init(builder.json().flatten_event(true).finish())?,
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn try_init(subscriber: impl Into<tracing::Dispatch>) -> Result<(), TryInitError> {
    use tracing_subscriber::util::SubscriberInitExt as _;
    subscriber.try_init()
}

fn coloured() -> bool {
    let choice = anstream::AutoStream::choice(&io::stderr());
    io::stderr().is_terminal() && choice != anstream::ColorChoice::Never
}

/// A panic is one log line, in the format of all others.
fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let current = thread::current();
    let text = panic_text(info.payload_as_str().unwrap_or("(no text)"));
    tracing::error!(thread = current.name().unwrap_or("?"), at = place, panic = text, "a task panicked");
}

fn panic_text(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_PANIC_TEXT).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::Config;

    #[test]
    fn panic_texts_are_one_short_line() {
        assert_eq!(panic_text("a\nb\u{1b}c"), "a b c");
        assert_eq!(panic_text(&"é".repeat(1_000)).chars().count(), MAX_PANIC_TEXT);
    }

    // The only test that sets the process's subscriber: each test runs alone in a process under nextest, and under
    // `cargo test` nobody else asks for one.
    #[test]
    fn logging_is_set_up_once() {
        let log = Config::default().log;
        init(&log).unwrap();
        assert!(matches!(init(&log), Err(TelemetryError::Taken(_))));
        let bad = Log { filter: "a=b=c".to_owned(), ..log };
        assert!(matches!(init(&bad), Err(TelemetryError::Filter(_))));
    }
}
