//! The simulated vendor's callback, so that a person can play the vendor with curl.

use aws_lc_rs::hmac;
use serde::Deserialize;

use crate::contract::{
    Channel, InboundMessage, Party, Receipt, ReceiptError, ReceiptKind, ReceiptSource, Timestamp,
    WebhookRequest, WebhookResult,
};

const SIGNATURE: &str = "x-dev-signature";
/// Most events in one call.
const MAX_EVENTS: usize = 1000;

/// Reads callbacks; demands a signature when there is a secret.
pub(super) struct Webhook {
    key: Option<hmac::Key>,
}

impl Webhook {
    pub(super) fn new(key: Option<hmac::Key>) -> Self {
        Self { key }
    }

    fn verify(&self, request: &WebhookRequest<'_>) -> Result<(), ReceiptError> {
        let Some(key) = &self.key else { return Ok(()) };
        let signature =
            request.header(SIGNATURE).ok_or(ReceiptError::Unverified("x-dev-signature is missing"))?;
        let wrong = ReceiptError::Unverified("x-dev-signature does not fit the body");
        let Some(tag) = signature.trim().strip_prefix("sha256=").and_then(from_hex) else {
            return Err(wrong);
        };
        // Compares in constant time.
        hmac::verify(key, request.body, &tag).map_err(|_| wrong)
    }
}

impl ReceiptSource for Webhook {
    fn read(&self, request: &WebhookRequest<'_>) -> Result<WebhookResult, ReceiptError> {
        self.verify(request)?;
        let unreadable = |error: serde_json::Error| {
            // The place, not the text: a message of serde_json may quote what it found.
            let (line, column) = (error.line(), error.column());
            ReceiptError::Malformed(format!("it is not one of our events, at line {line} column {column}"))
        };
        let first = request.body.iter().find(|byte| !byte.is_ascii_whitespace());
        let events: Vec<Event> = if first == Some(&b'[') {
            serde_json::from_slice(request.body).map_err(unreadable)?
        } else {
            vec![serde_json::from_slice(request.body).map_err(unreadable)?]
        };
        if events.len() > MAX_EVENTS {
            return Err(ReceiptError::Malformed(format!("it has more than {MAX_EVENTS} events")));
        }
        let receipts = events.into_iter().map(Event::into_receipt).collect::<Result<_, _>>()?;
        Ok(WebhookResult { receipts, reply: None })
    }
}

/// One event. Fields that we do not know are ignored.
#[derive(Deserialize)]
struct Event {
    event: String,
    provider_message_id: Option<String>,
    message_id: Option<String>,
    code: Option<String>,
    detail: Option<String>,
    at: Option<String>,
    #[serde(default)]
    recipient_dead: bool,
    channel: Option<String>,
    from: Option<String>,
    from_name: Option<String>,
    to: Option<String>,
    subject: Option<String>,
    body: Option<String>,
}

impl Event {
    fn into_receipt(self) -> Result<Receipt, ReceiptError> {
        let malformed = |what: &str| ReceiptError::Malformed(what.to_owned());
        let at = match &self.at {
            Some(text) => Some(
                Timestamp::parse(text)
                    .ok_or_else(|| malformed("`at` is not a time such as 2026-01-01T00:00:00Z"))?,
            ),
            None => None,
        };
        let kind = match self.event.to_ascii_lowercase().as_str() {
            "accepted" => ReceiptKind::Accepted,
            "sent" => ReceiptKind::Sent,
            "deferred" => ReceiptKind::Deferred,
            "delivered" => ReceiptKind::Delivered,
            "read" => ReceiptKind::Read,
            "clicked" => ReceiptKind::Clicked,
            "failed" => ReceiptKind::Failed { recipient_dead: self.recipient_dead },
            "bounced" => ReceiptKind::Failed { recipient_dead: true },
            "complained" => ReceiptKind::Complained,
            "unsubscribed" => ReceiptKind::Unsubscribed,
            "resubscribed" => ReceiptKind::Resubscribed,
            "inbound" => ReceiptKind::Inbound(Box::new(self.inbound()?)),
            _ => ReceiptKind::Unknown(self.event.clone()),
        };
        let names_none = self.provider_message_id.is_none() && self.message_id.is_none();
        if names_none && !matches!(kind, ReceiptKind::Inbound(_) | ReceiptKind::Unknown(_)) {
            return Err(malformed("an event names neither `provider_message_id` nor `message_id`"));
        }
        Ok(Receipt {
            kind,
            provider_message_id: self.provider_message_id,
            message_id: self.message_id,
            at,
            code: self.code,
            detail: self.detail,
        })
    }

    fn inbound(&self) -> Result<InboundMessage, ReceiptError> {
        let missing =
            |field: &str| ReceiptError::Malformed(format!("an inbound event needs `{field}` as text"));
        let channel = self.channel.as_deref().ok_or_else(|| missing("channel"))?;
        let channel = channel
            .parse::<Channel>()
            .map_err(|()| ReceiptError::Malformed("`channel` must be EMAIL, SMS, CHAT or PUSH".to_owned()))?;
        let address = self.from.clone().ok_or_else(|| missing("from"))?;
        Ok(InboundMessage {
            channel,
            from: Party { address, name: self.from_name.clone() },
            to: self.to.clone().ok_or_else(|| missing("to"))?,
            subject: self.subject.clone(),
            body: self.body.clone().ok_or_else(|| missing("body"))?,
            metadata: Vec::new(),
        })
    }
}

/// Reads pairs of hexadecimal digits.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?)).collect()
}
