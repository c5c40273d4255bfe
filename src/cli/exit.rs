//! How the program ends: every exit code, in one place. Numbers from 64 on are those of BSD's sysexits.h.

use std::{error::Error, fmt, io, process::ExitCode};

use crate::config::ConfigErrors;

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done. Also when the reader of our output went away.
    Ok = 0,
    /// Refused by the server, or the answer is "no": failed, too late, a check that found something.
    NotOk = 1,
    /// The command line is wrong, or a file that it names.
    Usage = 64,
    /// The store's content is damaged or not ours.
    Data = 65,
    /// The server cannot be reached, or is not ready.
    Unavailable = 69,
    /// A fault of this program or of the server.
    Internal = 70,
    /// The system refused something: a port is taken, a file cannot be made.
    System = 71,
    /// The disk failed: what it was given to keep is known only after a new start.
    Io = 74,
    /// Not now: another process has the store, or `--wait` ended before the message got that far.
    TryAgain = 75,
    /// The configuration is wrong, or the store was made by a newer version.
    Config = 78,
    /// A second SIGINT: ended at once, what was under way is found by the next start.
    Interrupted = 130,
    /// A second SIGTERM: the same.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked: the exit code, and what to tell on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The first says what happened, the others give details and the way out. Nothing is printed when empty.
    pub lines: Vec<String>,
}

impl Failure {
    /// Ends with this code and this sentence.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, lines: vec![text.into()] }
    }

    /// Ends with this code; what there is to say was printed already.
    pub fn quiet(exit: Exit) -> Self {
        Self { exit, lines: Vec::new() }
    }

    /// With one more line.
    #[must_use]
    pub fn line(mut self, text: impl Into<String>) -> Self {
        self.lines.push(text.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl Error for Failure {}

impl From<io::Error> for Failure {
    /// For output: when nobody reads any more there is nothing to say. Other I/O names its file itself.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::quiet(Exit::Ok),
            _ => Self::new(Exit::System, format!("writing the output failed: {error}")),
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        let count = errors.0.len();
        let head = if count == 1 {
            "the configuration is wrong".to_owned()
        } else {
            format!("the configuration is wrong in {count} places")
        };
        let mut failure = Self::new(Exit::Config, head);
        failure.lines.extend(errors.0.iter().map(ToString::to_string));
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_ends_quietly() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure, Failure::quiet(Exit::Ok));
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::StorageFull)).exit, Exit::System);
    }
}
