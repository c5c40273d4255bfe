//! Editing what was not handed off yet.

use std::sync::Arc;

use super::{
    super::dialect,
    after::After,
    bulk::{Conn, Script},
    change::{self, Rows},
    insert, queue,
};
use crate::{
    model::{
        event::{NewEvent, kind},
        message::Message,
        status::Status,
        verbs::{self, Refusal},
    },
    store::{Ack, Changed, Clash, NewMessage, Rewrite, StoreError},
};

/// Replaces a draft or scheduled message by what its caller made of it.
pub(in super::super) async fn rewrite(
    conn: &mut Conn,
    work: &Rewrite,
    after: &mut After,
) -> Result<Result<Changed, StoreError>, StoreError> {
    if let Some(key) = &work.request {
        match insert::requests(conn, &[key]).await?.pop() {
            Some(Ok(Ack::Replayed(result))) => return Ok(Ok(Changed::Replayed(result))),
            Some(Err(error)) => return Ok(Err(error)),
            Some(Ok(Ack::Done)) | None => {}
        }
    }
    let done = edit(conn, work, after).await?;
    if let (Err(_), Some(key)) = (&done, &work.request) {
        insert::forget_request(conn, key).await?;
    }
    Ok(done)
}

async fn edit(
    conn: &mut Conn,
    work: &Rewrite,
    after: &mut After,
) -> Result<Result<Changed, StoreError>, StoreError> {
    let mut rows = Rows::default();
    rows.load(conn, &[work.id]).await?;
    if let Err(error) = rows.readable() {
        return Ok(Err(error));
    }
    let Some(row) = rows.get(work.id).filter(|row| row.state.tenant == work.tenant).cloned() else {
        return Ok(Err(StoreError::NotFound));
    };
    let status = row.state.status();
    if row.state.deleted_at.is_some() {
        return Ok(Err(StoreError::Refused(Refusal::Deleted, Box::new(row))));
    }
    if !matches!(status, Status::Draft | Status::Scheduled) {
        return Ok(Err(StoreError::Refused(Refusal::Status(status), Box::new(row))));
    }
    if row.state.version != work.version {
        return Ok(Err(StoreError::Clash(Clash::Version(row.state.version))));
    }
    let Some(old) = queue::messages(conn, &[work.id.0]).await?.pop() else {
        return Ok(Err(StoreError::NotFound));
    };
    let mut message = Message::new(
        work.draft.clone(),
        work.id,
        work.tenant.clone(),
        old.content.created_at,
        &old.content.created_by,
    );
    message.state.version = row.state.version + 1;
    message.state.updated_at = work.now;
    message.state.facts = row.state.facts.clone();
    sqlx::query("DELETE FROM message WHERE id = $1")
        .bind(work.id.0)
        .execute(&mut *conn)
        .await
        .map_err(dialect::error)?;
    insert::replace_parts(conn, &Message { content: Default::default(), ..message.clone() }).await?;
    let mut script = Script::default();
    let mut queued = row.queued.clone();
    if let (Some(queued), Some(channel)) = (&mut queued, message.state.channel) {
        after.leaves(&work.tenant, queued);
        queued.bytes = message.bytes();
        after.joins(&work.tenant, queued);
        queued.due_at = message.state.scheduled_at.unwrap_or(queued.due_at);
        queued.expires_at = after.limits.until(&message.state, queued.due_at);
        insert::places(conn, &mut script, &[change::place(&message.state, channel, queued)]).await?;
        after.wake(channel);
    }
    let event = NewEvent {
        kind: kind::MESSAGE_UPDATED,
        at: work.now,
        ..verbs::created(&message.state, work.now, &work.actor)
    };
    let state = message.state.clone();
    let new = NewMessage { message: Arc::new(message), queued: None, events: Vec::new() };
    insert::messages(conn, &mut script, &[&new]).await?;
    insert::events(conn, &mut script, &[event]).await?;
    script.flush(conn).await?;
    after.log = true;
    Ok(Ok(Changed::Done(Box::new(verbs::Row { state, queued }))))
}
