//! Status as a pure function of the facts.
//!
//! A message knows a set of [`Facts`]; learning another [`Fact`] is a join that does not care for order or repetition, and
//! [`status`] reads the result. That is the whole rule: nothing else ever sets a status.

use std::{cmp::Ordering, fmt};

use super::{Channel, Timestamp};

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Stored, not to be sent yet.
    Draft,
    /// Waits for its time.
    Scheduled,
    /// Waits for a provider.
    Queued,
    /// A provider has it.
    Sent,
    /// It arrived.
    Delivered,
    /// It was opened.
    Read,
    /// It will not arrive.
    Failed,
    /// Withdrawn in time.
    Cancelled,
    /// Too late to be sent.
    Expired,
}

impl Status {
    /// All of them, in the order of the API.
    pub const ALL: [Self; 9] = [
        Self::Draft,
        Self::Scheduled,
        Self::Queued,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The name in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "DRAFT",
            Self::Scheduled => "SCHEDULED",
            Self::Queued => "QUEUED",
            Self::Sent => "SENT",
            Self::Delivered => "DELIVERED",
            Self::Read => "READ",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
        }
    }

    /// Whether a provider has not been given it yet and still may be.
    pub const fn is_waiting(self) -> bool {
        matches!(self, Self::Scheduled | Self::Queued)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The words for why a message failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Refused for good.
    Rejected,
    /// The address cannot be reached.
    BadRecipient,
    /// The contact has no address on the channel.
    NoAddress,
    /// No provider serves the channel.
    NoProvider,
    /// All tries ended without a hand-off.
    RetriesExhausted,
    /// It may or may not have been taken, and may not be tried again.
    Ambiguous,
    /// Accepted, then reported as not arriving.
    Undelivered,
    /// Reported delivered, then came back.
    AsyncBounce,
    /// Somebody called Fail.
    Reported,
    /// Ended the process repeatedly.
    Poison,
    /// On the suppression list.
    Suppressed,
}

impl Reason {
    /// All of them, in the order of the API.
    pub const ALL: [Self; 11] = [
        Self::Rejected,
        Self::BadRecipient,
        Self::NoAddress,
        Self::NoProvider,
        Self::RetriesExhausted,
        Self::Ambiguous,
        Self::Undelivered,
        Self::AsyncBounce,
        Self::Reported,
        Self::Poison,
        Self::Suppressed,
    ];

    /// The name in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "REJECTED",
            Self::BadRecipient => "BAD_RECIPIENT",
            Self::NoAddress => "NO_ADDRESS",
            Self::NoProvider => "NO_PROVIDER",
            Self::RetriesExhausted => "RETRIES_EXHAUSTED",
            Self::Ambiguous => "AMBIGUOUS",
            Self::Undelivered => "UNDELIVERED",
            Self::AsyncBounce => "ASYNC_BOUNCE",
            Self::Reported => "REPORTED",
            Self::Poison => "POISON",
            Self::Suppressed => "SUPPRESSED",
        }
    }

    /// Whether sending the same message again may help.
    pub const fn retryable(self) -> bool {
        matches!(
            self,
            Self::NoProvider | Self::NoAddress | Self::RetriesExhausted | Self::Ambiguous | Self::Undelivered
        )
    }
}

/// That it will not arrive, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When, by the provider's clock.
    pub at: Timestamp,
    /// The word for it.
    pub reason: Reason,
    /// The provider's code.
    pub code: Option<String>,
    /// For people.
    pub detail: Option<String>,
}

impl Failure {
    /// Of several failures the one that counts: the earliest, then by its words, so that every order of arrival agrees.
    fn rank(&self, other: &Self) -> Ordering {
        (self.at, self.reason, &self.code, &self.detail).cmp(&(
            other.at,
            other.reason,
            &other.code,
            &other.detail,
        ))
    }
}

/// One thing that is known to have happened to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Taken for sending.
    Accepted(Timestamp),
    /// Due.
    Queued(Timestamp),
    /// Taken by a provider.
    HandedOff(Timestamp),
    /// Arrived.
    Delivered(Timestamp),
    /// Opened.
    Read(Timestamp),
    /// Will not arrive.
    Failed(Failure),
    /// Withdrawn. Only ever learned while nothing is handed off.
    Cancelled(Timestamp),
    /// Out of time. Only ever learned while nothing is handed off.
    Expired(Timestamp),
}

/// All that is known about a message, in the generation that is current. Earliest time per fact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "one field for each `Fact`, under its name")]
pub struct Facts {
    pub accepted: Option<Timestamp>,
    pub queued: Option<Timestamp>,
    pub handed_off: Option<Timestamp>,
    pub delivered: Option<Timestamp>,
    pub read: Option<Timestamp>,
    pub failed: Option<Failure>,
    pub cancelled: Option<Timestamp>,
    pub expired: Option<Timestamp>,
}

/// Keeps the earlier time; tells whether the fact is new.
fn join(slot: &mut Option<Timestamp>, at: Timestamp) -> bool {
    let new = slot.is_none();
    *slot = Some(slot.map_or(at, |have| have.min(at)));
    new
}

impl Facts {
    /// Adds a fact. `true` when no fact of this kind was known before: then, and only then, it has an event.
    pub fn learn(&mut self, fact: Fact) -> bool {
        match fact {
            Fact::Accepted(at) => join(&mut self.accepted, at),
            Fact::Queued(at) => join(&mut self.queued, at),
            Fact::HandedOff(at) => join(&mut self.handed_off, at),
            Fact::Delivered(at) => join(&mut self.delivered, at),
            Fact::Read(at) => join(&mut self.read, at),
            Fact::Cancelled(at) => join(&mut self.cancelled, at),
            Fact::Expired(at) => join(&mut self.expired, at),
            Fact::Failed(failure) => {
                let new = self.failed.is_none();
                if self.failed.as_ref().is_none_or(|have| failure.rank(have).is_lt()) {
                    self.failed = Some(failure);
                }
                new
            }
        }
    }

    /// A provider may have it or did have it.
    pub fn is_out(&self) -> bool {
        self.handed_off.is_some() || self.delivered.is_some() || self.read.is_some()
    }

    /// The failure as it is shown: an e-mail that came back after it was delivered bounced.
    pub fn failure(&self, channel: Channel) -> Option<Failure> {
        let mut failure = self.failed.clone()?;
        if self.delivered.is_some() && channel == Channel::Email {
            failure.reason = Reason::AsyncBounce;
        }
        Some(failure)
    }
}

/// The status that these facts make on this channel.
pub fn status(facts: &Facts, channel: Channel) -> Status {
    if facts.read.is_some() {
        return Status::Read;
    }
    if facts.delivered.is_some() {
        let came_back = facts.failed.is_some() && channel == Channel::Email;
        return if came_back { Status::Failed } else { Status::Delivered };
    }
    if facts.handed_off.is_none() {
        match (facts.cancelled, facts.expired) {
            (Some(cancelled), Some(expired)) if expired < cancelled => return Status::Expired,
            (Some(_), _) => return Status::Cancelled,
            (None, Some(_)) => return Status::Expired,
            (None, None) => {}
        }
    }
    if facts.failed.is_some() {
        return Status::Failed;
    }
    if facts.handed_off.is_some() {
        return Status::Sent;
    }
    match (facts.accepted, facts.queued) {
        (_, Some(_)) => Status::Queued,
        (Some(_), None) => Status::Scheduled,
        (None, None) => Status::Draft,
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
