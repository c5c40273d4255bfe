//! Steps of messages: load the rows, apply the pure step, write what came out.

use std::collections::HashMap;

use super::{
    super::dialect,
    after::After,
    bulk::{Bulk, Conn, Script},
    insert::{self, Place, Tried},
    parked,
    rows::{Reader, full_row, place_columns, reporting_number, state_columns},
};
use crate::{
    model::{
        Channel, Timestamp,
        event::NewEvent,
        ids::{MessageId, Tenant},
        limits::Limits,
        message::State,
        status::Reason,
        verbs::{By, Queued, Refusal, Row, Wait, apply},
    },
    store::{Ack, Change, Changed, RequestKey, StoreError},
};

static LOAD: Bulk = Bulk::among(
    concat!(
        "SELECT ",
        state_columns!(),
        ", ",
        place_columns!(),
        " FROM message LEFT JOIN queue q ON q.message_id = message.id WHERE message.id IN ("
    ),
    0,
    ")",
);

// `recipient` is not among them: it is in an index, and only the sending of a draft changes it.
static SAVE: Bulk = Bulk::with(
    "WITH v (id, version, updated_at, channel, scheduled_at, expires_at, status, generation, accepted_at, queued_at, \
     sent_at, delivered_at, read_at, failed_at, failure_reason, failure_code, failure_detail, cancelled_at, expired_at, \
     provider, provider_message_id, attempts, reporting, deleted_at, erase) AS (VALUES ",
    &[
        "BIGINT", "BIGINT", "BIGINT", "TEXT", "BIGINT", "BIGINT", "TEXT", "INTEGER", "BIGINT", "BIGINT",
        "BIGINT", "BIGINT", "BIGINT", "BIGINT", "TEXT", "TEXT", "TEXT", "BIGINT", "BIGINT", "TEXT", "TEXT",
        "INTEGER", "SMALLINT", "BIGINT", "SMALLINT",
    ],
    ") UPDATE message SET version = v.version, updated_at = v.updated_at, channel = v.channel, \
     scheduled_at = v.scheduled_at, expires_at = v.expires_at, status = v.status, generation = v.generation, \
     accepted_at = v.accepted_at, queued_at = v.queued_at, sent_at = v.sent_at, delivered_at = v.delivered_at, \
     read_at = v.read_at, failed_at = v.failed_at, failure_reason = v.failure_reason, failure_code = v.failure_code, \
     failure_detail = v.failure_detail, cancelled_at = v.cancelled_at, expired_at = v.expired_at, provider = v.provider, \
     provider_message_id = v.provider_message_id, attempts = v.attempts, reporting = v.reporting, \
     deleted_at = v.deleted_at, body = CASE WHEN v.erase = 1 THEN '' ELSE message.body END \
     FROM v WHERE message.id = v.id",
);

static LEAVE: Bulk = Bulk::among("DELETE FROM queue WHERE message_id IN (", 0, ")");

static ERASE_PARTS: Bulk = Bulk::among("DELETE FROM message_part WHERE message_id IN (", 0, ")");

/// The rows of messages, as they were and as they become within one transaction.
#[derive(Default)]
pub(in super::super) struct Rows {
    rows: HashMap<MessageId, (Row, Row)>,
    /// Those that are there and cannot be read, with the reason.
    unreadable: HashMap<MessageId, String>,
    events: Vec<NewEvent>,
    tries: Vec<Tried>,
    recipients: Vec<(MessageId, String)>,
}

impl Rows {
    /// Loads the rows of these messages that are not loaded yet.
    pub(in super::super) async fn load(
        &mut self,
        conn: &mut Conn,
        ids: &[MessageId],
    ) -> Result<(), StoreError> {
        let mut missing: Vec<i64> =
            ids.iter().filter(|id| !self.rows.contains_key(id)).map(|id| id.0).collect();
        missing.sort_unstable();
        missing.dedup();
        // A message's row guards its place in the queue too. Locked first and read after: what another node wrote until then is seen.
        if let Some(lock) = dialect::LOCK {
            lock.run(conn, &missing, |args, id| args.bind(*id)).await?;
        }
        for row in LOAD.fetch(conn, |args| args, &missing, |args, id| args.bind(*id)).await? {
            match full_row(&row) {
                Ok(row) => drop(self.rows.insert(row.state.id, (row.clone(), row))),
                Err(StoreError::Corrupt(what)) => {
                    self.unreadable.insert(MessageId(Reader::new(&row, 0).get()?), what);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether every row that was loaded could be read.
    pub(in super::super) fn readable(&self) -> Result<(), StoreError> {
        self.unreadable.values().next().map_or(Ok(()), |what| Err(StoreError::Corrupt(what.clone())))
    }

    /// Why there is nothing to go by for this message.
    pub(in super::super) fn defect(&self, id: MessageId) -> Option<String> {
        if self.rows.contains_key(&id) {
            return None;
        }
        Some(self.unreadable.get(&id).cloned().unwrap_or_else(|| "there is no such message".to_owned()))
    }

    /// The row as it is now.
    pub(in super::super) fn get(&self, id: MessageId) -> Option<&Row> {
        self.rows.get(&id).map(|(_, now)| now)
    }

    /// Applies a step.
    pub(in super::super) fn step(
        &mut self,
        tenant: Option<&Tenant>,
        id: MessageId,
        step: &crate::model::verbs::Step,
        by: By<'_>,
    ) -> Result<(), StoreError> {
        self.addressed(tenant, id, None, step, by)
    }

    /// Applies a step that settles the recipient too. A refused one settles nothing.
    fn addressed(
        &mut self,
        tenant: Option<&Tenant>,
        id: MessageId,
        recipient: Option<&String>,
        step: &crate::model::verbs::Step,
        by: By<'_>,
    ) -> Result<(), StoreError> {
        let Some((_, row)) = self.rows.get_mut(&id) else {
            let what = self.unreadable.get(&id);
            return Err(what.map_or(StoreError::NotFound, |what| StoreError::Corrupt(what.clone())));
        };
        if tenant.is_some_and(|tenant| *tenant != row.state.tenant) {
            return Err(StoreError::NotFound);
        }
        let mut next = row.clone();
        next.state.recipient = recipient.cloned().or(next.state.recipient);
        match apply(&mut next, step, by) {
            Ok(events) => {
                self.recipients.extend(recipient.map(|recipient| (id, recipient.clone())));
                *row = next;
                self.events.extend(events);
                Ok(())
            }
            Err(refusal) => Err(StoreError::Refused(refusal, Box::new(row.clone()))),
        }
    }

    fn change(&mut self, change: &Change, limits: &Limits) -> Result<Changed, StoreError> {
        let by = By { now: change.now, actor: &change.actor, limits };
        let recipient = change.recipient.as_ref();
        let result = self.addressed(change.tenant.as_ref(), change.id, recipient, &change.step, by);
        if let (Some(attempt), Some(row)) = (&change.attempt, self.get(change.id)) {
            let tried = Tried {
                tenant: row.state.tenant.clone(),
                message: change.id,
                generation: row.state.generation,
                attempt: attempt.clone(),
                ended_at: change.now,
                orphan: matches!(result, Err(StoreError::Refused(Refusal::Stale, _))),
            };
            self.tries.push(tried);
        }
        result?;
        let place = self.rows.get_mut(&change.id).and_then(|(_, now)| now.queued.as_mut());
        if let (Some(bytes), Some(place)) = (change.bytes, place) {
            place.bytes = bytes;
        }
        self.get(change.id).map(|row| Changed::Done(Box::new(row.clone()))).ok_or(StoreError::NotFound)
    }

    /// Writes everything that changed.
    pub(in super::super) async fn save(
        self,
        conn: &mut Conn,
        script: &mut Script,
        after: &mut After,
    ) -> Result<(), StoreError> {
        let mut changed: Vec<&(Row, Row)> =
            self.rows.values().filter(|(before, now)| before != now).collect();
        // In the order of their keys: good for the pages, and two nodes cannot lock crosswise.
        changed.sort_unstable_by_key(|(_, now)| now.state.id);
        let states: Vec<(&State, bool)> = changed
            .iter()
            .filter(|(before, now)| before.state != now.state)
            .map(|(before, now)| (&now.state, erases(before, now)))
            .collect();
        save_states(conn, script, &states).await?;
        let erased: Vec<i64> =
            states.iter().filter(|(_, erase)| *erase).map(|(state, _)| state.id.0).collect();
        script.add(conn, &ERASE_PARTS, &erased, |args, id| args.bind(*id)).await?;
        let (mut places, mut gone) = (Vec::new(), Vec::new());
        for (before, now) in changed.iter().filter(|(before, now)| before.queued != now.queued) {
            if let Some(queued) = &before.queued {
                after.leaves(&before.state.tenant, queued);
            }
            if let Some(queued) = &now.queued {
                after.joins(&now.state.tenant, queued);
            }
            match (&now.queued, now.state.channel) {
                (Some(queued), Some(channel)) => {
                    if queued.wait == Wait::Ready {
                        after.wake(channel);
                    }
                    places.push(place(&now.state, channel, queued));
                }
                _ if before.queued.is_some() => gone.push(now.state.id.0),
                _ => {}
            }
        }
        insert::places(conn, script, &places).await?;
        script.add(conn, &LEAVE, &gone, |args, id| args.bind(*id)).await?;
        for (id, recipient) in &self.recipients {
            sqlx::query("UPDATE message SET recipient = $1 WHERE id = $2")
                .bind(recipient.clone())
                .bind(id.0)
                .execute(&mut *conn)
                .await
                .map_err(dialect::error)?;
        }
        after.log |= !self.events.is_empty();
        insert::events(conn, script, &self.events).await?;
        insert::attempts(conn, script, &self.tries).await
    }
}

/// The body of a sensitive message goes with its hand-off.
fn erases(before: &Row, now: &Row) -> bool {
    now.state.sensitive && !before.state.facts.is_out() && now.state.facts.is_out()
}

/// A message's place with what else its row in the queue holds.
pub(in super::super) fn place(state: &State, channel: Channel, queued: &Queued) -> Place {
    Place {
        id: state.id,
        tenant: state.tenant.clone(),
        channel,
        priority: state.priority,
        queued: queued.clone(),
    }
}

async fn save_states(
    conn: &mut Conn,
    script: &mut Script,
    states: &[(&State, bool)],
) -> Result<(), StoreError> {
    let time = |at: Option<Timestamp>| at.map(|at| at.0);
    script
        .add(conn, &SAVE, states, |query, (state, erase)| {
            let facts = &state.facts;
            let failed = facts.failed.as_ref();
            query
                .bind(state.id.0)
                .bind(state.version)
                .bind(state.updated_at.0)
                .bind(state.channel.map(Channel::as_str))
                .bind(time(state.scheduled_at))
                .bind(time(state.expires_at))
                .bind(state.status().as_str())
                .bind(state.generation)
                .bind(time(facts.accepted))
                .bind(time(facts.queued))
                .bind(time(facts.handed_off))
                .bind(time(facts.delivered))
                .bind(time(facts.read))
                .bind(failed.map(|failure| failure.at.0))
                .bind(failed.map(|failure| Reason::as_str(failure.reason)))
                .bind(failed.and_then(|failure| failure.code.clone()))
                .bind(failed.and_then(|failure| failure.detail.clone()))
                .bind(time(facts.cancelled))
                .bind(time(facts.expired))
                .bind(state.provider.clone())
                .bind(state.provider_message_id.clone())
                .bind(state.attempts)
                .bind(state.reporting.map(reporting_number))
                .bind(time(state.deleted_at))
                .bind(i16::from(*erase))
        })
        .await
}

/// Applies many changes in one transaction. The outer error undoes it all, the inner ones are answers.
pub(in super::super) async fn changes(
    conn: &mut Conn,
    script: &mut Script,
    changes: &[&Change],
    after: &mut After,
) -> Result<Vec<Result<Changed, StoreError>>, StoreError> {
    script.flush(conn).await?;
    let ids: Vec<MessageId> = changes.iter().map(|change| change.id).collect();
    let mut rows = Rows::default();
    rows.load(conn, &ids).await?;
    let keys: Vec<_> = changes.iter().filter_map(|change| change.request.as_ref()).collect();
    let mut acks = insert::requests(conn, &keys).await?.into_iter();
    let mut results = Vec::with_capacity(changes.len());
    // Requests of this group that were refused: their twins are no repetitions of anything.
    let mut refused: Vec<&RequestKey> = Vec::new();
    for change in changes {
        let mut ack = change.request.as_ref().and_then(|_| acks.next());
        if let Some(key) = change.request.as_ref().filter(|key| refused.iter().any(|one| one.is_twin(key))) {
            ack = insert::requests(conn, &[key]).await?.pop();
        }
        match ack {
            Some(Ok(Ack::Replayed(result))) => {
                results.push(Ok(Changed::Replayed(result)));
                continue;
            }
            Some(Err(error)) => {
                results.push(Err(error));
                continue;
            }
            Some(Ok(Ack::Done)) | None => {}
        }
        let result = rows.change(change, &after.limits);
        if let (Err(_), Some(key)) = (&result, &change.request) {
            insert::forget_request(conn, key).await?;
            refused.push(key);
        }
        results.push(result);
    }
    parked::free(conn, changes, after).await?;
    retire(conn, changes, after).await?;
    rows.save(conn, script, after).await?;
    Ok(results)
}

async fn retire(conn: &mut Conn, changes: &[&Change], after: &mut After) -> Result<(), StoreError> {
    for change in changes {
        let Some((token, reason)) = &change.retire else { continue };
        let retired = sqlx::query(
            "UPDATE device SET retired_at = $1, retired_reason = $2 WHERE token = $3 AND retired_at IS NULL \
             AND tenant = (SELECT tenant FROM message WHERE id = $4)",
        )
        .bind(change.now.0)
        .bind(reason.clone())
        .bind(token.clone())
        .bind(change.id.0)
        .execute(&mut *conn)
        .await
        .map_err(dialect::error)?;
        after.contacts |= retired.rows_affected() > 0;
    }
    Ok(())
}
