//! Times that callers give.

use std::time::Duration;

use super::Violations;
use crate::model::Timestamp;

/// A time this little in the past means now: clocks differ.
const LEEWAY: Duration = Duration::from_secs(5 * 60);
/// Nothing is scheduled further ahead.
const HORIZON: Duration = Duration::from_secs(366 * 24 * 3600);

/// When to send: `None` is now.
pub(crate) fn schedule(
    violations: &mut Violations,
    field: &str,
    at: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    let at = at?;
    if at < now.minus(LEEWAY) {
        violations.add(field, "lies more than 5 minutes in the past; leave it out to send now");
    } else if at > now.plus(HORIZON) {
        violations.add(field, "lies more than 366 days ahead");
    }
    (at > now).then_some(at)
}

/// When to give up: after now, and after the time of sending.
pub(super) fn expiry(
    violations: &mut Violations,
    expires_at: Option<Timestamp>,
    scheduled_at: Option<Timestamp>,
    now: Timestamp,
) {
    let Some(expires_at) = expires_at else { return };
    if expires_at <= now {
        violations.add("expires_at", "must lie in the future");
    } else if scheduled_at.is_some_and(|at| expires_at <= at) {
        violations.add("expires_at", "must lie after scheduled_at");
    }
}

/// When something is said to have happened: now when unset, never in the future.
pub(crate) fn happened_at(violations: &mut Violations, at: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let Some(at) = at else { return now };
    if at > now.plus(LEEWAY) {
        violations.add("at", "lies in the future; leave it out for now");
    } else if at <= Timestamp(0) {
        violations.add("at", "lies before 1970");
    }
    at.min(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_send() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let second = Duration::from_secs(1);
        let at = |at| {
            let mut violations = Violations::default();
            let due = schedule(&mut violations, "scheduled_at", Some(at), now);
            (due, violations.names("scheduled_at"))
        };
        assert_eq!(at(now.plus(second)), (Some(now.plus(second)), false));
        assert_eq!(at(now), (None, false));
        assert_eq!(at(now.minus(LEEWAY)), (None, false));
        assert_eq!(at(now.minus(LEEWAY).minus(second)), (None, true));
        assert_eq!(at(Timestamp::from_seconds(-1)), (None, true));
        assert!(!at(now.plus(HORIZON)).1);
        assert!(at(now.plus(HORIZON).plus(second)).1);
        assert!(at(Timestamp::from_seconds(253_402_300_799)).1);
    }

    #[test]
    fn times_to_give_up() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let later = now.plus(Duration::from_secs(60));
        let bad = |expires_at, scheduled_at| {
            let mut violations = Violations::default();
            expiry(&mut violations, expires_at, scheduled_at, now);
            violations.names("expires_at")
        };
        assert!(!bad(None, Some(later)) && !bad(Some(later), None));
        assert!(bad(Some(now), None) && bad(Some(later), Some(later)));
    }

    #[test]
    fn times_of_reports() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let mut violations = Violations::default();
        assert_eq!(happened_at(&mut violations, None, now), now);
        assert_eq!(happened_at(&mut violations, Some(now.plus(Duration::from_secs(9))), now), now);
        assert_eq!(violations, Violations::default());
        happened_at(&mut violations, Some(now.plus(Duration::from_secs(400))), now);
        happened_at(&mut violations, Some(Timestamp(-5)), now);
        assert_eq!(violations.0.len(), 2);
    }
}
