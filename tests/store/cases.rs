//! What each database must do, case by case.

use super::*;

pub(crate) async fn accepted_is_there_with_its_place_and_events(bench: Bench) {
    let mut draft = sms();
    draft.html_body = Some("<b>hello</b>".to_owned());
    draft.headers = vec![("X-One".to_owned(), "1".to_owned())];
    draft.metadata = serde_json::json!({"order": 7, "who": {"name": "Ada"}}).as_object().cloned();
    draft.tags = vec!["a".to_owned()];
    let new = bench.message(draft);
    let id = new.message.state.id;
    bench.store.accept(Accept { messages: vec![new.clone()], request: None }).await.unwrap();
    let read = bench.store.message(&Tenant::default(), id).await.unwrap().unwrap();
    assert_eq!(read, *new.message);
    assert_eq!(bench.store.message(&Tenant::new("other").unwrap(), id).await.unwrap(), None);
    assert_eq!(bench.store.row(id).await.unwrap().unwrap().queued, new.queued);
    assert_eq!(bench.kinds(id).await, [kind::MESSAGE_CREATED, kind::MESSAGE_QUEUED]);
    assert_eq!(bench.store.queued(), 1);
}

pub(crate) async fn a_repeated_request_is_answered_and_changes_nothing(bench: Bench) {
    let accept = |hash| Accept { messages: vec![bench.message(sms())], request: Some(key("one", hash)) };
    // Twins at once: one is done, the other is told so.
    let (first, second) = tokio::join!(bench.store.accept(accept(1)), bench.store.accept(accept(1)));
    let mut answers = [first.unwrap(), second.unwrap()];
    answers.sort_by_key(|ack| *ack != Ack::Done);
    assert_eq!(answers, [Ack::Done, Ack::Replayed("\"1\"".to_owned())]);
    let other = bench.store.accept(accept(2)).await;
    assert!(matches!(other, Err(StoreError::Clash(Clash::RequestId))));
    assert_eq!(bench.store.queued(), 1);
    assert_eq!(bench.store.request(&key("one", 1)).await.unwrap(), Some("\"1\"".to_owned()));
    assert_eq!(bench.store.request(&key("two", 1)).await.unwrap(), None);
    assert_eq!(bench.store.purge_requests(NOW.plus(Duration::from_secs(1))).await.unwrap(), 1);
    assert_eq!(bench.store.accept(accept(3)).await.unwrap(), Ack::Done);
}

pub(crate) async fn a_refused_request_uses_no_id_up(bench: Bench) {
    let id = bench.accept(sms()).await;
    let retry = |step| {
        let mut change = Change::internal(id, step, "user_test".into(), NOW);
        change.request = Some(key("again", 1));
        change
    };
    // Twins of one group, both refused: neither is a repetition of the other.
    let (one, other) =
        tokio::join!(bench.store.change(retry(Step::Retry)), bench.store.change(retry(Step::Retry)));
    for refused in [one, other] {
        assert!(matches!(refused, Err(StoreError::Refused(Refusal::Status(Status::Queued), _))));
    }
    let done = bench.store.change(retry(Step::Cancel)).await.unwrap();
    assert!(matches!(done, Changed::Done(row) if row.state.status() == Status::Cancelled));
    assert!(matches!(bench.store.change(retry(Step::Cancel)).await.unwrap(), Changed::Replayed(_)));
}

pub(crate) async fn claims_are_exclusive_and_in_the_order_of_the_lanes(bench: Bench) {
    use headlessly_communication::model::Priority::{Bulk, Normal, Transactional};
    for priority in [Bulk, Normal, Transactional, Bulk] {
        bench.accept(Draft { priority, ..sms() }).await;
    }
    let (one, other) = tokio::join!(bench.claim(2, NOW), bench.claim(10, NOW));
    let lanes: Vec<_> = one.iter().chain(&other).map(|claimed| claimed.message.state.priority).collect();
    assert_eq!(lanes, [Transactional, Normal, Bulk, Bulk]);
    assert!(bench.claim(10, NOW).await.is_empty());
    assert!(one.iter().all(|claimed| claimed.queued.wait == Wait::Leased && claimed.queued.epoch == 1));
}

pub(crate) async fn a_stale_result_is_kept_apart(bench: Bench) {
    let id = bench.accept(sms()).await;
    let first = bench.claim(1, NOW).await.remove(0);
    let late = NOW.plus(Duration::from_secs(61));
    assert_eq!(bench.store.sweep(late, false).await.unwrap().released, 1);
    let after = late.plus(Limits::DEFAULT.backoff.first);
    let second = bench.claim(1, after).await.remove(0);
    let stale = bench.store.change(bench.outcome(&first, taken(), Some("SM1"))).await;
    assert!(matches!(stale, Err(StoreError::Refused(Refusal::Stale, _))));
    assert_eq!(bench.status(id).await, Status::Queued);
    bench.store.change(bench.outcome(&second, taken(), Some("SM2"))).await.unwrap();
    assert_eq!(bench.status(id).await, Status::Sent);
    let attempts = bench.store.attempts(id).await.unwrap();
    assert_eq!(attempts.iter().map(|attempt| attempt.orphan).collect::<Vec<_>>(), [true, false]);
    // It was sent all the same, and its receipt counts.
    bench.store.put_receipts(vec![bench.delivered("SM1")]).await.unwrap();
    assert_eq!(bench.status(id).await, Status::Delivered);
}

pub(crate) async fn a_receipt_waits_for_its_message(bench: Bench) {
    let id = bench.accept(sms()).await;
    let claimed = bench.claim(1, NOW).await.remove(0);
    bench.store.put_receipts(vec![bench.delivered("SM1"), bench.delivered("SM1")]).await.unwrap();
    assert_eq!(bench.store.apply_receipts(NOW, 10).await.unwrap().total(), 0, "parked, not to be applied");
    let waiting = bench.store.receipts_waiting();
    bench.store.change(bench.outcome(&claimed, taken(), Some("SM1"))).await.unwrap();
    assert!(waiting.has_changed().unwrap());
    assert_eq!(bench.store.apply_receipts(NOW, 10).await.unwrap().applied, 2);
    assert_eq!(bench.status(id).await, Status::Delivered);
    let events = [kind::MESSAGE_CREATED, kind::MESSAGE_QUEUED, kind::MESSAGE_SENT, kind::MESSAGE_DELIVERED];
    assert_eq!(bench.kinds(id).await, events);
}

pub(crate) async fn effects_move_with_their_place_in_the_log(bench: Bench) {
    let id = bench.accept(sms()).await;
    let about = bench.store.about(&[id]).await.unwrap().remove(0);
    let event = bench.store.last_event().await.unwrap();
    let effects = |from| Effects {
        consumer: "test",
        from,
        to: event.0,
        activities: vec![activity_on_sent(&about, ActivityId(bench.ids.next(NOW)), event, NOW)],
        tickets: Vec::new(),
    };
    let (one, other) = tokio::join!(bench.store.put_effects(effects(0)), bench.store.put_effects(effects(0)));
    let refused = [one, other].into_iter().filter(Result::is_err).count();
    assert_eq!(refused, 1, "one of two goes on from the same place");
    assert_eq!(bench.store.consumer("test").await.unwrap(), event.0);
    // The wall behind it: an event that has its activity gets no second one, and the place does not move.
    assert!(bench.store.put_effects(Effects { to: event.0 + 1, ..effects(event.0) }).await.is_err());
    assert_eq!(bench.store.consumer("test").await.unwrap(), event.0);
}

pub(crate) async fn one_that_fails_takes_no_other_with_it(bench: Bench) {
    let id = bench.accept(sms()).await;
    let about = bench.store.about(&[id]).await.unwrap().remove(0);
    let event = bench.store.last_event().await.unwrap();
    let activity = |event| activity_on_sent(&about, ActivityId(bench.ids.next(NOW)), event, NOW);
    let effects = |from, event| Effects {
        consumer: "test",
        from,
        to: from + 1,
        activities: vec![activity(event)],
        tickets: Vec::new(),
    };
    bench.store.put_effects(effects(0, event)).await.unwrap();
    // All of these meet in the same few transactions, and the one in the middle breaks its own.
    let ids: Vec<ActivityId> = (0..40).map(|_| ActivityId(bench.ids.next(NOW))).collect();
    let record = |id: &ActivityId| {
        let record = Record::Activity(Activity { id: *id, event: None, ..activity(event) });
        bench.store.put_record(record, None)
    };
    let (before, after) = ids.split_at(20);
    let (first, broken, last) = tokio::join!(
        futures_util::future::join_all(before.iter().map(record)),
        bench.store.put_effects(effects(1, event)),
        futures_util::future::join_all(after.iter().map(record)),
    );
    assert!(broken.is_err(), "an event makes one activity at most");
    assert!(first.into_iter().chain(last).all(|done| done.is_ok()));
    for id in ids {
        let stored = bench.store.activity(&Tenant::default(), id).await.unwrap();
        assert!(stored.is_some(), "what was answered is there");
    }
    assert_eq!(bench.store.consumer("test").await.unwrap(), 1);
}

pub(crate) async fn what_was_claimed_is_found_again(bench: Bench) {
    let id = bench.accept(sms()).await;
    assert_eq!(bench.claim(1, NOW).await.len(), 1);
    assert_eq!(bench.store.sweep(NOW, false).await.unwrap().released, 0, "the lease still runs");
    // At the start of the only process what is claimed was claimed by one that is gone; another node may still be at it.
    let (alone, over) = (bench.folder.is_some(), NOW.plus(Duration::from_secs(60)));
    assert_eq!(bench.store.sweep(NOW, true).await.unwrap().released, usize::from(alone));
    assert_eq!(bench.store.sweep(over, false).await.unwrap().released, usize::from(!alone));
    assert!(bench.claim(1, NOW).await.is_empty(), "what was lost together does not come back together");
    let again = bench.claim(1, over.plus(Limits::DEFAULT.backoff.first)).await.remove(0);
    assert_eq!((again.message.state.id, again.queued.epoch), (id, 2));
    assert!(again.queued.ambiguous, "the first try may have reached the provider");
}

pub(crate) async fn what_waits_too_long_expires(bench: Bench) {
    let soon = NOW.plus(Duration::from_secs(10));
    let early = bench.accept(Draft { expires_at: Some(soon), ..sms() }).await;
    let later = bench.accept(sms()).await;
    assert_eq!(bench.store.sweep(soon, false).await.unwrap().ended, 1);
    assert_eq!((bench.status(early).await, bench.status(later).await), (Status::Expired, Status::Queued));
    assert_eq!(bench.store.queued(), 1);
    let fact = Fact::Delivered(NOW);
    let learn = Step::Learn { fact, generation: None };
    bench.store.change(Change::internal(early, learn, "test".into(), NOW)).await.unwrap();
    assert_eq!(bench.status(early).await, Status::Delivered, "whatever we decided, somebody has it");
}

pub(crate) async fn tenants_take_turns(bench: Bench) {
    let of = |tenant: &str, count: usize| -> Vec<NewMessage> {
        let tenant = Tenant::new(tenant).unwrap();
        (0..count).map(|_| bench.message_of(tenant.clone(), sms())).collect()
    };
    // One has a lot waiting before the others come.
    for (tenant, count) in [("loud", 300), ("b", 2), ("c", 40), ("a", 1)] {
        bench.store.accept(Accept { messages: of(tenant, count), request: None }).await.unwrap();
    }
    let later = NOW.plus(Duration::from_secs(1));
    let counts = |claimed: Vec<Claimed>| {
        let mut counts = std::collections::BTreeMap::new();
        for one in claimed {
            *counts.entry(one.message.state.tenant.to_string()).or_insert(0) += 1;
        }
        counts.into_iter().collect::<Vec<(String, i32)>>()
    };
    let named = |list: &[(&str, i32)]| -> Vec<(String, i32)> {
        list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    let first = counts(bench.claim(8, later).await);
    assert_eq!(
        first,
        named(&[("a", 1), ("b", 2), ("c", 3), ("loud", 2)]),
        "each its share, the rest to who has more"
    );
    let one: Vec<_> = [bench.claim(1, later).await, bench.claim(1, later).await].concat();
    assert_eq!(counts(one), named(&[("c", 1), ("loud", 1)]), "a claim goes on where the last one ended");
    let rest = counts(bench.claim(500, later).await);
    assert_eq!(rest, named(&[("c", 36), ("loud", 297)]));
    assert!(bench.claim(1, later).await.is_empty());
    assert_eq!(bench.store.depth(Channel::Sms).await.unwrap().next_due, None);
}

pub(crate) async fn the_log_is_read_in_order_while_it_grows(bench: Bench) {
    let bench = Arc::new(bench);
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let bench = bench.clone();
            tokio::spawn(async move {
                for _ in 0..40 {
                    bench.accept(sms()).await;
                }
            })
        })
        .collect();
    let (mut seen, mut after, mut commits) = (0, 0, bench.store.commits());
    while seen < 8 * 40 * 2 {
        commits.borrow_and_update();
        let query = EventQuery { tenant: None, after, limit: 100, target: None };
        let events = bench.store.events(query).await.unwrap();
        let page = events.len();
        for event in events {
            assert!(event.id.0 > after, "in order, once");
            (after, seen) = (event.id.0, seen + 1);
        }
        // A full page: there is more already.
        if page < 100 && seen < 8 * 40 * 2 {
            tokio::time::timeout(Duration::from_secs(20), commits.changed()).await.unwrap().unwrap();
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let query = EventQuery { tenant: None, after: 0, limit: 1_000, target: None };
    assert_eq!(bench.store.events(query).await.unwrap().len(), seen, "nothing appeared behind the reader");
    assert_eq!(bench.store.last_event().await.unwrap().0, after);
}
