use serde_json::{Map, Value, json};

use crate::contract::{Dispatch, Fault, Priority, SendError};

/// Largest payload in bytes: keys and values of `data`, and the notification's texts.
///
/// Source: <https://firebase.google.com/docs/cloud-messaging/customize-messages/set-message-type>
pub(super) const MAX_PAYLOAD: usize = 4096;

/// FCM keeps a message four weeks at most (`android.ttl`).
const LONGEST_TTL: u64 = 28 * 24 * 3600;

/// APNs refuses a longer collapse id.
const MAX_COLLAPSE_ID: usize = 64;

/// Marks an address as a Firebase Installation ID.
const FID: &str = "fid:";

/// Where our id of the message is found in the app.
const REFERENCE: &str = "hly_message_id";

/// The body of a `messages:send` request.
///
/// Source: <https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages>
pub(super) fn body(dispatch: &Dispatch) -> Result<Value, SendError> {
    if !dispatch.attachments.is_empty() {
        return Err(refuse("attachments cannot be pushed: put a link into the metadata"));
    }
    let data = data(dispatch)?;
    check_size(dispatch, &data)?;
    let (field, target) = match dispatch.recipient.address.strip_prefix(FID) {
        Some(fid) => ("fid", fid),
        None => ("token", dispatch.recipient.address.as_str()),
    };
    if target.is_empty() {
        let error = SendError::new(Fault::BadRecipient, "the push token is empty");
        return Err(error.retire());
    }
    let mut notification = Map::new();
    if let Some(title) = &dispatch.subject {
        notification.insert("title".to_owned(), title.as_str().into());
    }
    notification.insert("body".to_owned(), dispatch.body.as_str().into());
    Ok(json!({ "message": {
        field: target,
        "notification": notification,
        "data": data,
        "android": android(dispatch)?,
        "apns": { "headers": apns(dispatch)? },
        "webpush": { "headers": webpush(dispatch)? },
    }}))
}

/// A request that tells whether we may send, and sends nothing.
pub(super) fn probe() -> Value {
    json!({ "validateOnly": true, "message": { "token": "probe", "data": {} } })
}

fn data(dispatch: &Dispatch) -> Result<Map<String, Value>, SendError> {
    let mut data = Map::new();
    for (key, value) in &dispatch.metadata {
        let reserved = matches!(key.as_str(), "from" | "message_type" | REFERENCE)
            || key.starts_with("google")
            || key.starts_with("gcm");
        if reserved {
            return Err(refuse(format!("the metadata key `{key}` is reserved by FCM: rename it")));
        }
        data.insert(key.clone(), value.as_str().into());
    }
    data.insert(REFERENCE.to_owned(), dispatch.message_id.as_str().into());
    Ok(data)
}

fn check_size(dispatch: &Dispatch, data: &Map<String, Value>) -> Result<(), SendError> {
    let data: usize = data.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    let size = data + dispatch.body.len() + dispatch.subject.as_deref().map_or(0, str::len);
    if size > MAX_PAYLOAD {
        return Err(refuse(format!("subject, body and metadata have {size} bytes, FCM takes {MAX_PAYLOAD}")));
    }
    Ok(())
}

/// A repeated notification replaces the first one on the device: FCM itself does not know repetitions.
fn android(dispatch: &Dispatch) -> Result<Value, SendError> {
    let mut android = json!({
        "priority": if urgent(dispatch) { "HIGH" } else { "NORMAL" },
        "notification": { "tag": dispatch.idempotency_key },
    });
    if let Some(ttl) = ttl(dispatch)? {
        android["ttl"] = format!("{ttl}s").into();
    }
    Ok(android)
}

fn apns(dispatch: &Dispatch) -> Result<Value, SendError> {
    let mut headers = json!({ "apns-priority": if urgent(dispatch) { "10" } else { "5" } });
    if dispatch.idempotency_key.len() <= MAX_COLLAPSE_ID {
        headers["apns-collapse-id"] = dispatch.idempotency_key.as_str().into();
    }
    if let Some(ttl) = ttl(dispatch)? {
        let until = dispatch.now.seconds().saturating_add_unsigned(ttl);
        headers["apns-expiration"] = until.to_string().into();
    }
    Ok(headers)
}

/// RFC 8030 sections 5.2 and 5.3.
fn webpush(dispatch: &Dispatch) -> Result<Value, SendError> {
    let urgency = match dispatch.priority {
        Priority::Transactional => "high",
        Priority::Normal => "normal",
        Priority::Bulk => "low",
    };
    let mut headers = json!({ "Urgency": urgency });
    if let Some(ttl) = ttl(dispatch)? {
        headers["TTL"] = ttl.to_string().into();
    }
    Ok(headers)
}

/// What a person sees at once is urgent to the vendors; a campaign may wait until the device wakes up.
fn urgent(dispatch: &Dispatch) -> bool {
    dispatch.priority != Priority::Bulk
}

/// For how many seconds the message is wanted.
fn ttl(dispatch: &Dispatch) -> Result<Option<u64>, SendError> {
    match dispatch.expires_at.map(|expires_at| expires_at.since(dispatch.now).as_secs()) {
        Some(0) => Err(refuse("the message has expired")),
        Some(left) => Ok(Some(left.min(LONGEST_TTL))),
        None => Ok(None),
    }
}

fn refuse(detail: impl Into<String>) -> SendError {
    SendError::new(Fault::Rejected, detail)
}
