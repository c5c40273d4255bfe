use serde::Deserialize;

use crate::{
    contract::{Accepted, Fault, SendError, Timestamp},
    shared::{
        answer::{Answer, provider_id},
        text::sentence,
    },
};

/// What a code means, in the answer to a request and in a status callback.
struct Code {
    code: u32,
    fault: Fault,
    /// The number is of no further use.
    dead: bool,
}

const fn row(code: u32, fault: Fault) -> Code {
    Code { code, fault, dead: false }
}

const fn dead(code: u32) -> Code {
    Code { code, fault: Fault::BadRecipient, dead: true }
}

/// Each is described at `https://www.twilio.com/docs/api/errors/<code>`.
const CODES: &[Code] = &[
    // The account is not active.
    row(10001, Fault::Unauthorized),
    // Authenticate.
    row(20003, Fault::Unauthorized),
    // The requested resource was not found. The only thing that our path names is the account.
    row(20404, Fault::Unauthorized),
    // Too many requests: not processed.
    row(20429, Fault::Throttled),
    // Invalid 'To' phone number.
    dead(21211),
    // No permission for this region.
    row(21408, Fault::Rejected),
    // A 'From' number is required; it is not ours or cannot send.
    row(21603, Fault::Rejected),
    row(21606, Fault::Rejected),
    // Trial account, unverified number.
    row(21608, Fault::Rejected),
    // The recipient replied STOP. The number is alive and may come back by START.
    row(21610, Fault::BadRecipient),
    // The queue of this sender is full.
    row(21611, Fault::Throttled),
    // 'To' cannot be reached from this 'From'.
    row(21612, Fault::Rejected),
    // Not a mobile number.
    dead(21614),
    // The text is too long.
    row(21617, Fault::Rejected),
    // Queue overflow.
    row(30001, Fault::Throttled),
    // Unreachable handset: switched off or out of range.
    row(30003, Fault::Transient),
    // Blocked by the recipient or the carrier.
    row(30004, Fault::BadRecipient),
    // Unknown handset.
    dead(30005),
    // Landline or unreachable carrier.
    dead(30006),
    // Filtered as spam.
    row(30007, Fault::Rejected),
    // Unknown error.
    row(30008, Fault::Transient),
    // Number not registered for A2P 10DLC.
    row(30034, Fault::Rejected),
    // Outside the window in which WhatsApp allows free text.
    row(63016, Fault::Rejected),
];

fn find(code: u32) -> Option<&'static Code> {
    CODES.iter().find(|row| row.code == code)
}

/// Whether a failure with this code says that the number is of no further use.
pub(super) fn recipient_dead(code: Option<&str>) -> bool {
    code.and_then(|code| code.parse().ok()).and_then(find).is_some_and(|row| row.dead)
}

/// Whether a failure with this code says that the recipient replied STOP earlier.
pub(super) fn unsubscribed(code: Option<&str>) -> bool {
    code == Some("21610")
}

#[derive(Deserialize)]
struct ErrorBody {
    code: u32,
    #[serde(default)]
    message: String,
}

/// The error in an answer that is no success: by Twilio's code, else by the status.
pub(super) fn refusal(answer: &Answer, now: Timestamp) -> SendError {
    let mut error = answer.refusal(now);
    if let Some(body) = answer.json::<ErrorBody>() {
        if let Some(row) = find(body.code) {
            error.fault = row.fault;
            error.retire_recipient = row.dead;
        }
        error = error.code(body.code.to_string());
        error.detail = sentence(&body.message);
    }
    error
}

#[derive(Deserialize)]
struct Created {
    sid: String,
    status: String,
    error_code: Option<u32>,
    error_message: Option<String>,
}

/// The acceptance in an answer of success. What cannot be read may have been accepted all the same.
pub(super) fn accepted(answer: &Answer) -> Result<Accepted, SendError> {
    let unclear = || SendError::new(Fault::Ambiguous, "the answer says success but names no message");
    let created: Created = answer.json().ok_or_else(unclear)?;
    if let Some(code) = created.error_code {
        let row = find(code);
        let detail = sentence(created.error_message.as_deref().unwrap_or("refused"));
        let mut error = SendError::new(row.map_or(Fault::Rejected, |row| row.fault), detail);
        error.retire_recipient = row.is_some_and(|row| row.dead);
        return Err(error.code(code.to_string()));
    }
    Ok(Accepted {
        provider_message_id: Some(provider_id(&created.sid).ok_or_else(unclear)?),
        receipts: Vec::new(),
        note: Some(sentence(&created.status)),
    })
}
