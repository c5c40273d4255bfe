//! Activities and tickets.

use super::{read_enum, stamp, text};
use crate::{
    model::crm::{Activity, Ticket},
    pb,
    service::{
        Given, Violations,
        crm::{NewActivity, NewTicket},
    },
};

/// What a caller gives of an activity.
pub(in crate::api::grpc) fn new_activity(activity: pb::Activity) -> Given<NewActivity> {
    let mut violations = Violations::default();
    let kind = read_enum!(violations, "type", activity.r#type, pb::activity::Type, [
        Email => "EMAIL",
        Call => "CALL",
        Meeting => "MEETING",
        Task => "TASK",
        Note => "NOTE",
        Sms => "SMS",
        Chat => "CHAT",
        Push => "PUSH",
    ]);
    let status = read_enum!(violations, "status", activity.status, pb::activity::Status, [
        Pending => "PENDING",
        Completed => "COMPLETED",
        Cancelled => "CANCELLED",
    ]);
    let value = NewActivity {
        subject: activity.subject,
        kind: kind.unwrap_or("NOTE"),
        contact: text(activity.contact),
        status: status.unwrap_or("COMPLETED"),
        description: text(activity.description),
        message: text(activity.message),
    };
    Given { value, violations }
}

/// What a caller gives of a ticket.
pub(in crate::api::grpc) fn new_ticket(ticket: pb::Ticket) -> Given<NewTicket> {
    let mut violations = Violations::default();
    let priority = read_enum!(violations, "priority", ticket.priority, pb::ticket::Priority, [
        Low => "LOW",
        Medium => "MEDIUM",
        High => "HIGH",
        Urgent => "URGENT",
    ]);
    let channel = read_enum!(violations, "channel", ticket.channel, pb::ticket::Channel, [
        Email => "EMAIL",
        Chat => "CHAT",
        Phone => "PHONE",
        Web => "WEB",
        Sms => "SMS",
        Push => "PUSH",
    ]);
    let value = NewTicket {
        subject: ticket.subject,
        description: text(ticket.description),
        priority: priority.unwrap_or("MEDIUM"),
        channel,
        requester: text(ticket.requester),
        message: text(ticket.message),
    };
    Given { value, violations }
}

/// An activity as it is on the wire.
pub(in crate::api::grpc) fn activity(activity: Activity, context: &str) -> pb::Activity {
    let kind = pb::activity::Type::from_str_name(&activity.kind).unwrap_or_default();
    let status = pb::activity::Status::from_str_name(&activity.status).unwrap_or_default();
    pb::Activity {
        id: activity.id.to_string(),
        context: context.to_owned(),
        version: activity.version,
        created_at: Some(stamp(activity.created_at)),
        updated_at: Some(stamp(activity.updated_at)),
        created_by: activity.created_by,
        subject: activity.subject,
        r#type: kind.into(),
        contact: activity.contact.unwrap_or_default(),
        status: status.into(),
        description: activity.description.unwrap_or_default(),
        message: activity.message.map(|id| id.to_string()).unwrap_or_default(),
        event: activity.event.map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// A ticket as it is on the wire.
pub(in crate::api::grpc) fn ticket(ticket: Ticket, context: &str) -> pb::Ticket {
    let channel = ticket.channel.as_deref().and_then(pb::ticket::Channel::from_str_name);
    pb::Ticket {
        id: ticket.id.to_string(),
        context: context.to_owned(),
        version: ticket.version,
        created_at: Some(stamp(ticket.created_at)),
        updated_at: Some(stamp(ticket.updated_at)),
        created_by: ticket.created_by,
        subject: ticket.subject,
        description: ticket.description.unwrap_or_default(),
        status: pb::ticket::Status::from_str_name(&ticket.status).unwrap_or_default().into(),
        priority: pb::ticket::Priority::from_str_name(&ticket.priority).unwrap_or_default().into(),
        channel: channel.unwrap_or_default().into(),
        requester: ticket.requester.unwrap_or_default(),
        message: ticket.message.map(|id| id.to_string()).unwrap_or_default(),
        event: ticket.event.map(|id| id.to_string()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::crm;

    #[test]
    fn the_words_of_the_model_are_those_of_the_wire() {
        assert!(crm::ACTIVITY_TYPES.iter().all(|word| pb::activity::Type::from_str_name(word).is_some()));
        assert!(
            crm::ACTIVITY_STATUSES.iter().all(|word| pb::activity::Status::from_str_name(word).is_some())
        );
        assert!(crm::TICKET_STATUSES.iter().all(|word| pb::ticket::Status::from_str_name(word).is_some()));
        assert!(
            crm::TICKET_PRIORITIES.iter().all(|word| pb::ticket::Priority::from_str_name(word).is_some())
        );
        assert!(crm::TICKET_CHANNELS.iter().all(|word| pb::ticket::Channel::from_str_name(word).is_some()));
    }

    #[test]
    fn what_is_unset_has_its_default_and_what_is_unknown_is_noted() {
        let given = new_activity(pb::Activity { subject: "Call".to_owned(), ..Default::default() });
        assert_eq!((given.value.kind, given.value.status), ("NOTE", "COMPLETED"));
        let given = new_ticket(pb::Ticket { priority: 99, channel: 5, ..Default::default() });
        assert_eq!(given.value.channel, Some("SMS"));
        assert!(given.violations.names("priority"));
    }
}
