//! Activities and tickets, as far as people and programs make them. Hooks make most.

use super::{
    Caller, Error, Given, RequestId, Service, Violations,
    query::{Search, query},
    request::recall,
    validate,
};
use crate::{
    model::{
        crm::{Activity, Ticket},
        ids::{ActivityId, MessageId, TicketId},
    },
    store::{Ack, Page, Record},
};

/// What a caller may give of an activity.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the fields of `Activity` in proto/, under their names")]
pub struct NewActivity {
    pub subject: String,
    pub kind: &'static str,
    pub contact: Option<String>,
    pub status: &'static str,
    pub description: Option<String>,
    pub message: Option<String>,
}

/// What a caller may give of a ticket.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the fields of `Ticket` in proto/, under their names")]
pub struct NewTicket {
    pub subject: String,
    pub description: Option<String>,
    pub priority: &'static str,
    pub channel: Option<&'static str>,
    pub requester: Option<String>,
    pub message: Option<String>,
}

impl Service {
    /// Stores an activity.
    ///
    /// # Errors
    /// Everything that is wrong with it; the request id was used for another content.
    pub async fn create_activity(
        &self,
        caller: &Caller,
        given: Given<NewActivity>,
        request: Option<RequestId>,
    ) -> Result<Activity, Error> {
        let Given { value: new, mut violations } = given;
        words(&mut violations, &new.subject, new.description.as_deref());
        validate::line(&mut violations, "contact", new.contact.as_deref(), 4_096);
        let message = self.subject_of(caller, violations, new.message.as_deref(), request.as_ref()).await?;
        let (id, now) = self.next_id();
        let activity = Activity {
            id: ActivityId(id),
            tenant: caller.tenant.clone(),
            version: 1,
            created_at: now,
            updated_at: now,
            created_by: caller.actor.to_string(),
            subject: new.subject,
            kind: new.kind.to_owned(),
            contact: new.contact,
            status: new.status.to_owned(),
            description: new.description,
            message,
            event: None,
        };
        let request = self.key(caller, "Activity.Create", request, activity.id.to_string())?;
        match self.store().put_record(Record::Activity(activity.clone()), request).await? {
            Ack::Done => Ok(activity),
            Ack::Replayed(result) => self.activity(caller, recall(&result)?).await,
        }
    }

    /// An activity.
    ///
    /// # Errors
    /// There is no such activity.
    pub async fn activity(&self, caller: &Caller, id: &str) -> Result<Activity, Error> {
        let key: ActivityId = id.parse().map_err(|bad| bad_id(id, bad))?;
        let found = self.store().activity(&caller.tenant, key).await?;
        found.ok_or_else(|| Error::not_found("Activity", id))
    }

    /// Activities by filter.
    ///
    /// # Errors
    /// The filter, the order or the page token is not of the language.
    pub async fn find_activities(
        &self,
        caller: &Caller,
        search: Given<Search>,
    ) -> Result<Page<Activity>, Error> {
        Ok(self.store().find_activities(query(caller, search)?).await?)
    }

    /// Stores a ticket.
    ///
    /// # Errors
    /// Everything that is wrong with it; the request id was used for another content.
    pub async fn create_ticket(
        &self,
        caller: &Caller,
        given: Given<NewTicket>,
        request: Option<RequestId>,
    ) -> Result<Ticket, Error> {
        let Given { value: new, mut violations } = given;
        words(&mut violations, &new.subject, new.description.as_deref());
        validate::line(&mut violations, "requester", new.requester.as_deref(), 4_096);
        let message = self.subject_of(caller, violations, new.message.as_deref(), request.as_ref()).await?;
        let (id, now) = self.next_id();
        let ticket = Ticket {
            id: TicketId(id),
            tenant: caller.tenant.clone(),
            version: 1,
            created_at: now,
            updated_at: now,
            created_by: caller.actor.to_string(),
            subject: new.subject,
            description: new.description,
            status: "OPEN".to_owned(),
            priority: new.priority.to_owned(),
            channel: new.channel.map(str::to_owned),
            requester: new.requester,
            message,
            event: None,
        };
        let request = self.key(caller, "Ticket.Create", request, ticket.id.to_string())?;
        match self.store().put_record(Record::Ticket(ticket.clone()), request).await? {
            Ack::Done => Ok(ticket),
            Ack::Replayed(result) => self.ticket(caller, recall(&result)?).await,
        }
    }

    /// A ticket.
    ///
    /// # Errors
    /// There is no such ticket.
    pub async fn ticket(&self, caller: &Caller, id: &str) -> Result<Ticket, Error> {
        let key: TicketId = id.parse().map_err(|bad| bad_id(id, bad))?;
        let found = self.store().ticket(&caller.tenant, key).await?;
        found.ok_or_else(|| Error::not_found("Ticket", id))
    }

    /// Tickets by filter.
    ///
    /// # Errors
    /// The filter, the order or the page token is not of the language.
    pub async fn find_tickets(&self, caller: &Caller, search: Given<Search>) -> Result<Page<Ticket>, Error> {
        Ok(self.store().find_tickets(query(caller, search)?).await?)
    }

    /// Ends the checks of a record; the message it is about must be one of the tenant's.
    async fn subject_of(
        &self,
        caller: &Caller,
        mut violations: Violations,
        message: Option<&str>,
        request: Option<&RequestId>,
    ) -> Result<Option<MessageId>, Error> {
        let id = message.and_then(|message| message.parse::<MessageId>().ok());
        if message.is_some() && id.is_none() {
            violations.add("message", "must be the id of a message (`message_...`)");
        }
        RequestId::check(request, &mut violations);
        violations.done()?;
        if let Some(id) = id {
            self.row(caller, id).await?;
        }
        Ok(id)
    }
}

fn words(violations: &mut Violations, subject: &str, description: Option<&str>) {
    if subject.trim().is_empty() {
        violations.add("subject", "is required");
    }
    validate::line(violations, "subject", Some(subject), 998);
    validate::text(violations, "description", description, 64 * 1024);
}

/// An id that is not of its form: the field and the way out.
pub(super) fn bad_id(text: &str, bad: crate::model::ids::BadId) -> Error {
    Error::invalid("id", if text.is_empty() { "is required".to_owned() } else { bad.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_needs_a_subject_of_one_line() {
        let fields = |subject: &str, description: Option<&str>| {
            let mut violations = Violations::default();
            words(&mut violations, subject, description);
            violations.0.into_iter().map(|violation| violation.field).collect::<Vec<_>>()
        };
        assert!(fields("Call back", Some("first\nsecond")).is_empty());
        assert_eq!(fields(" ", None), ["subject"]);
        assert_eq!(fields("a\nb", None), ["subject"]);
        assert_eq!(fields("a", Some(&"x".repeat(64 * 1024 + 1))), ["description"]);
    }
}
