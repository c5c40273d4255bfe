//! How long a message may wait, and how often it may be lost: what an operator decides.

use std::time::Duration;

use super::{Timestamp, message::State, retry::Backoff};

/// The limits of every message's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A message that names no `expires_at` waits for a provider for so long after it was due.
    pub max_lifetime: Duration,
    /// The same for a scheduled message: later than this it is not wanted any more.
    pub max_lateness: Duration,
    /// A message whose holder was lost so many times in a row is the one that ends it.
    pub poison_after: i32,
    /// How long a message waits after its holder was lost: those that were lost together do not come back together.
    pub backoff: Backoff,
}

impl Limits {
    /// What holds when nobody says otherwise.
    pub const DEFAULT: Self = Self {
        max_lifetime: Duration::from_secs(72 * 3600),
        max_lateness: Duration::from_secs(24 * 3600),
        poison_after: 3,
        backoff: Backoff { first: Duration::from_secs(2), max: Duration::from_secs(900), tries: 12 },
    };

    /// When a message that is due at this time leaves the queue in any case.
    pub fn until(&self, state: &State, due_at: Timestamp) -> Timestamp {
        let wait = if is_scheduled(state) { self.max_lateness } else { self.max_lifetime };
        state.expires_at.unwrap_or(due_at.plus(wait))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Whether somebody chose the time of this generation.
fn is_scheduled(state: &State) -> bool {
    state.generation == 1 && state.scheduled_at.is_some()
}

/// Whether it is the message's own wish to be forgotten after its time; else it is a dead letter.
pub fn may_expire(state: &State) -> bool {
    state.expires_at.is_some() || is_scheduled(state)
}
