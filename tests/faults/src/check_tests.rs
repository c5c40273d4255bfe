//! Histories that keep every promise, and histories that break one: each must be flagged, and for what it is.

#![allow(clippy::unwrap_used)]

use super::*;

/// One e-mail, accepted once, sent.
fn good() -> History {
    let mut history = History::default();
    ask(&mut history, 1, Channel::Email);
    history.handed = vec![handed(1, 100, 0, Reply::Given)];
    history
}

fn ask(history: &mut History, id: i64, channel: Channel) {
    let asked = Asked { channel, due: 50, at: 40, withdrawn_at: None };
    history.account.asked.insert(id, asked);
    let found = Found { status: Status::Sent, sent: true, failed: false, ambiguous: false };
    history.found.insert(id, found);
    history.activities.insert(id, 1);
}

fn handed(id: i64, at: i64, life: u32, reply: Reply) -> Handed {
    Handed { id, at, life, reply }
}

fn terms() -> Terms {
    Terms { repeats: Repeats::PerLife(1), once: vec![Channel::Sms], refusals: false, last_life: 1 }
}

/// The findings after a change to the good history, without their examples.
fn after(change: impl FnOnce(&mut History)) -> Findings {
    let mut history = good();
    change(&mut history);
    let mut findings = check(&history, &terms());
    findings.examples.clear();
    findings
}

fn only(change: impl FnOnce(&mut Findings)) -> Findings {
    let mut findings = Findings { acked: 1, ..Findings::default() };
    change(&mut findings);
    findings
}

fn set(history: &mut History, change: impl FnOnce(&mut Found)) {
    change(history.found.get_mut(&1).unwrap());
}

#[test]
fn what_is_good_is_found_good() {
    assert_eq!(after(|_| {}), only(|_| {}));
    assert!(after(|_| {}).ok());
    assert!(!after(|history| history.found.clear()).ok());
}

#[test]
fn an_acknowledged_message_that_is_not_there_is_lost() {
    let gone = after(|history| {
        history.found.clear();
        history.handed.clear();
    });
    assert_eq!(gone.lost, 1);
    assert_eq!(after(|history| history.handed.clear()), only(|found| found.lost = 1));
}

#[test]
fn what_nobody_asked_for_is_a_phantom() {
    let handed_off = after(|history| history.handed.push(handed(2, 100, 0, Reply::Given)));
    assert_eq!(handed_off, only(|found| found.phantom = 1));
    let stored = after(|history| {
        history.found.insert(2, history.found[&1]);
    });
    assert_eq!(stored, only(|found| found.phantom = 1));
    assert_eq!(after(|history| history.strange = 3), only(|found| found.phantom = 3));
}

#[test]
fn a_second_acceptance_needs_an_explanation() {
    let again = |first: Handed, second: Handed| {
        let found = after(|history| history.handed = vec![first, second]);
        assert_eq!(found.dup, 1);
        found.dup_unexplained
    };
    let given = handed(1, 100, 0, Reply::Given);
    assert_eq!(again(given, handed(1, 200, 0, Reply::Given)), 1, "the answer was given to a living process");
    assert_eq!(again(given, handed(1, 200, 1, Reply::Given)), 0, "the process was killed in between");
    assert_eq!(again(handed(1, 100, 0, Reply::Lost), handed(1, 200, 0, Reply::Given)), 0);
}

#[test]
fn more_repetitions_than_were_in_flight_are_flagged() {
    let found = after(|history| {
        ask(history, 2, Channel::Email);
        for id in [1, 2] {
            history.handed.push(handed(id, 90, 0, Reply::Given));
        }
        history.handed =
            [1, 2].iter().flat_map(|id| [0, 1].map(|life| handed(*id, 100, life, Reply::Given))).collect();
    });
    assert_eq!((found.dup, found.dup_unexplained), (2, 1));
}

#[test]
fn some_channels_know_no_excuse() {
    let found = after(|history| {
        history.account.asked.get_mut(&1).unwrap().channel = Channel::Sms;
        history.handed = vec![handed(1, 100, 0, Reply::Lost), handed(1, 200, 1, Reply::Given)];
    });
    assert_eq!(found.dup_unexplained, 1);
}

#[test]
fn before_its_time_is_early() {
    assert_eq!(after(|history| history.handed[0].at = 49), only(|found| found.early = 1));
}

#[test]
fn a_promised_withdrawal_is_kept() {
    let promise = |history: &mut History| history.account.asked.get_mut(&1).unwrap().withdrawn_at = Some(60);
    let broken = after(promise);
    assert_eq!((broken.cancel_broken, broken.status_mismatch), (1, 1));
    let kept = after(|history| {
        promise(history);
        history.handed.clear();
        history.activities.clear();
        set(history, |found| (found.status, found.sent) = (Status::Cancelled, false));
    });
    assert_eq!(kept, only(|_| {}));
    let unasked = after(|history| {
        history.handed.clear();
        history.activities.clear();
        set(history, |found| (found.status, found.sent) = (Status::Cancelled, false));
    });
    assert_eq!(unasked.status_mismatch, 1);
}

#[test]
fn what_has_not_ended_is_stuck() {
    let stuck = after(|history| {
        history.activities.clear();
        set(history, |found| (found.status, found.sent) = (Status::Queued, false));
    });
    assert_eq!(stuck, only(|found| found.stuck = 1));
}

#[test]
fn the_status_is_what_the_reports_make() {
    let reported = |reported: Reported, status: Status| {
        let found = after(|history| {
            history.reported.insert(1, reported);
            set(history, |found| found.status = status);
        });
        found.status_mismatch
    };
    let delivered = Reported { delivered: true, ..Reported::default() };
    assert_eq!(reported(delivered, Status::Delivered), 0);
    assert_eq!(reported(delivered, Status::Sent), 1);
    let bounced = Reported { failed: true, ..delivered };
    assert_eq!(reported(bounced, Status::Failed), 0, "an e-mail that came back");
    assert_eq!(reported(bounced, Status::Delivered), 1);
    let read = Reported { read: true, ..bounced };
    assert_eq!((reported(read, Status::Read), reported(read, Status::Failed)), (0, 1));
}

#[test]
fn nobody_knows_is_an_end_only_where_nobody_can_know() {
    let failed = |acceptances: Vec<Handed>| {
        let found = after(|history| {
            history.handed = acceptances;
            history.activities.clear();
            history.tickets.insert(1, 1);
            let end = Found { status: Status::Failed, sent: false, failed: true, ambiguous: true };
            set(history, |found| *found = end);
        });
        (found.status_mismatch, found.ambiguous)
    };
    assert_eq!(failed(vec![handed(1, 100, 0, Reply::Given)]), (0, 1), "its process was killed");
    assert_eq!(failed(vec![handed(1, 100, 1, Reply::Lost)]), (0, 1));
    assert_eq!(failed(vec![handed(1, 100, 1, Reply::Given)]), (1, 1), "the answer was given");
}

#[test]
fn every_effect_is_there_once() {
    assert_eq!(after(|history| history.activities.clear()), only(|found| found.effect_lost = 1));
    let twice = after(|history| {
        history.activities.insert(1, 2);
    });
    assert_eq!(twice, only(|found| found.effect_dup = 1));
    let ticket = after(|history| {
        history.tickets.insert(1, 1);
    });
    assert_eq!(ticket, only(|found| found.effect_dup = 1));
    let of_nothing = after(|history| {
        history.tickets.insert(9, 1);
    });
    assert_eq!(of_nothing, only(|found| found.effect_dup = 1));
}

#[test]
fn the_log_and_the_replays_count() {
    assert_eq!(after(|history| history.order_inversions = 2), only(|found| found.order_inv = 2));
    assert_eq!(
        after(|history| history.account.replay_mismatches = 1),
        only(|found| found.replay_mismatch = 1)
    );
}
