//! Steps of messages: load the rows, apply the pure step, write what came out.

use std::collections::HashMap;

use super::{
    super::dialect,
    bulk::{Bulk, Conn, Script},
    insert::{self, Place, Tried},
    rows::{full_row, place_columns, reporting_number, state_columns},
};
use crate::{
    model::{
        Channel, Timestamp,
        event::NewEvent,
        ids::{MessageId, Tenant},
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

/// What follows once a transaction is committed.
#[derive(Default)]
pub(in super::super) struct After {
    /// Claimed at the door.
    pub(in super::super) slots: Vec<(crate::store::Slot, crate::store::Claimed)>,
    /// Something became ready on these channels.
    pub(in super::super) wakes: Vec<Channel>,
    /// The log grew.
    pub(in super::super) log: bool,
    /// There are receipts to apply.
    pub(in super::super) receipts: bool,
    /// Receipts may be parked: look for those of a message whose provider id becomes known.
    pub(in super::super) parked: bool,
    /// By how much more waits in the queue.
    pub(in super::super) depth: i64,
    /// Contacts that changed.
    pub(in super::super) contacts: bool,
}

impl After {
    pub(in super::super) fn wake(&mut self, channel: Channel) {
        if !self.wakes.contains(&channel) {
            self.wakes.push(channel);
        }
    }
}

/// The rows of messages, as they were and as they become within one transaction.
#[derive(Default)]
pub(in super::super) struct Rows {
    rows: HashMap<MessageId, (Row, Row)>,
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
            let row = full_row(&row)?;
            self.rows.insert(row.state.id, (row.clone(), row));
        }
        Ok(())
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
        let (_, row) = self.rows.get_mut(&id).ok_or(StoreError::NotFound)?;
        if tenant.is_some_and(|tenant| *tenant != row.state.tenant) {
            return Err(StoreError::NotFound);
        }
        let mut next = row.clone();
        match apply(&mut next, step, by) {
            Ok(events) => {
                *row = next;
                self.events.extend(events);
                Ok(())
            }
            Err(refusal) => Err(StoreError::Refused(refusal, Box::new(row.clone()))),
        }
    }

    fn change(&mut self, change: &Change) -> Result<Changed, StoreError> {
        if let (Some(recipient), Some((_, row))) = (&change.recipient, self.rows.get_mut(&change.id)) {
            row.state.recipient = Some(recipient.clone());
            self.recipients.push((change.id, recipient.clone()));
        }
        let by = By { now: change.now, actor: &change.actor };
        let result = self.step(change.tenant.as_ref(), change.id, &change.step, by);
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
            after.depth += i64::from(now.queued.is_some()) - i64::from(before.queued.is_some());
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
        let result = rows.change(change);
        if let (Err(_), Some(key)) = (&result, &change.request) {
            insert::forget_request(conn, key).await?;
            refused.push(key);
        }
        results.push(result);
    }
    unpark(conn, changes, after).await?;
    retire(conn, changes, after).await?;
    rows.save(conn, script, after).await?;
    Ok(results)
}

/// Receipts that came before their message's provider id was known can be applied now.
async fn unpark(conn: &mut Conn, changes: &[&Change], after: &mut After) -> Result<(), StoreError> {
    let ids: Vec<(&str, &str)> = changes
        .iter()
        .filter_map(|change| change.attempt.as_ref())
        .filter_map(|attempt| Some((attempt.provider.as_str(), attempt.provider_message_id.as_deref()?)))
        .collect();
    // Another node may have parked some.
    if ids.is_empty() || !(after.parked || dialect::SHARED) {
        return Ok(());
    }
    let parked: Option<i64> = sqlx::query_scalar("SELECT id FROM receipt WHERE state = 2 LIMIT 1")
        .fetch_optional(&mut *conn)
        .await
        .map_err(dialect::error)?;
    after.parked = parked.is_some();
    if parked.is_none() {
        return Ok(());
    }
    for (provider, id) in ids {
        let freed = sqlx::query(
            "UPDATE receipt SET state = 0 WHERE state = 2 AND provider = $1 AND provider_message_id = $2",
        )
        .bind(provider.to_owned())
        .bind(id.to_owned())
        .execute(&mut *conn)
        .await
        .map_err(dialect::error)?;
        after.receipts |= freed.rows_affected() > 0;
    }
    Ok(())
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
