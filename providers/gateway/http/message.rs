use std::collections::BTreeMap;

use minijinja::{Value, context};

use crate::contract::{Dispatch, Party, Priority};

/// What templates may use, beside `metadata.<key>` and `secret.<name>`. What a message lacks is an empty text.
pub(super) const VARIABLES: &[&str] = &[
    "message.id",
    "message.thread",
    "message.in_reply_to",
    "idempotency_key",
    "attempt",
    "channel",
    "sender.address",
    "sender.name",
    "recipient.address",
    "recipient.name",
    "subject",
    "body",
    "html_body",
    "priority",
    "expires_at",
    "ttl_seconds",
    "now",
    "callback_url",
];

/// The variables of one message.
pub(super) fn context(dispatch: &Dispatch, secrets: Value) -> Value {
    let metadata: BTreeMap<String, Value> =
        dispatch.metadata.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    let ttl = dispatch.expires_at.map(|expires_at| expires_at.since(dispatch.now).as_secs().to_string());
    context! {
        message => context! {
            id => dispatch.message_id.as_str(),
            thread => dispatch.thread.as_deref().unwrap_or_default(),
            in_reply_to => dispatch.in_reply_to.as_deref().unwrap_or_default(),
        },
        idempotency_key => dispatch.idempotency_key.as_str(),
        attempt => dispatch.attempt,
        channel => dispatch.channel.as_str(),
        sender => dispatch.sender.as_ref().map_or_else(|| party(&Party::default()), party),
        recipient => party(&dispatch.recipient),
        subject => dispatch.subject.as_deref().unwrap_or_default(),
        body => dispatch.body.as_str(),
        html_body => dispatch.html_body.as_deref().unwrap_or_default(),
        metadata => Value::from(metadata),
        priority => match dispatch.priority {
            Priority::Transactional => "TRANSACTIONAL",
            Priority::Normal => "NORMAL",
            Priority::Bulk => "BULK",
        },
        expires_at => dispatch.expires_at.map(|time| time.to_string()).unwrap_or_default(),
        ttl_seconds => ttl.unwrap_or_default(),
        now => dispatch.now.to_string(),
        callback_url => dispatch.callback_url.as_deref().unwrap_or_default(),
        secret => secrets,
    }
}

fn party(party: &Party) -> Value {
    context! { address => party.address.as_str(), name => party.name.as_deref().unwrap_or_default() }
}
