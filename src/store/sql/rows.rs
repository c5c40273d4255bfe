//! Rows to values and back.

use sqlx::{ColumnIndex, Decode, Row as _, Type};

use super::super::Db;
use crate::{
    model::{
        Channel, Priority, Reporting, Timestamp,
        ids::{MessageId, Tenant},
        message::{Content, Direction, Message, Metadata, State},
        status::{Facts, Failure, Reason},
        verbs::{Queued, Row, Wait},
    },
    store::StoreError,
};

pub(in super::super) type DbRow = <Db as sqlx::Database>::Row;

/// Reads a row column after column.
pub(in super::super) struct Reader<'r> {
    row: &'r DbRow,
    next: usize,
}

impl<'r> Reader<'r> {
    /// From this column on.
    pub(in super::super) fn new(row: &'r DbRow, next: usize) -> Self {
        Self { row, next }
    }

    /// The next column.
    pub(in super::super) fn get<T>(&mut self) -> Result<T, StoreError>
    where
        T: Decode<'r, Db> + Type<Db>,
        usize: ColumnIndex<DbRow>,
    {
        let index = self.next;
        self.next += 1;
        self.row.try_get(index).map_err(|error| StoreError::Corrupt(format!("column {index}: {error}")))
    }

    /// The next column, as a time.
    pub(in super::super) fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.get().map(Timestamp)
    }

    /// The next column, as a time that may be unset.
    pub(in super::super) fn maybe_time(&mut self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.get::<Option<i64>>()?.map(Timestamp))
    }

    /// The next column, as one of the words that have a meaning.
    pub(in super::super) fn word<T: Copy>(
        &mut self,
        all: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Result<T, StoreError> {
        let text: &str = self.get()?;
        find_word(text, all, name)
    }

    /// The next column, as one of the words that have a meaning, or unset.
    pub(in super::super) fn maybe_word<T: Copy>(
        &mut self,
        all: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Result<Option<T>, StoreError> {
        self.get::<Option<&str>>()?.map(|text| find_word(text, all, name)).transpose()
    }

    /// The next column, as JSON.
    pub(in super::super) fn json<T: serde::de::DeserializeOwned + Default>(
        &mut self,
    ) -> Result<T, StoreError> {
        match self.get::<Option<&str>>()? {
            None => Ok(T::default()),
            Some(text) => serde_json::from_str(text)
                .map_err(|error| StoreError::Corrupt(format!("column {}: {error}", self.next - 1))),
        }
    }

    /// The next column, as a tenant.
    pub(in super::super) fn tenant(&mut self) -> Result<Tenant, StoreError> {
        let name: &str = self.get()?;
        Tenant::new(name).ok_or_else(|| corrupt("tenant", name))
    }
}

fn find_word<T: Copy>(text: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<T, StoreError> {
    all.iter().copied().find(|one| name(*one) == text).ok_or_else(|| corrupt("a word", text))
}

pub(in super::super) fn corrupt(what: &str, value: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{what} is {value}"))
}

/// The columns of a message's state, in the order of [`state`]; then those of its place in the queue, as [`place`] reads them.
macro_rules! state_columns {
    () => {
        "message.id, message.tenant, message.version, message.updated_at, message.channel, message.sender, message.recipient, message.thread, message.campaign, message.priority, \
         message.scheduled_at, message.expires_at, message.sensitive, message.generation, message.accepted_at, message.queued_at, message.sent_at, message.delivered_at, \
         message.read_at, message.failed_at, message.failure_reason, message.failure_code, message.failure_detail, message.cancelled_at, message.expired_at, \
         message.provider, message.provider_message_id, message.attempts, message.reporting, message.deleted_at"
    };
}
pub(in super::super) use state_columns;

/// The columns of a place in the queue.
macro_rules! place_columns {
    () => {
        "q.state, q.due_at, q.epoch, q.tries, q.ambiguous, q.expires_at, q.bytes, q.losses, q.paced"
    };
}
pub(in super::super) use place_columns;

/// The columns of a message's content, in the order of [`content`].
macro_rules! content_columns {
    () => {
        "message.created_at, message.created_by, message.direction, message.subject, message.body, message.headers, message.metadata, message.tags, message.in_reply_to, message.ticket, \
         message.workflow, message.parts"
    };
}
pub(in super::super) use content_columns;

/// Reads a state.
pub(in super::super) fn state(row: &mut Reader<'_>) -> Result<State, StoreError> {
    let (id, tenant) = (MessageId(row.get()?), row.tenant()?);
    let (version, updated_at) = (row.get()?, row.time()?);
    let channel = row.maybe_word(&Channel::ALL, Channel::as_str)?;
    let (sender, recipient, thread, campaign) = (row.get()?, row.get()?, row.get()?, row.get()?);
    let priority = priority(row.get()?)?;
    let (scheduled_at, expires_at) = (row.maybe_time()?, row.maybe_time()?);
    let sensitive = row.get::<i16>()? != 0;
    let generation = row.get()?;
    let (accepted, queued, handed_off) = (row.maybe_time()?, row.maybe_time()?, row.maybe_time()?);
    let (delivered, read, failed_at) = (row.maybe_time()?, row.maybe_time()?, row.maybe_time()?);
    let reason = row.maybe_word(&Reason::ALL, Reason::as_str)?;
    let (code, detail) = (row.get()?, row.get()?);
    let (cancelled, expired) = (row.maybe_time()?, row.maybe_time()?);
    let failed = failed_at.zip(reason).map(|(at, reason)| Failure { at, reason, code, detail });
    let facts = Facts { accepted, queued, handed_off, delivered, read, failed, cancelled, expired };
    let (provider, provider_message_id, attempts) = (row.get()?, row.get()?, row.get()?);
    let reporting = row.get::<Option<i16>>()?.map(reporting).transpose()?;
    Ok(State {
        id,
        tenant,
        version,
        updated_at,
        channel,
        sender,
        recipient,
        thread,
        campaign,
        priority,
        scheduled_at,
        expires_at,
        sensitive,
        facts,
        generation,
        provider,
        provider_message_id,
        attempts,
        reporting,
        deleted_at: row.maybe_time()?,
    })
}

/// Reads a place in the queue; all unset when the message does not wait.
pub(in super::super) fn place(row: &mut Reader<'_>) -> Result<Option<Queued>, StoreError> {
    let wait = match row.get::<Option<i16>>()? {
        None => return Ok(None),
        Some(0) => Wait::Ready,
        Some(1) => Wait::Leased,
        Some(2) => Wait::Held,
        Some(other) => return Err(corrupt("queue.state", other)),
    };
    let (due_at, epoch, tries): (_, i64, i32) = (row.time()?, row.get()?, row.get()?);
    if epoch < 0 || tries < 0 {
        return Err(corrupt("queue.epoch or queue.tries", epoch.min(i64::from(tries))));
    }
    Ok(Some(Queued {
        wait,
        due_at,
        epoch,
        tries,
        ambiguous: row.get::<i16>()? != 0,
        expires_at: row.time()?,
        bytes: row.get()?,
        losses: row.get()?,
        paced: row.get::<i16>()? != 0,
    }))
}

/// Reads a state and its place.
pub(in super::super) fn full_row(row: &DbRow) -> Result<Row, StoreError> {
    let mut reader = Reader::new(row, 0);
    Ok(Row { state: state(&mut reader)?, queued: place(&mut reader)? })
}

/// Reads a content; its HTML and files come from elsewhere when the second value says so.
pub(in super::super) fn content(row: &mut Reader<'_>) -> Result<(Content, bool), StoreError> {
    let content = Content {
        created_at: row.time()?,
        created_by: row.get()?,
        direction: row.word(&Direction::ALL, Direction::as_str)?,
        subject: row.get()?,
        body: row.get()?,
        html_body: None,
        attachments: Vec::new(),
        headers: row.json()?,
        metadata: row.json::<Option<Metadata>>()?,
        tags: row.json()?,
        in_reply_to: row.get()?,
        ticket: row.get()?,
        workflow: row.get()?,
    };
    Ok((content, row.get::<i16>()? != 0))
}

/// Reads a message without its HTML and files.
pub(in super::super) fn message(row: &DbRow) -> Result<(Message, bool), StoreError> {
    let mut reader = Reader::new(row, 0);
    let state = state(&mut reader)?;
    let (content, parts) = content(&mut reader)?;
    Ok((Message { state, content }, parts))
}

fn priority(number: i16) -> Result<Priority, StoreError> {
    match number {
        0 => Ok(Priority::Transactional),
        1 => Ok(Priority::Normal),
        2 => Ok(Priority::Bulk),
        other => Err(corrupt("message.priority", other)),
    }
}

fn reporting(number: i16) -> Result<Reporting, StoreError> {
    match number {
        0 => Ok(Reporting::None),
        1 => Ok(Reporting::Delivery),
        2 => Ok(Reporting::DeliveryAndRead),
        other => Err(corrupt("message.reporting", other)),
    }
}

/// The number of what a provider reports, in the store.
pub(in super::super) fn reporting_number(reporting: Reporting) -> i16 {
    match reporting {
        Reporting::None => 0,
        Reporting::Delivery => 1,
        Reporting::DeliveryAndRead => 2,
    }
}

/// The number of a wait in the store.
pub(in super::super) fn wait_number(wait: Wait) -> i16 {
    match wait {
        Wait::Ready => 0,
        Wait::Leased => 1,
        Wait::Held => 2,
    }
}

/// JSON text, or unset when there is nothing to say.
pub(in super::super) fn json_text<T: serde::Serialize>(value: &T, empty: bool) -> Option<String> {
    if empty { None } else { serde_json::to_string(value).ok() }
}
