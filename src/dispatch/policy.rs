//! What follows from a fault. The one table; nothing else decides it.

use std::time::Duration;

use headlessly_providers::contract::{Fault, SendError};

use super::slots::Ambiguity;
use crate::model::{
    Channel, Timestamp,
    retry::Backoff,
    status::{Failure, Reason},
    verbs::{Queued, Verdict, reason_of},
};

/// What the table looks at beside the fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    /// The place that the message has in the queue.
    pub(super) queued: &'a Queued,
    /// Now.
    pub(super) now: Timestamp,
    /// When to try again.
    pub(super) backoff: Backoff,
    /// A number that differs between messages.
    pub(super) seed: u64,
    /// What to do when it may have been taken.
    pub(super) ambiguity: Ambiguity,
    /// How long to wait for a receipt then.
    pub(super) hold: Duration,
    /// How long the provider rests because of this fault.
    pub(super) rest: Option<Duration>,
    /// Another provider could take it now.
    pub(super) another: bool,
}

/// The default for a channel: an SMS costs money and annoys twice, the others hide or forgive a repetition.
pub(super) fn ambiguity(configured: Option<Ambiguity>, idempotent: bool, channel: Channel) -> Ambiguity {
    match configured {
        Some(chosen) => chosen,
        None if !idempotent && channel == Channel::Sms => Ambiguity::Hold,
        None => Ambiguity::Retry,
    }
}

/// | fault | what follows |
/// | --- | --- |
/// | Transient | again with back-off, up to the number of tries |
/// | Throttled | again when the provider may be asked again; costs no try |
/// | Ambiguous | again, or held for a receipt, by [`Ambiguity`] |
/// | Rejected, BadRecipient | fails |
/// | Unauthorized | kept until the provider is well; costs no try |
pub(super) fn decide(error: &SendError, case: &Case<'_>) -> Verdict {
    match error.fault {
        Fault::Rejected | Fault::BadRecipient => {
            Verdict::Fail(failure(error, reason_of(error.fault), case.now))
        }
        Fault::Throttled | Fault::Unauthorized => {
            let wait = if case.another { Duration::ZERO } else { case.rest.unwrap_or_default() };
            Verdict::Again { at: case.now.plus(wait), counts: false, ambiguous: false }
        }
        Fault::Ambiguous if case.ambiguity == Ambiguity::Hold => {
            Verdict::Hold { until: case.now.plus(case.hold) }
        }
        Fault::Ambiguous => again(error, case, true),
        Fault::Transient => again(error, case, false),
    }
}

fn again(error: &SendError, case: &Case<'_>, ambiguous: bool) -> Verdict {
    let tries = case.queued.tries + 1;
    let wait = case.backoff.wait(tries, case.seed).max(error.retry_after.unwrap_or_default());
    let at = case.now.plus(wait);
    if tries < case.backoff.tries && at < case.queued.expires_at {
        return Verdict::Again { at, counts: true, ambiguous };
    }
    let unsure = ambiguous || case.queued.ambiguous;
    let reason = if unsure { Reason::Ambiguous } else { Reason::RetriesExhausted };
    Verdict::Fail(failure(error, reason, case.now))
}

fn failure(error: &SendError, reason: Reason, at: Timestamp) -> Failure {
    Failure { at, reason, code: error.code.clone(), detail: Some(error.detail.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::verbs::Wait;

    fn verdict(fault: Fault, change: impl FnOnce(&mut SendError, &mut Queued)) -> Verdict {
        let mut queued = Queued {
            wait: Wait::Leased,
            due_at: Timestamp(0),
            epoch: 1,
            tries: 0,
            ambiguous: false,
            expires_at: Timestamp::from_seconds(1_000_000),
            bytes: 0,
        };
        let mut error = SendError::new(fault, "no");
        change(&mut error, &mut queued);
        let second = Duration::from_secs(1);
        let case = Case {
            queued: &queued,
            now: Timestamp::from_seconds(100),
            backoff: Backoff { first: second * 2, max: second * 900, tries: 3 },
            seed: 1,
            ambiguity: ambiguity(None, false, Channel::Sms),
            hold: second * 50,
            rest: Some(second * 7),
            another: false,
        };
        decide(&error, &case)
    }

    #[test]
    fn the_table() {
        let seconds = Timestamp::from_seconds;
        let throttled = verdict(Fault::Throttled, |_, _| {});
        assert_eq!(throttled, Verdict::Again { at: seconds(107), counts: false, ambiguous: false });
        assert_eq!(verdict(Fault::Unauthorized, |_, _| {}), throttled);
        assert_eq!(verdict(Fault::Ambiguous, |_, _| {}), Verdict::Hold { until: seconds(150) });
        let transient = verdict(Fault::Transient, |_, _| {});
        assert!(
            matches!(transient, Verdict::Again { at, counts: true, ambiguous: false } if at <= seconds(102))
        );
        let told = verdict(Fault::Transient, |error, _| error.retry_after = Some(Duration::from_secs(60)));
        assert_eq!(told, Verdict::Again { at: seconds(160), counts: true, ambiguous: false });
        let reason = |verdict| if let Verdict::Fail(failure) = verdict { Some(failure.reason) } else { None };
        assert_eq!(reason(verdict(Fault::Rejected, |_, _| {})), Some(Reason::Rejected));
        assert_eq!(reason(verdict(Fault::BadRecipient, |_, _| {})), Some(Reason::BadRecipient));
        assert_eq!(
            reason(verdict(Fault::Transient, |_, queued| queued.tries = 2)),
            Some(Reason::RetriesExhausted)
        );
        let unsure = |_: &mut SendError, queued: &mut Queued| (queued.tries, queued.ambiguous) = (2, true);
        assert_eq!(reason(verdict(Fault::Transient, unsure)), Some(Reason::Ambiguous));
        let late = verdict(Fault::Transient, |_, queued| queued.expires_at = seconds(101));
        assert_eq!(reason(late), Some(Reason::RetriesExhausted));
    }
}
