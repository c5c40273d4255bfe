//! One transaction of the writer: accepts first, then changes, then the rest, each kind of row in one go.

use std::collections::HashSet;

use super::{
    super::dialect,
    after::After,
    bulk::{Conn, Script},
    change, entities,
    insert::{self, Place},
    queue, receipts, rewrite,
    signals::Signals,
    writer::{Answer, Job, Work},
};
use crate::{
    model::{event::NewEvent, verbs::Wait},
    store::{Accept, Ack, Change, Claimed, NewMessage, RequestKey, StoreError, Turn},
};

/// The transaction itself. Its ends travel with what is between them: a transaction that only accepts a few messages is one way to
/// the database.
pub(super) async fn fill(
    conn: &mut Conn,
    jobs: &mut [Job],
    signals: &Signals,
    after: &mut After,
) -> Result<(), StoreError> {
    let mut script = Script::default();
    script.say(conn, dialect::BEGIN).await?;
    accepts(conn, &mut script, jobs, signals, after).await?;
    changes(conn, &mut script, jobs, after).await?;
    for job in jobs.iter_mut().filter(|job| job.answer.is_none()) {
        script.flush(conn).await?;
        job.answer = Some(other(conn, &job.work, signals, after).await?);
    }
    script.say(conn, signals.ending).await?;
    script.flush(conn).await
}

async fn accepts(
    conn: &mut Conn,
    script: &mut Script,
    jobs: &mut [Job],
    signals: &Signals,
    after: &mut After,
) -> Result<(), StoreError> {
    let accepts: Vec<&Accept> = jobs
        .iter()
        .filter_map(|job| if let Work::Accept(accept) = &job.work { Some(accept) } else { None })
        .collect();
    if accepts.is_empty() {
        return Ok(());
    }
    let keys: Vec<&RequestKey> = accepts.iter().filter_map(|accept| accept.request.as_ref()).collect();
    if !keys.is_empty() {
        script.flush(conn).await?;
    }
    let mut acks = insert::requests(conn, &keys).await?.into_iter();
    let (mut answers, mut new): (Vec<Result<Ack, StoreError>>, Vec<&NewMessage>) = (Vec::new(), Vec::new());
    for accept in &accepts {
        let ack = accept.request.as_ref().and_then(|_| acks.next()).unwrap_or(Ok(Ack::Done));
        if matches!(ack, Ok(Ack::Done)) {
            new.extend(&accept.messages);
        }
        answers.push(ack);
    }
    insert::messages(conn, script, &new).await?;
    let (places, events) = arrange(&new, signals, after);
    insert::places(conn, script, &places).await?;
    insert::events(conn, script, &events).await?;
    after.log |= !events.is_empty();
    let waiting = jobs.iter_mut().filter(|job| matches!(job.work, Work::Accept(_)));
    for (job, ack) in waiting.zip(answers) {
        job.answer = Some(ack.map(Answer::Ack));
    }
    Ok(())
}

/// The places of new messages: claimed at the door where there is room, ready otherwise.
fn arrange(new: &[&NewMessage], signals: &Signals, after: &mut After) -> (Vec<Place>, Vec<NewEvent>) {
    let mut places = Vec::with_capacity(new.len());
    let mut events = Vec::with_capacity(new.len() * 2);
    let mut full = HashSet::new();
    for new in new {
        events.extend(new.events.iter().cloned());
        let state = &new.message.state;
        let (Some(queued), Some(channel)) = (&new.queued, state.channel) else { continue };
        let mut queued = queued.clone();
        let due = state.facts.queued.is_some();
        let taker = signals.taker.get().filter(|_| due);
        let turn = taker.map_or(Turn::Free, |taker| taker.book(channel, state.sender.as_deref()));
        queued.paced = turn != Turn::Free;
        let slot = match turn {
            // It waits for its time in the lane of its sender.
            Turn::At(at) => {
                queued.due_at = at;
                None
            }
            _ => taker.filter(|_| !full.contains(&(channel, state.priority))),
        };
        match slot.map(|taker| taker.reserve(channel, state.priority)) {
            Some(Some((slot, lease))) => {
                queued.wait = Wait::Leased;
                queued.epoch += 1;
                queued.due_at = queued.due_at.plus(lease);
                after.slots.push((slot, Claimed { message: new.message.clone(), queued: queued.clone() }));
            }
            Some(None) => {
                full.insert((channel, state.priority));
                after.wake(channel);
            }
            None => after.wake(channel),
        }
        after.joins(&state.tenant, &queued);
        places.push(change::place(state, channel, &queued));
    }
    (places, events)
}

async fn changes(
    conn: &mut Conn,
    script: &mut Script,
    jobs: &mut [Job],
    after: &mut After,
) -> Result<(), StoreError> {
    let changes: Vec<&Change> = jobs
        .iter()
        .filter_map(|job| if let Work::Change(change) = &job.work { Some(&**change) } else { None })
        .collect();
    if changes.is_empty() {
        return Ok(());
    }
    let results = change::changes(conn, script, &changes, after).await?;
    let waiting = jobs.iter_mut().filter(|job| matches!(job.work, Work::Change(_)));
    for (job, result) in waiting.zip(results) {
        job.answer = Some(result.map(Answer::Changed));
    }
    Ok(())
}

async fn other(
    conn: &mut Conn,
    work: &Work,
    signals: &Signals,
    after: &mut After,
) -> Result<Result<Answer, StoreError>, StoreError> {
    let unit = Answer::Count(0);
    Ok(match work {
        Work::Accept(_) | Work::Change(_) => Ok(unit),
        Work::Rewrite(work) => rewrite::rewrite(conn, work, after).await?.map(Answer::Changed),
        Work::Claim(work) => {
            let mut turns = std::mem::take(&mut *signals.turns());
            let claimed = queue::claim(conn, work, &mut turns, after).await;
            *signals.turns() = turns;
            Ok(Answer::Claimed(claimed?))
        }
        Work::Renew(leases, until) => queue::renew(conn, leases, *until).await.map(|()| unit),
        Work::Sweep(now, all) => Ok(Answer::Swept(queue::sweep(conn, *now, *all, after).await?)),
        Work::Release(leases, now) => Ok(Answer::Swept(queue::release(conn, leases, *now, after).await?)),
        Work::Probe(now) => entities::probe(conn, *now, after).await.map(|()| Ok(unit))?,
        Work::PutReceipts(new) => match receipts::take(conn, new, after).await {
            // Whatever is wrong with a stored row, what the vendor said is kept.
            Err(StoreError::Corrupt(problem)) => {
                tracing::error!(problem, "receipts cannot be applied yet");
                receipts::keep(conn, new, after).await.map(|()| unit)
            }
            taken => taken.map(|()| unit),
        },
        Work::ApplyReceipts(now, limit) => {
            Ok(Answer::Applied(receipts::apply(conn, *now, *limit, after).await?))
        }
        Work::Effects(work) => entities::effects(conn, work, after).await?.map(|()| unit),
        Work::Contact(work) => entities::contact(conn, work, after).await?.map(Answer::Ack),
        Work::Device(work) => entities::device(conn, work, after).await?.map(Answer::Ack),
        Work::Record(work, request) => {
            entities::record(conn, work, request.as_ref(), after).await?.map(Answer::Ack)
        }
        Work::Key(key) => entities::key(conn, key).await.map(|()| unit),
        Work::Purge(before) => Ok(Answer::Count(entities::purge(conn, before.0).await?)),
    })
}
