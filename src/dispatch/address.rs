//! From a claimed message to what a provider is given: contacts become addresses.

use std::sync::Arc;

use headlessly_providers::contract::{Dispatch, Party};

use super::{Inner, slots::Slot};
use crate::{
    model::{
        Channel, Timestamp,
        contact::Contact,
        ids::is_contact,
        message::Message,
        status::{Failure, Reason},
    },
    store::{Claimed, StoreError},
};

/// Why a message cannot be addressed.
pub(super) enum Unaddressed {
    /// Never.
    Nowhere(Failure),
    /// Not now.
    Later(StoreError),
}

/// Makes the hand-off of a message: contacts become addresses now, at the moment of sending.
pub(super) async fn address(
    inner: &Inner,
    claimed: &Claimed,
    slot: &Slot,
    now: Timestamp,
) -> Result<Dispatch, Unaddressed> {
    let message = &claimed.message;
    let state = &message.state;
    let channel = state.channel.unwrap_or(Channel::Email);
    let recipient = state.recipient.as_deref().unwrap_or_default();
    let parties: Vec<&str> = [Some(recipient), state.sender.as_deref()]
        .into_iter()
        .flatten()
        .filter(|id| is_contact(id))
        .collect();
    let contacts = if parties.is_empty() {
        Vec::new()
    } else {
        inner.store.contacts(&state.tenant, &parties).await.map_err(Unaddressed::Later)?
    };
    let find = |id: &str| contacts.iter().find(|contact| contact.id == id);
    let party = |contact: &Arc<Contact>| {
        let address = contact.address(channel)?;
        Some(Party { address: address.to_owned(), name: contact.name.clone() })
    };
    let recipient = if is_contact(recipient) {
        find(recipient).and_then(party).ok_or_else(|| {
            Unaddressed::Nowhere(Failure {
                at: now,
                reason: Reason::NoAddress,
                code: None,
                detail: Some(format!("the contact has no {} address", channel.title())),
            })
        })?
    } else {
        Party { address: recipient.to_owned(), name: None }
    };
    // A sender without an address on the channel is spoken for by the provider's own.
    let sender = match state.sender.as_deref() {
        Some(id) if is_contact(id) => find(id).and_then(party),
        Some(address) => Some(Party { address: address.to_owned(), name: None }),
        None => None,
    };
    Ok(dispatch(message, claimed.queued.tries, slot, sender, recipient, now))
}

fn dispatch(
    message: &Message,
    tries: i32,
    slot: &Slot,
    sender: Option<Party>,
    recipient: Party,
    now: Timestamp,
) -> Dispatch {
    let (state, content) = (&message.state, &message.content);
    let id = state.id.to_string();
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let metadata = content.metadata.iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect();
    Dispatch {
        idempotency_key: format!("{id}.{}", state.generation),
        message_id: id,
        attempt: u32::try_from(tries + 1).unwrap_or(1),
        channel: state.channel.unwrap_or(Channel::Email),
        sender,
        recipient,
        subject: content.subject.clone(),
        body: content.body.clone(),
        html_body: content.html_body.clone(),
        attachments: content.attachments.clone(),
        headers: content.headers.clone(),
        metadata,
        thread: state.thread.clone(),
        in_reply_to: content.in_reply_to.clone(),
        priority: state.priority,
        expires_at: state.expires_at,
        now,
        callback_url: slot.callback_url.clone(),
    }
}
