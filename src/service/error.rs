//! Why a call was refused, in words that every way in can show.

use std::{borrow::Cow, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Violation, Violations};
use crate::{
    model::status::Status,
    store::{Clash, StoreError},
};

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The request itself is wrong; repeating it does not help.
    InvalidArgument,
    /// No such thing for this caller.
    NotFound,
    /// The id is taken.
    AlreadyExists,
    /// The state of the thing does not allow it.
    FailedPrecondition,
    /// Somebody else changed it meanwhile: read it again and repeat.
    Aborted,
    /// The caller is unknown.
    Unauthenticated,
    /// The caller may not.
    PermissionDenied,
    /// Too much at once: later.
    ResourceExhausted,
    /// Not now: later.
    Unavailable,
    /// There was no time left.
    DeadlineExceeded,
    /// There is no such call.
    Unimplemented,
    /// A fault of ours.
    Internal,
}

/// The thing that is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// `Message`, `Contact` ...
    pub kind: Cow<'static, str>,
    /// Its id, as the caller gave it.
    pub id: String,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// Which kind.
    pub kind: Kind,
    /// The word that a program may branch on, `UPPER_SNAKE`.
    pub reason: Cow<'static, str>,
    /// For people. Says the way out.
    pub message: String,
    /// All that is wrong with the request, in stable order.
    pub violations: Vec<Violation>,
    /// When it may be worth another try.
    pub retry_after: Option<Duration>,
    /// What it is about.
    pub resource: Option<Box<Resource>>,
}

impl Error {
    /// A refusal without further detail.
    pub fn new(kind: Kind, reason: &'static str, message: impl Into<String>) -> Self {
        let (reason, message) = (Cow::Borrowed(reason), message.into());
        Self { kind, reason, message, violations: Vec::new(), retry_after: None, resource: None }
    }

    /// A request with one thing wrong.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let mut violations = Violations::default();
        violations.add(field, description);
        violations.into_error()
    }

    /// There is no such thing, or it is another tenant's: the same words for both.
    pub fn not_found(kind: &'static str, id: &str) -> Self {
        let message = format!("there is no {} with the id {id}", kind.to_lowercase());
        Self::new(Kind::NotFound, "NOT_FOUND", message).about(kind, id)
    }

    /// The process is about to end.
    pub fn stopping() -> Self {
        let message = "the server is stopping; reconnect with the cursor of the last event";
        Self::new(Kind::Unavailable, "STOPPING", message).after(Duration::from_secs(1))
    }

    /// Names what it is about.
    #[must_use]
    pub fn about(mut self, kind: &'static str, id: &str) -> Self {
        self.resource = Some(Box::new(Resource { kind: Cow::Borrowed(kind), id: id.to_owned() }));
        self
    }

    /// Says when another try may be worth it.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// What the store said about one thing.
    pub fn of_store(error: StoreError, kind: &'static str, id: &str) -> Self {
        match error {
            StoreError::NotFound => Self::not_found(kind, id),
            other => Self::from(other).about(kind, id),
        }
    }

    fn refused(refusal: crate::model::verbs::Refusal) -> Self {
        use crate::model::verbs::Refusal;
        match refusal {
            Refusal::Status(status) => Self::wrong_status(status),
            Refusal::TooLate(status) => {
                let message =
                    format!("it is {status} and a provider has it, or may have it; it cannot be changed");
                Self::new(Kind::FailedPrecondition, "TOO_LATE", message)
            }
            Refusal::Already => Self::new(Kind::FailedPrecondition, "ALREADY_DONE", "that was done before"),
            Refusal::Stale => {
                Self::new(Kind::Aborted, "STALE", "it changed meanwhile; read it again and repeat")
            }
            Refusal::Deleted => Self::new(Kind::FailedPrecondition, "DELETED", "it was deleted"),
        }
    }

    /// The status does not allow what was asked for.
    pub fn wrong_status(status: Status) -> Self {
        let way_out = match status {
            Status::Draft => "it was never sent; Send it first",
            Status::Scheduled | Status::Queued => "it waits to be sent; Cancel it first",
            Status::Sent | Status::Delivered | Status::Read => "it was sent; create a new message instead",
            Status::Failed => "Retry sends it again",
            Status::Cancelled | Status::Expired => {
                "it was never sent and will not be; create a new message instead"
            }
        };
        let message = format!("the message is {status}, which does not allow this: {way_out}");
        Self::new(Kind::FailedPrecondition, "WRONG_STATUS", message)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::new(Kind::NotFound, "NOT_FOUND", "there is no such thing"),
            StoreError::Refused(refusal, _) => Self::refused(refusal),
            StoreError::Clash(Clash::RequestId) => {
                let way_out = "was used for a request with other content; take a new one for a new request";
                let violations = vec![Violation::new("request_id", way_out)];
                let error =
                    Self::new(Kind::AlreadyExists, "REQUEST_ID_REUSED", format!("request_id {way_out}"));
                Self { violations, ..error }
            }
            StoreError::Clash(Clash::Exists) => Self::new(
                Kind::AlreadyExists,
                "ALREADY_EXISTS",
                "the id is taken; Update changes what is there",
            ),
            StoreError::Clash(Clash::Version(stored)) => {
                let message =
                    format!("the stored version is {stored}; read it again and repeat the change on that");
                let violations = vec![Violation::new("version", format!("is not the stored one, {stored}"))];
                Self { violations, ..Self::new(Kind::Aborted, "VERSION_MISMATCH", message) }
            }
            StoreError::Filter(error) => Self::invalid(error.path, error.problem),
            StoreError::Corrupt(what) => {
                tracing::error!(what, "a stored row cannot be read");
                Self::new(
                    Kind::Internal,
                    "CORRUPT",
                    "a stored row cannot be read; the server's log says which",
                )
            }
            StoreError::Full => {
                let message = "the server's disk is full; nothing was stored";
                Self::new(Kind::Unavailable, "STORAGE_FULL", message).after(Duration::from_secs(30))
            }
            StoreError::Unavailable(what) | StoreError::Broken(what) => {
                tracing::warn!(what, "the store cannot be used");
                let message = "the store cannot be used now; repeat the call";
                Self::new(Kind::Unavailable, "STORE_UNAVAILABLE", message).after(Duration::from_secs(1))
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)?;
        self.violations
            .iter()
            .try_for_each(|violation| write!(f, "; {}: {}", violation.field, violation.description))
    }
}

impl std::error::Error for Error {}
