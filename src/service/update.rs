//! Changes to a draft or a scheduled message.

use std::sync::Arc;

use super::{
    Caller, Error, Given, RequestId, Service,
    settle::settle,
    validate::{self, Mode},
    verbs::{lost_race, message_id},
};
use crate::{
    model::{
        message::{Draft, Message},
        status::Status,
    },
    store::{Changed, Rewrite},
};

/// The fields that a caller may change, in the order of the API.
pub const FIELDS: [&str; 20] = [
    "channel",
    "direction",
    "sender",
    "recipient",
    "subject",
    "body",
    "html_body",
    "attachments",
    "headers",
    "metadata",
    "tags",
    "thread",
    "in_reply_to",
    "campaign",
    "ticket",
    "workflow",
    "priority",
    "scheduled_at",
    "expires_at",
    "sensitive",
];

/// Attempts at a change that names no version, while others write.
pub(super) const RACES: usize = 5;

/// New values for some fields.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    /// The values.
    pub draft: Draft,
    /// The fields to take from it: some of [`FIELDS`].
    pub fields: Vec<&'static str>,
    /// The version it was made from; any when 0.
    pub version: i64,
}

/// What a caller may give of a message, read back from it, and where it stands.
pub(super) fn draft_of(message: &Message) -> (Draft, Status) {
    let (state, content) = (&message.state, &message.content);
    let draft = Draft {
        channel: state.channel,
        direction: content.direction,
        sender: state.sender.clone(),
        recipient: state.recipient.clone(),
        subject: content.subject.clone(),
        body: content.body.clone(),
        html_body: content.html_body.clone(),
        attachments: content.attachments.clone(),
        headers: content.headers.clone(),
        metadata: content.metadata.clone(),
        tags: content.tags.clone(),
        thread: state.thread.clone(),
        in_reply_to: content.in_reply_to.clone(),
        campaign: state.campaign.clone(),
        ticket: content.ticket.clone(),
        workflow: content.workflow.clone(),
        priority: state.priority,
        scheduled_at: state.scheduled_at,
        expires_at: state.expires_at,
        sensitive: state.sensitive,
    };
    (draft, state.status())
}

fn take(into: &mut Draft, from: &Draft, fields: &[&'static str]) {
    for field in fields {
        match *field {
            "channel" => into.channel = from.channel,
            "direction" => into.direction = from.direction,
            "sender" => into.sender.clone_from(&from.sender),
            "recipient" => into.recipient.clone_from(&from.recipient),
            "subject" => into.subject.clone_from(&from.subject),
            "body" => into.body.clone_from(&from.body),
            "html_body" => into.html_body.clone_from(&from.html_body),
            "attachments" => into.attachments.clone_from(&from.attachments),
            "headers" => into.headers.clone_from(&from.headers),
            "metadata" => into.metadata.clone_from(&from.metadata),
            "tags" => into.tags.clone_from(&from.tags),
            "thread" => into.thread.clone_from(&from.thread),
            "in_reply_to" => into.in_reply_to.clone_from(&from.in_reply_to),
            "campaign" => into.campaign.clone_from(&from.campaign),
            "ticket" => into.ticket.clone_from(&from.ticket),
            "workflow" => into.workflow.clone_from(&from.workflow),
            "priority" => into.priority = from.priority,
            "scheduled_at" => into.scheduled_at = from.scheduled_at,
            "expires_at" => into.expires_at = from.expires_at,
            "sensitive" => into.sensitive = from.sensitive,
            _ => {}
        }
    }
}

impl Service {
    /// Changes some fields of a draft or a scheduled message.
    ///
    /// # Errors
    /// There is no such message; it is beyond editing; its version is another one; something in the result is wrong.
    pub async fn update(
        &self,
        caller: &Caller,
        id: &str,
        patch: Given<Patch>,
        request: Option<RequestId>,
    ) -> Result<Arc<Message>, Error> {
        let Given { value: patch, mut violations } = patch;
        RequestId::check(request.as_ref(), &mut violations);
        violations.done()?;
        let id = message_id(id)?;
        let mut races = 0;
        loop {
            match self.rewrite(caller, id, &patch, request.clone()).await {
                Err(error) if patch.version == 0 && lost_race(&error) && races < RACES => races += 1,
                Err(error) => return Err(error),
                Ok(()) => return self.message(caller, id).await,
            }
        }
    }

    async fn rewrite(
        &self,
        caller: &Caller,
        id: crate::model::ids::MessageId,
        patch: &Patch,
        request: Option<RequestId>,
    ) -> Result<(), Error> {
        let now = self.now();
        let message = self.message(caller, id).await?;
        let (mut draft, status) = draft_of(&message);
        let before = draft.scheduled_at;
        take(&mut draft, &patch.draft, &patch.fields);
        // Its time may have passed while it lay there; only a new one is checked.
        let kept = before.filter(|before| draft.scheduled_at == Some(*before));
        draft.scheduled_at = draft.scheduled_at.filter(|_| kept.is_none());
        // Any other status is refused, or answered as the repetition it is, by the store.
        match status {
            Status::Scheduled => {
                let people = self.people(caller, std::iter::once(&draft)).await?;
                draft = settle(Given::new(draft), &people, now)?;
                self.check_reply(caller, &draft).await?;
                draft.scheduled_at = kept.or(draft.scheduled_at).or(Some(now));
                due_before_expiry(&draft)?;
            }
            Status::Draft => {
                let mut violations = super::Violations::default();
                validate::message(&mut violations, &mut draft, Mode::Draft, now);
                violations.done()?;
                self.check_reply(caller, &draft).await?;
                draft.scheduled_at = kept.or(draft.scheduled_at);
                due_before_expiry(&draft)?;
            }
            Status::Queued
            | Status::Sent
            | Status::Delivered
            | Status::Read
            | Status::Failed
            | Status::Cancelled
            | Status::Expired => {}
        }
        let rewrite = Rewrite {
            tenant: caller.tenant.clone(),
            id,
            draft,
            version: if patch.version == 0 { message.state.version } else { patch.version },
            actor: caller.actor.clone(),
            now,
            request: self.key(caller, "Message.Update", request, id.to_string())?,
        };
        match self.store().rewrite(rewrite).await {
            Ok(Changed::Done(_) | Changed::Replayed(_)) => Ok(()),
            Err(error) => Err(Error::of_store(error, "Message", &id.to_string())),
        }
    }
}

/// A time that was kept is held against a new end.
fn due_before_expiry(draft: &Draft) -> Result<(), Error> {
    match (draft.scheduled_at, draft.expires_at) {
        (Some(due), Some(end)) if end <= due => {
            Err(Error::invalid("expires_at", "must lie after scheduled_at"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Timestamp,
        ids::{MessageId, Tenant},
    };

    #[test]
    fn only_the_named_fields_are_taken() {
        let mut draft = Draft { body: "a".to_owned(), subject: Some("b".to_owned()), ..Draft::default() };
        let patch = Draft { body: "c".to_owned(), ..Draft::default() };
        take(&mut draft, &patch, &["body"]);
        assert_eq!((draft.body.as_str(), draft.subject.as_deref()), ("c", Some("b")));
        take(&mut draft, &patch, &["subject"]);
        assert_eq!(draft.subject, None);
    }

    #[test]
    fn every_field_can_be_taken_and_read_back() {
        let full = Draft {
            channel: Some(crate::model::Channel::Sms),
            direction: crate::model::message::Direction::Internal,
            sender: Some("s".to_owned()),
            recipient: Some("r".to_owned()),
            subject: Some("x".to_owned()),
            body: "b".to_owned(),
            html_body: Some("h".to_owned()),
            attachments: Vec::new(),
            headers: vec![("X-A".to_owned(), "b".to_owned())],
            metadata: Some(serde_json::Map::new()),
            tags: vec!["t".to_owned()],
            thread: Some("th".to_owned()),
            in_reply_to: Some("m".to_owned()),
            campaign: Some("c".to_owned()),
            ticket: Some("ti".to_owned()),
            workflow: Some("w".to_owned()),
            priority: crate::model::Priority::Bulk,
            scheduled_at: Some(Timestamp(5)),
            expires_at: Some(Timestamp(6)),
            sensitive: true,
        };
        let mut draft = Draft::default();
        take(&mut draft, &full, &FIELDS);
        assert_eq!(draft, full);
        let message = Message::new(draft, MessageId(1), Tenant::default(), Timestamp(1), "user_x");
        assert_eq!(draft_of(&message), (full, Status::Draft));
    }
}
