//! The verbs by which a message is withdrawn, moved, repeated, deleted and reported on.

use std::sync::Arc;

use super::{Caller, Error, Given, Kind, RequestId, Service, Violations, admission::weight_of, validate};
use crate::{
    model::{
        Timestamp,
        ids::MessageId,
        message::Message,
        status::{Fact, Failure, Reason, Status},
        verbs::{Refusal, Row, Step},
    },
    store::{Change, Changed, StoreError},
};

/// What Cancel came to: exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// No provider saw it, and none will.
    Cancelled,
    /// A hand-off has begun, or it has ended.
    TooLate,
    /// It was withdrawn before.
    AlreadyCancelled,
}

/// What somebody reports about a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// It arrived.
    Delivered,
    /// It was opened.
    Read,
    /// It will not arrive.
    Failed {
        /// The word for it.
        reason: Reason,
        /// A code, at most 64 bytes.
        code: Option<String>,
        /// For people, at most 1,024 bytes.
        detail: Option<String>,
    },
}

/// Reads the id of a message.
pub(super) fn message_id(text: &str) -> Result<MessageId, Error> {
    let way_out = |bad: crate::model::ids::BadId| Error::invalid("id", bad.to_string());
    if text.is_empty() { Err(Error::invalid("id", "is required")) } else { text.parse().map_err(way_out) }
}

impl Service {
    /// Takes in a report. Idempotent: what is known already changes nothing.
    ///
    /// # Errors
    /// There is no such message; it was never sent; the time or the words are out of bounds.
    pub async fn report(
        &self,
        caller: &Caller,
        id: &str,
        report: Given<Report>,
        at: Option<Timestamp>,
        request: Option<RequestId>,
    ) -> Result<Arc<Message>, Error> {
        let Given { value: report, mut violations } = report;
        let at = validate::happened_at(&mut violations, at, self.now());
        let (method, fact) = match report {
            Report::Delivered => ("Message.Deliver", Fact::Delivered(at)),
            Report::Read => ("Message.Read", Fact::Read(at)),
            Report::Failed { reason, code, detail } => {
                validate::line(&mut violations, "code", code.as_deref(), 64);
                validate::text(&mut violations, "detail", detail.as_deref(), 1_024);
                ("Message.Fail", Fact::Failed(Failure { at, reason, code, detail }))
            }
        };
        RequestId::check(request.as_ref(), &mut violations);
        violations.done()?;
        let id = message_id(id)?;
        let row = self.row(caller, id).await?;
        let status = row.state.status();
        if row.state.deleted_at.is_some() {
            return Err(StoreError::Refused(Refusal::Deleted, Box::new(row)).into());
        }
        if matches!(status, Status::Draft | Status::Scheduled | Status::Cancelled | Status::Expired) {
            return Err(Error::wrong_status(status).about("Message", &id.to_string()));
        }
        self.step(caller, id, method, Step::Learn { fact, generation: None }, request).await
    }

    /// Withdraws a message if nothing was handed off yet.
    ///
    /// # Errors
    /// There is no such message. Being too late is an outcome, not an error.
    pub async fn cancel(
        &self,
        caller: &Caller,
        id: &str,
        request: Option<RequestId>,
    ) -> Result<(CancelOutcome, Arc<Message>), Error> {
        check(request.as_ref())?;
        let id = message_id(id)?;
        let mut change = self.change(caller, id, Step::Cancel);
        change.request = self.key(caller, "Message.Cancel", request, id.to_string())?;
        let done = match self.store().change(change).await {
            Ok(Changed::Done(_) | Changed::Replayed(_)) => CancelOutcome::Cancelled,
            Err(StoreError::Refused(Refusal::Already, _)) => CancelOutcome::AlreadyCancelled,
            Err(StoreError::Refused(Refusal::TooLate(_) | Refusal::Status(_) | Refusal::Stale, _)) => {
                CancelOutcome::TooLate
            }
            Err(error) => return Err(Error::of_store(error, "Message", &id.to_string())),
        };
        let message = self.message(caller, id).await?;
        // Only a cancellation that was carried out is ever remembered; the message itself is the proof.
        let proven = done != CancelOutcome::Cancelled || message.state.facts.cancelled.is_some();
        Ok((if proven { done } else { CancelOutcome::TooLate }, message))
    }

    /// Moves a scheduled message to another time.
    ///
    /// # Errors
    /// There is no such message; it is not scheduled any more; the time is out of bounds.
    pub async fn reschedule(
        &self,
        caller: &Caller,
        id: &str,
        at: Given<Option<Timestamp>>,
        request: Option<RequestId>,
    ) -> Result<Arc<Message>, Error> {
        let Given { value: at, mut violations } = at;
        let now = self.now();
        if at.is_none() && !violations.names("scheduled_at") {
            violations.add("scheduled_at", "is required");
        }
        let at = validate::schedule(&mut violations, "scheduled_at", at, now).unwrap_or(now);
        RequestId::check(request.as_ref(), &mut violations);
        violations.done()?;
        let id = message_id(id)?;
        let row = self.row(caller, id).await?;
        let waits = row.state.status() == Status::Scheduled;
        if waits && row.state.expires_at.is_some_and(|expires_at| expires_at <= at) {
            return Err(Error::invalid(
                "scheduled_at",
                "must lie before the message's expires_at; Update that first",
            ));
        }
        self.step(caller, id, "Message.Reschedule", Step::Reschedule(at), request).await
    }

    /// Opens a new generation of a failed message and sends it again.
    ///
    /// # Errors
    /// There is no such message; it has not failed.
    pub async fn retry(
        &self,
        caller: &Caller,
        id: &str,
        request: Option<RequestId>,
    ) -> Result<Arc<Message>, Error> {
        check(request.as_ref())?;
        let id = message_id(id)?;
        let message = self.message(caller, id).await?;
        let erased = message.state.sensitive && message.content.body.is_empty();
        if erased && message.state.status() == Status::Failed {
            let problem = "the body of a sensitive message is erased once a provider had it; send a new message instead";
            let error = Error::new(Kind::FailedPrecondition, "BODY_ERASED", problem);
            return Err(error.about("Message", &id.to_string()));
        }
        let weight = weight_of([&message]);
        let _room = self.admit(caller, weight)?;
        let mut change = self.change(caller, id, Step::Retry);
        change.bytes = Some(weight.bytes);
        self.submit(caller, change, "Message.Retry", request).await
    }

    /// Deletes softly. Deleting again changes nothing.
    ///
    /// # Errors
    /// There is no such message; it waits to be sent.
    pub async fn delete(
        &self,
        caller: &Caller,
        id: &str,
        request: Option<RequestId>,
    ) -> Result<Arc<Message>, Error> {
        check(request.as_ref())?;
        self.step(caller, message_id(id)?, "Message.Delete", Step::Delete, request).await
    }

    /// A change of one message by this caller.
    pub(super) fn change(&self, caller: &Caller, id: MessageId, step: Step) -> Change {
        let mut change = Change::internal(id, step, caller.actor.clone(), self.now());
        change.tenant = Some(caller.tenant.clone());
        change
    }

    async fn step(
        &self,
        caller: &Caller,
        id: MessageId,
        method: &'static str,
        step: Step,
        request: Option<RequestId>,
    ) -> Result<Arc<Message>, Error> {
        self.submit(caller, self.change(caller, id, step), method, request).await
    }

    async fn submit(
        &self,
        caller: &Caller,
        mut change: Change,
        method: &'static str,
        request: Option<RequestId>,
    ) -> Result<Arc<Message>, Error> {
        let id = change.id;
        change.request = self.key(caller, method, request, id.to_string())?;
        match self.store().change(change).await {
            Ok(Changed::Done(_) | Changed::Replayed(_)) | Err(StoreError::Refused(Refusal::Already, _)) => {
                self.message(caller, id).await
            }
            Err(error) => Err(Error::of_store(error, "Message", &id.to_string())),
        }
    }

    /// The state of a message of this caller's tenant.
    pub(super) async fn row(&self, caller: &Caller, id: MessageId) -> Result<Row, Error> {
        let row = self.store().row(id).await?.filter(|row| row.state.tenant == caller.tenant);
        row.ok_or_else(|| Error::not_found("Message", &id.to_string()))
    }

    /// A message of this caller's tenant.
    pub(super) async fn message(&self, caller: &Caller, id: MessageId) -> Result<Arc<Message>, Error> {
        let message = self.store().message(&caller.tenant, id).await?;
        message.map(Arc::new).ok_or_else(|| Error::not_found("Message", &id.to_string()))
    }
}

fn check(request: Option<&RequestId>) -> Result<(), Error> {
    let mut violations = Violations::default();
    RequestId::check(request, &mut violations);
    violations.done()
}

/// Whether somebody else wrote first.
pub(super) fn lost_race(error: &Error) -> bool {
    error.kind == Kind::Aborted && error.reason == "VERSION_MISMATCH"
}
