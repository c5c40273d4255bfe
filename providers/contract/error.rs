use std::{error::Error, fmt, time::Duration};

/// Why a hand-off did not end in acceptance. The plugin chooses; the service has one table that turns it into a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The vendor or the way to it is in trouble and surely took nothing: try again later.
    Transient,
    /// Too fast: try again after `retry_after`, and slow the whole provider down. Costs no attempt.
    Throttled,
    /// The request left and no clear answer came: it may have been taken. Trying again may send it twice.
    Ambiguous,
    /// This message is refused for good; another recipient would be refused as well.
    Rejected,
    /// This address cannot be reached.
    BadRecipient,
    /// Our account or credentials are refused: no message will go through until an operator acts.
    Unauthorized,
}

impl Fault {
    /// The name in the store and in Explain.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "TRANSIENT",
            Self::Throttled => "THROTTLED",
            Self::Ambiguous => "AMBIGUOUS",
            Self::Rejected => "REJECTED",
            Self::BadRecipient => "BAD_RECIPIENT",
            Self::Unauthorized => "UNAUTHORIZED",
        }
    }
}

/// A hand-off that did not end in acceptance.
#[derive(Debug)]
pub struct SendError {
    /// What kind of trouble.
    pub fault: Fault,
    /// The vendor's code as it gave it: `21211`, `5.1.1`, `UNREGISTERED`.
    pub code: Option<String>,
    /// A sentence for people. No secrets, no bodies; addresses only where the vendor wrote them.
    pub detail: String,
    /// How long the vendor asked us to wait.
    pub retry_after: Option<Duration>,
    /// With [`Fault::BadRecipient`]: the address is dead, use it no more (a push token is retired).
    pub retire_recipient: bool,
    /// What lies beneath, for the log.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl SendError {
    /// An error of this kind, described by a sentence.
    pub fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Self {
            fault,
            code: None,
            detail: detail.into(),
            retry_after: None,
            retire_recipient: false,
            source: None,
        }
    }

    /// With the vendor's code.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// With the wait that the vendor asked for.
    #[must_use]
    pub fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// The address is dead.
    #[must_use]
    pub fn retire(mut self) -> Self {
        self.retire_recipient = true;
        self
    }

    /// With what lies beneath.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.fault.as_str(), self.detail)?;
        match &self.code {
            Some(code) => write!(f, " ({code})"),
            None => Ok(()),
        }
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
