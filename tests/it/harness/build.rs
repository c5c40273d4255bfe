//! Requests with few words.

use std::time::{Duration, SystemTime};

use headlessly_communication::pb::{self, message::Channel, send_message_request::Target};
use tonic::Status;
use tonic_types::StatusExt;

/// A message to somebody on a channel.
pub(crate) fn to(channel: Channel, recipient: &str) -> pb::Message {
    pb::Message {
        channel: channel.into(),
        recipient: recipient.to_owned(),
        body: "Your table is ready.".to_owned(),
        ..Default::default()
    }
}

/// A request to send a message.
pub(crate) fn send_new(message: pb::Message) -> pb::SendMessageRequest {
    pb::SendMessageRequest { target: Some(Target::Message(Box::new(message))), ..Default::default() }
}

/// A request to send a draft.
pub(crate) fn draft_to(id: &str) -> pb::SendMessageRequest {
    pb::SendMessageRequest { target: Some(Target::Id(id.to_owned())), ..Default::default() }
}

/// A filter in its JSON form.
pub(crate) fn json(filter: &serde_json::Value) -> Option<pb::Filter> {
    Some(pb::Filter { json: filter.to_string(), ..Default::default() })
}

/// So long from now.
pub(crate) fn at(later: Duration) -> Option<prost_types::Timestamp> {
    Some((SystemTime::now() + later).into())
}

/// The fields that a refusal names, in its order.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    let violations = status.get_details_bad_request().map(|details| details.field_violations);
    violations.unwrap_or_default().into_iter().map(|violation| violation.field).collect()
}

/// The word of a refusal that a program may branch on.
pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}
