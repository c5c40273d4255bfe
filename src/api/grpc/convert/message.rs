//! Messages.

use headlessly_providers::contract::Attachment;

use super::{
    channel, channel_out, direction, direction_out,
    json::{object, object_out},
    mask, priority, priority_out, reason_out, reporting_out, stamp, status_out, text, time,
};
use crate::{
    model::{
        Channel,
        message::{Draft, Message},
    },
    pb,
    service::{Given, Violations, update},
};

const OCTETS: &str = "application/octet-stream";

/// What a caller gives of a message. Fields that are output only are left aside.
pub(in crate::api::grpc) fn draft(message: pb::Message) -> Given<Draft> {
    let mut violations = Violations::default();
    not_served(&mut violations, &message);
    let value = Draft {
        channel: channel(&mut violations, "channel", message.channel),
        direction: direction(&mut violations, message.direction),
        sender: text(message.sender),
        recipient: text(message.recipient),
        subject: text(message.subject),
        body: message.body,
        html_body: text(message.html_body),
        attachments: message.attachments.into_iter().map(attachment).collect(),
        headers: message.headers.into_iter().collect(),
        metadata: object(&mut violations, "metadata", message.metadata)
            .filter(|metadata| !metadata.is_empty()),
        tags: message.tags,
        thread: text(message.thread),
        in_reply_to: text(message.in_reply_to),
        campaign: text(message.campaign),
        ticket: text(message.ticket),
        workflow: text(message.workflow),
        priority: priority(&mut violations, message.priority),
        scheduled_at: time(&mut violations, "scheduled_at", message.scheduled_at),
        expires_at: time(&mut violations, "expires_at", message.expires_at),
        sensitive: message.sensitive,
    };
    Given { value, violations }
}

fn not_served(violations: &mut Violations, message: &pb::Message) {
    let given = [
        ("template", !message.template.is_empty(), "put the finished text into `body`"),
        ("variables", message.variables.is_some(), "put the finished text into `body`"),
        ("route", !message.route.is_empty(), "name one `channel`"),
    ];
    for (field, _, way_out) in given.iter().filter(|(_, given, _)| *given) {
        violations.add(*field, format!("is not served by this version: {way_out}"));
    }
}

fn attachment(attachment: pb::Attachment) -> Attachment {
    Attachment {
        name: attachment.name,
        content_type: text(attachment.content_type).unwrap_or_else(|| OCTETS.to_owned()),
        content: attachment.content,
        content_id: text(attachment.content_id),
    }
}

/// New values for some fields.
pub(in crate::api::grpc) fn patch(
    message: pb::Message,
    update_mask: Option<prost_types::FieldMask>,
) -> Given<update::Patch> {
    let mut violations = Violations::default();
    let fields = mask(&mut violations, update_mask, &update::FIELDS, |field| is_set(&message, field));
    let version = message.version;
    if version < 0 {
        violations.add("version", "must be the stored version, or 0 for any");
    }
    let given = draft(message);
    violations.0.extend(given.violations.0);
    Given { value: update::Patch { draft: given.value, fields, version }, violations }
}

fn is_set(message: &pb::Message, field: &str) -> bool {
    match field {
        "channel" => message.channel != 0,
        "direction" => message.direction != 0,
        "sender" => !message.sender.is_empty(),
        "recipient" => !message.recipient.is_empty(),
        "subject" => !message.subject.is_empty(),
        "body" => !message.body.is_empty(),
        "html_body" => !message.html_body.is_empty(),
        "attachments" => !message.attachments.is_empty(),
        "headers" => !message.headers.is_empty(),
        "metadata" => message.metadata.is_some(),
        "tags" => !message.tags.is_empty(),
        "thread" => !message.thread.is_empty(),
        "in_reply_to" => !message.in_reply_to.is_empty(),
        "campaign" => !message.campaign.is_empty(),
        "ticket" => !message.ticket.is_empty(),
        "workflow" => !message.workflow.is_empty(),
        "priority" => message.priority != 0,
        "scheduled_at" => message.scheduled_at.is_some(),
        "expires_at" => message.expires_at.is_some(),
        "sensitive" => message.sensitive,
        _ => false,
    }
}

/// A message as it is on the wire.
pub(in crate::api::grpc) fn message(message: &Message, context: &str) -> pb::Message {
    let (state, content) = (&message.state, &message.content);
    let facts = &state.facts;
    let open = |text: &Option<String>| text.clone().unwrap_or_default();
    pb::Message {
        id: state.id.to_string(),
        context: context.to_owned(),
        version: state.version,
        created_at: Some(stamp(content.created_at)),
        updated_at: Some(stamp(state.updated_at)),
        created_by: content.created_by.clone(),
        channel: state.channel.map(channel_out).unwrap_or_default(),
        direction: direction_out(content.direction),
        sender: open(&state.sender),
        recipient: open(&state.recipient),
        subject: open(&content.subject),
        body: content.body.clone(),
        html_body: open(&content.html_body),
        attachments: content.attachments.iter().map(attachment_out).collect(),
        headers: content.headers.iter().cloned().collect(),
        metadata: content.metadata.as_ref().map(object_out),
        tags: content.tags.clone(),
        thread: open(&state.thread),
        in_reply_to: open(&content.in_reply_to),
        campaign: open(&state.campaign),
        ticket: open(&content.ticket),
        workflow: open(&content.workflow),
        priority: priority_out(state.priority),
        scheduled_at: state.scheduled_at.map(stamp),
        expires_at: state.expires_at.map(stamp),
        sensitive: state.sensitive,
        status: status_out(state.status()),
        sent_at: facts.handed_off.map(stamp),
        delivered_at: facts.delivered.map(stamp),
        read_at: facts.read.map(stamp),
        failed_at: facts.failed.as_ref().map(|failure| stamp(failure.at)),
        cancelled_at: facts.cancelled.map(stamp),
        failure: failure(message),
        provider: open(&state.provider),
        provider_message_id: open(&state.provider_message_id),
        attempts: state.attempts,
        delivery_reporting: state.reporting.map(reporting_out).unwrap_or_default(),
        generation: state.generation,
        deleted_at: state.deleted_at.map(stamp),
        template: String::new(),
        variables: None,
        route: Vec::new(),
    }
}

fn attachment_out(attachment: &Attachment) -> pb::Attachment {
    pb::Attachment {
        name: attachment.name.clone(),
        content_type: attachment.content_type.clone(),
        content: attachment.content.clone(),
        content_id: attachment.content_id.clone().unwrap_or_default(),
    }
}

fn failure(message: &Message) -> Option<pb::Failure> {
    let failure = message.state.facts.failure(message.state.channel.unwrap_or(Channel::Email))?;
    Some(pb::Failure {
        reason: reason_out(failure.reason),
        code: failure.code.unwrap_or_default(),
        detail: failure.detail.unwrap_or_default(),
        retryable: failure.reason.retryable(),
    })
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
