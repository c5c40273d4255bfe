//! Why a run could not be made. A broken promise is no problem of the run: it is a figure of its report.

/// What stands in the way.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// A file, a process or a socket.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// An answer of the service that was not expected.
    #[error("the service answered {}: {}", .0.code(), .0.message())]
    Answer(Box<tonic::Status>),
    /// No connection to the service.
    #[error("no connection to the service: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The database, asked directly.
    #[error("the database: {0}")]
    Sql(#[from] sqlx::Error),
    /// Anything else, in a sentence.
    #[error("{0}")]
    Other(String),
}

/// What a run gives, or why not.
pub(crate) type Run<T> = Result<T, Problem>;

impl From<tonic::Status> for Problem {
    fn from(status: tonic::Status) -> Self {
        Self::Answer(Box::new(status))
    }
}

impl From<tokio::task::JoinError> for Problem {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Other(error.to_string())
    }
}

/// A problem in a sentence.
pub(crate) fn problem<T>(text: impl Into<String>) -> Run<T> {
    Err(Problem::Other(text.into()))
}
