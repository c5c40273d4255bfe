//! Whether a provider is asked at all: closed, open, half-open. Pure: the time is an argument.
//!
//! ```text
//!            5 in a row, or more than half of the last 20
//!   CLOSED ------------------------------------------------> OPEN <--------------+
//!     ^                                                        | after `probe`   | it failed
//!     | the places have grown to all of them                   v                 |
//!   RAMP <------------------------------------------------- PROBING -------------+
//!     |      it answered                                       ^
//!     +--------- two in a row fail: OPEN                       | refused credentials: PAUSED, for twice as long
//! ```

use std::time::Duration;

use crate::model::Timestamp;

/// Failures in a row that open it.
const IN_A_ROW: u32 = 5;
/// Of so many answers ...
const WINDOW: u32 = 20;
/// ... more failures than this open it.
const HALF: u32 = WINDOW / 2;
/// However long a provider asks us to wait, it is asked again after this.
pub(super) const LONGEST: Duration = Duration::from_secs(3_600);

/// What a provider's breaker says, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// All places are used.
    Closed,
    /// One message finds out how the provider is, or the places grow again.
    HalfOpen,
    /// Nothing is handed to it.
    Open,
    /// It refuses our credentials: nothing is handed to it.
    Paused,
}

impl BreakerState {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::HalfOpen => "HALF_OPEN",
            Self::Open => "OPEN",
            Self::Paused => "PAUSED",
        }
    }

    /// The number in the metrics: the greater, the worse.
    pub const fn number(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
            Self::Paused => 3,
        }
    }
}

/// Whether one more message may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Not now.
    No,
    /// Yes.
    Yes,
    /// Yes: it finds out whether the provider is well again.
    Probe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed,
    /// Nothing goes before `until`; then one does.
    Open {
        until: Timestamp,
        paused: bool,
    },
    /// One is on its way. When it is not heard of, another may go at `until`.
    Probing {
        until: Timestamp,
        paused: bool,
    },
    /// One place at first, twice as many each second.
    Ramp {
        since: Timestamp,
    },
}

/// A provider's breaker.
#[derive(Clone, Debug)]
pub(super) struct Breaker {
    /// How long it stays open before one message finds out.
    probe: Duration,
    phase: Phase,
    /// The latest answers, the newest in the lowest bit; a failure is a one.
    recent: u32,
    known: u32,
    in_a_row: u32,
}

impl Breaker {
    /// Closed.
    pub(super) fn new(probe: Duration) -> Self {
        Self { probe, phase: Phase::Closed, recent: 0, known: 0, in_a_row: 0 }
    }

    /// What is shown.
    pub(super) fn state(&self, now: Timestamp) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { until, .. } if until <= now => BreakerState::HalfOpen,
            Phase::Open { paused: true, .. } => BreakerState::Paused,
            Phase::Open { paused: false, .. } => BreakerState::Open,
            Phase::Probing { .. } | Phase::Ramp { .. } => BreakerState::HalfOpen,
        }
    }

    /// Until when nothing goes, when that is so now.
    pub(super) fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.phase {
            Phase::Open { until, .. } | Phase::Probing { until, .. } if until > now => Some(until),
            _ => None,
        }
    }

    /// Whether a failure now says more about the provider than about the message.
    pub(super) fn is_suspect(&self) -> bool {
        matches!(self.phase, Phase::Open { .. } | Phase::Probing { .. })
    }

    /// Asks for one more beside those that are under way.
    pub(super) fn admit(&mut self, now: Timestamp, in_flight: usize, places: usize) -> Admission {
        let yes = |may: bool| if may { Admission::Yes } else { Admission::No };
        match self.phase {
            Phase::Closed => yes(in_flight < places),
            Phase::Open { until, paused } | Phase::Probing { until, paused } if until <= now => {
                self.phase = Phase::Probing { until: now.plus(self.rest(paused)), paused };
                Admission::Probe
            }
            Phase::Open { .. } | Phase::Probing { .. } => Admission::No,
            Phase::Ramp { since } => {
                let room = ramp(now.since(since));
                if room >= places {
                    self.phase = Phase::Closed;
                }
                yes(in_flight < room.min(places))
            }
        }
    }

    /// The probe was not used: nothing is known.
    pub(super) fn unused_probe(&mut self, now: Timestamp) {
        if let Phase::Probing { paused, .. } = self.phase {
            self.phase = Phase::Open { until: now, paused };
        }
    }

    /// The provider answered, whatever it said about the message.
    pub(super) fn answered(&mut self, now: Timestamp) {
        self.note(false);
        if self.is_suspect() {
            self.phase = Phase::Ramp { since: now };
            (self.recent, self.known) = (0, 0);
        }
    }

    /// The provider or the way to it failed. True when that opened it.
    pub(super) fn failed(&mut self, now: Timestamp, asked: Option<Duration>) -> bool {
        self.note(true);
        let opens = match self.phase {
            Phase::Closed => {
                let failures = (self.recent & ((1 << WINDOW) - 1)).count_ones();
                self.in_a_row >= IN_A_ROW || (self.known >= WINDOW && failures > HALF)
            }
            Phase::Ramp { .. } => self.in_a_row >= 2,
            Phase::Probing { .. } => true,
            // What was under way when it opened says nothing new.
            Phase::Open { .. } => return false,
        };
        if opens {
            let rest = asked.unwrap_or_default().clamp(self.probe, LONGEST.max(self.probe));
            self.phase = Phase::Open { until: now.plus(rest), paused: false };
        } else if let Phase::Ramp { since } = &mut self.phase {
            *since = now;
        }
        opens
    }

    /// The provider refuses our credentials. True when that is news.
    pub(super) fn unauthorized(&mut self, now: Timestamp) -> bool {
        self.note(true);
        let known =
            matches!(self.phase, Phase::Open { paused: true, .. } | Phase::Probing { paused: true, .. });
        self.phase = Phase::Open { until: now.plus(self.rest(true)), paused: true };
        !known
    }

    fn rest(&self, paused: bool) -> Duration {
        if paused { self.probe * 2 } else { self.probe }
    }

    fn note(&mut self, failure: bool) {
        self.recent = (self.recent << 1) | u32::from(failure);
        self.known = (self.known + 1).min(WINDOW);
        self.in_a_row = if failure { self.in_a_row + 1 } else { 0 };
    }
}

/// Places so long after a provider answered again.
fn ramp(since: Duration) -> usize {
    1usize.checked_shl(u32::try_from(since.as_secs()).unwrap_or(u32::MAX)).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
