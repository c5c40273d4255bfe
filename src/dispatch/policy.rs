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
    /// How long until a provider can be asked again, when none can now.
    pub(super) rest: Option<Duration>,
    /// The provider was known to be in trouble: a failure of it is none of the message.
    pub(super) suspect: bool,
    /// Another provider, that did not refuse it since it last waited, can be asked now.
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

/// | fault | another provider can be asked | none can |
/// | --- | --- | --- |
/// | Transient | at once there; costs no try | with back-off; costs a try, but for a provider that was known to be in trouble |
/// | Throttled | at once there; costs no try | when the provider may be asked again; costs no try |
/// | Unauthorized | at once there; costs no try | kept until the provider is well; costs no try |
/// | Ambiguous | again at the same, held for a receipt, or looked up and then again, by [`Ambiguity`] | the same |
/// | Rejected, BadRecipient | fails | fails |
pub(super) fn decide(error: &SendError, case: &Case<'_>) -> Verdict {
    match error.fault {
        Fault::Rejected | Fault::BadRecipient => {
            Verdict::Fail(failure(error, reason_of(error.fault), case.now))
        }
        Fault::Throttled | Fault::Unauthorized | Fault::Transient if case.another => {
            Verdict::Again { at: case.now, counts: false, ambiguous: false }
        }
        Fault::Throttled | Fault::Unauthorized => {
            // Never the time of the try itself: that means that it goes on to another one.
            let wait = case.rest.unwrap_or_default().max(Duration::from_millis(1));
            Verdict::Again { at: case.now.plus(wait), counts: false, ambiguous: false }
        }
        Fault::Ambiguous if case.ambiguity == Ambiguity::Hold => {
            Verdict::Hold { until: case.now.plus(case.hold) }
        }
        // Looked up before the next try. Nobody looks after the last one: then a receipt is all that can help.
        Fault::Ambiguous
            if case.ambiguity == Ambiguity::Reconcile && case.queued.tries + 1 >= case.backoff.tries =>
        {
            Verdict::Hold { until: case.now.plus(case.hold) }
        }
        // One that may have arrived always counts: how often it may arrive is bounded by the number of tries.
        Fault::Ambiguous => again(error, case, true, true),
        Fault::Transient => again(error, case, false, !case.suspect),
    }
}

fn again(error: &SendError, case: &Case<'_>, ambiguous: bool, counts: bool) -> Verdict {
    let tries = case.queued.tries + 1;
    let wait = case.backoff.wait(tries, case.seed).max(error.retry_after.unwrap_or_default());
    let at = case.now.plus(wait);
    if (!counts || tries < case.backoff.tries) && at < case.queued.expires_at {
        return Verdict::Again { at, counts, ambiguous };
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
        with(fault, change, |_| {})
    }

    fn with(
        fault: Fault,
        change: impl FnOnce(&mut SendError, &mut Queued),
        case: impl FnOnce(&mut Case<'_>),
    ) -> Verdict {
        let adjust = case;
        let mut queued = Queued {
            wait: Wait::Leased,
            due_at: Timestamp(0),
            epoch: 1,
            tries: 0,
            ambiguous: false,
            expires_at: Timestamp::from_seconds(1_000_000),
            bytes: 0,
            losses: 0,
            paced: false,
        };
        let mut error = SendError::new(fault, "no");
        change(&mut error, &mut queued);
        let second = Duration::from_secs(1);
        let mut case = Case {
            queued: &queued,
            now: Timestamp::from_seconds(100),
            backoff: Backoff { first: second * 2, max: second * 900, tries: 3 },
            seed: 1,
            ambiguity: ambiguity(None, false, Channel::Sms),
            hold: second * 50,
            rest: Some(second * 7),
            suspect: false,
            another: false,
        };
        adjust(&mut case);
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

    #[test]
    fn what_one_provider_surely_did_not_take_goes_on_to_another_at_once() {
        let at_once = Verdict::Again { at: Timestamp::from_seconds(100), counts: false, ambiguous: false };
        for fault in [Fault::Transient, Fault::Throttled, Fault::Unauthorized] {
            assert_eq!(with(fault, |_, _| {}, |case| case.another = true), at_once, "{fault:?}");
        }
        // What may have been taken, or is the message's own fault, does not.
        for fault in [Fault::Ambiguous, Fault::Rejected, Fault::BadRecipient] {
            let alone = with(fault, |_, _| {}, |_| {});
            assert_eq!(with(fault, |_, _| {}, |case| case.another = true), alone, "{fault:?}");
        }
    }

    #[test]
    fn what_can_be_looked_up_is_tried_again_and_held_at_the_end() {
        let reconcile = |case: &mut Case<'_>| case.ambiguity = Ambiguity::Reconcile;
        let again = with(Fault::Ambiguous, |_, _| {}, reconcile);
        assert!(matches!(again, Verdict::Again { counts: true, ambiguous: true, .. }), "{again:?}");
        let last = with(Fault::Ambiguous, |_, queued| queued.tries = 2, reconcile);
        assert_eq!(last, Verdict::Hold { until: Timestamp::from_seconds(150) });
    }

    #[test]
    fn a_provider_that_is_known_to_be_in_trouble_costs_no_try() {
        let last = |_: &mut SendError, queued: &mut Queued| queued.tries = 2;
        let again = with(Fault::Transient, last, |case| case.suspect = true);
        assert!(matches!(again, Verdict::Again { counts: false, .. }), "{again:?}");
        let retry = |case: &mut Case<'_>| (case.suspect, case.ambiguity) = (true, Ambiguity::Retry);
        let unsure = with(Fault::Ambiguous, last, retry);
        assert!(matches!(unsure, Verdict::Fail(_)), "what may have arrived counts: {unsure:?}");
    }
}
