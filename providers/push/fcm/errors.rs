use std::time::Duration;

use serde::Deserialize;

use crate::{
    contract::{Accepted, Fault, SendError, Timestamp},
    shared::{
        answer::{Answer, provider_id},
        text::sentence,
    },
};

/// The wait that Google names for an answer without `Retry-After`.
///
/// Source: <https://firebase.google.com/docs/cloud-messaging/error-codes>
const DEFAULT_WAIT: Duration = Duration::from_secs(60);

#[derive(Default, Deserialize)]
struct Envelope {
    error: Status,
}

/// A `google.rpc.Status`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    status: String,
    details: Vec<Detail>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Detail {
    error_code: Option<String>,
}

impl Status {
    fn read(answer: &Answer) -> Option<Self> {
        answer.json::<Envelope>().map(|envelope| envelope.error)
    }

    /// The code of FCM itself.
    fn code(&self) -> Option<&str> {
        self.details.iter().find_map(|detail| detail.error_code.as_deref())
    }

    fn names_the_token(&self) -> bool {
        self.message.to_ascii_lowercase().contains("registration token")
    }
}

/// Whether the access token was refused, which a new one may mend.
pub(super) fn token_refused(answer: &Answer) -> bool {
    answer.status.as_u16() == 401 && Status::read(answer).is_none_or(|status| status.code().is_none())
}

/// Whether the answer complains about the registration token and nothing else.
pub(super) fn only_the_token_is_wrong(answer: &Answer) -> bool {
    Status::read(answer)
        .is_some_and(|status| matches!(status.code(), Some("INVALID_ARGUMENT" | "UNREGISTERED")))
}

/// The error in an answer that is no success: by FCM's code, then Google's, else by the status.
///
/// Source: <https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode>
pub(super) fn refusal(answer: &Answer, now: Timestamp) -> SendError {
    let mut error = answer.refusal(now);
    let Some(status) = Status::read(answer) else {
        return error;
    };
    let dead = match status.code() {
        // The app was removed, or the token expired.
        Some("UNREGISTERED") => true,
        // The token belongs to another project.
        Some("SENDER_ID_MISMATCH") => true,
        // Of the many invalid arguments one is the token.
        Some("INVALID_ARGUMENT") => status.names_the_token(),
        _ => false,
    };
    error.retire_recipient = dead;
    error.fault = match status.code().unwrap_or(&status.status) {
        _ if dead => Fault::BadRecipient,
        "INVALID_ARGUMENT" => Fault::Rejected,
        // The APNs or web push key in the Firebase console is wrong.
        "THIRD_PARTY_AUTH_ERROR" | "UNAUTHENTICATED" | "PERMISSION_DENIED" => Fault::Unauthorized,
        "QUOTA_EXCEEDED" | "RESOURCE_EXHAUSTED" => Fault::Throttled,
        // Google asks to send these again; the tag keeps a repetition from showing twice.
        "UNAVAILABLE" | "INTERNAL" => Fault::Transient,
        _ => error.fault,
    };
    if error.fault == Fault::Throttled {
        error.retry_after = error.retry_after.or(Some(DEFAULT_WAIT));
    }
    let code = status.code().unwrap_or(&status.status).to_owned();
    if !status.message.is_empty() {
        error.detail = sentence(&status.message);
    }
    if code.is_empty() { error } else { error.code(sentence(&code)) }
}

#[derive(Deserialize)]
struct Sent {
    name: String,
}

/// The acceptance in an answer of success. What cannot be read may have been accepted all the same.
pub(super) fn accepted(answer: &Answer) -> Result<Accepted, SendError> {
    let name = answer.json::<Sent>().and_then(|sent| provider_id(&sent.name));
    let unclear = || SendError::new(Fault::Ambiguous, "the answer says success but names no message");
    Ok(Accepted { provider_message_id: Some(name.ok_or_else(unclear)?), ..Accepted::default() })
}
