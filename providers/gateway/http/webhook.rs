use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::{
    answer::scalar,
    webhook_config::{Fields, Inbound, Part, RawWebhook, Scheme, Word},
};
use crate::{
    contract::{
        ConfigError, InboundMessage, Party, Receipt, ReceiptError, ReceiptKind, ReceiptSource, Reporting,
        Timestamp, WebhookRequest, WebhookResult,
    },
    shared::{answer::provider_id, signature, text::sentence},
};

/// Numbers above this are milliseconds: as seconds they would lie in the year 5138.
const SECONDS_END: i64 = 100_000_000_000;

/// The callbacks of a vendor that the configuration describes.
#[derive(Debug)]
pub(super) struct Webhook {
    scheme: Scheme,
    fields: Fields,
}

impl Webhook {
    pub(super) fn new(raw: RawWebhook) -> Result<Self, ConfigError> {
        let (scheme, fields) = raw.check()?;
        Ok(Self { scheme, fields })
    }

    pub(super) fn reporting(&self) -> Reporting {
        let mut words = self.fields.statuses.values();
        if words.any(|word| matches!(word, Word::Read | Word::Clicked)) {
            Reporting::DeliveryAndRead
        } else {
            Reporting::Delivery
        }
    }
}

impl ReceiptSource for Webhook {
    fn read(&self, request: &WebhookRequest<'_>) -> Result<WebhookResult, ReceiptError> {
        self.scheme.verify(request)?;
        let document = self.fields.parse(request.body)?;
        let items = match &self.fields.items {
            Some(pointer) => document.pointer(pointer),
            None => Some(&document),
        };
        let receipts = match items {
            Some(Value::Array(items)) => items.iter().filter_map(|item| self.fields.receipt(item)).collect(),
            Some(item) => self.fields.receipt(item).into_iter().collect(),
            None => Vec::new(),
        };
        Ok(WebhookResult { receipts, reply: None })
    }
}

impl Scheme {
    fn verify(&self, request: &WebhookRequest<'_>) -> Result<(), ReceiptError> {
        let given = request
            .header(&self.header)
            .and_then(|value| value.strip_prefix(self.prefix.as_str()))
            .ok_or(ReceiptError::Unverified("the header with the signature is missing"))?;
        let time = match &self.timestamp {
            Some((header, _)) => request
                .header(header)
                .ok_or(ReceiptError::Unverified("the header with the time is missing"))?,
            None => "",
        };
        let parts: Vec<&[u8]> = self
            .signed
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_bytes(),
                Part::Timestamp => time.as_bytes(),
                Part::Body => request.body,
            })
            .collect();
        let tag = signature::tag(self.hash, self.secret.expose_secret().as_bytes(), &parts);
        if !signature::matches(self.encoding, &tag, given) {
            return Err(ReceiptError::Unverified("the signature does not fit"));
        }
        // Only now is the time the vendor's.
        let Some((_, tolerance)) = &self.timestamp else {
            return Ok(());
        };
        let at = read_time(&Value::from(time)).ok_or(ReceiptError::Stale)?;
        let distance = request.now.since(at).max(at.since(request.now));
        if distance > *tolerance { Err(ReceiptError::Stale) } else { Ok(()) }
    }
}

impl Fields {
    fn parse(&self, body: &[u8]) -> Result<Value, ReceiptError> {
        if self.form {
            let pairs = form_urlencoded::parse(body).into_owned();
            return Ok(Value::Object(pairs.map(|(name, value)| (name, value.into())).collect::<Map<_, _>>()));
        }
        // The error names a place, not what is there.
        serde_json::from_slice(body).map_err(|error| {
            ReceiptError::Malformed(format!("not JSON, line {} column {}", error.line(), error.column()))
        })
    }

    /// The receipt in this item; none when it reports nothing or on no message.
    fn receipt(&self, item: &Value) -> Option<Receipt> {
        let status = text(item, Some(&self.status))?;
        let provider_message_id = text(item, self.id.as_ref()).as_deref().and_then(provider_id);
        let message_id = text(item, self.message_id.as_ref()).as_deref().and_then(provider_id);
        if provider_message_id.is_none() && message_id.is_none() {
            return None;
        }
        Some(Receipt {
            kind: self.kind(&status, item)?,
            provider_message_id,
            message_id,
            at: self.time.as_ref().and_then(|pointer| item.pointer(pointer)).and_then(read_time),
            code: text(item, self.code.as_ref()).map(|code| sentence(&code)),
            detail: text(item, self.detail.as_ref()).map(|detail| sentence(&detail)),
        })
    }

    fn kind(&self, status: &str, item: &Value) -> Option<ReceiptKind> {
        Some(match self.statuses.get(status) {
            Some(Word::Accepted) => ReceiptKind::Accepted,
            Some(Word::Sent) => ReceiptKind::Sent,
            Some(Word::Deferred) => ReceiptKind::Deferred,
            Some(Word::Delivered) => ReceiptKind::Delivered,
            Some(Word::Read) => ReceiptKind::Read,
            Some(Word::Clicked) => ReceiptKind::Clicked,
            Some(Word::Failed) => ReceiptKind::Failed { recipient_dead: false },
            Some(Word::DeadRecipient) => ReceiptKind::Failed { recipient_dead: true },
            Some(Word::Complained) => ReceiptKind::Complained,
            Some(Word::Unsubscribed) => ReceiptKind::Unsubscribed,
            Some(Word::Resubscribed) => ReceiptKind::Resubscribed,
            Some(Word::Inbound) => ReceiptKind::Inbound(Box::new(self.inbound.as_ref()?.message(item)?)),
            Some(Word::Ignore) => return None,
            None => ReceiptKind::Unknown(sentence(status)),
        })
    }
}

impl Inbound {
    fn message(&self, item: &Value) -> Option<InboundMessage> {
        Some(InboundMessage {
            channel: self.channel,
            from: Party { address: text(item, Some(&self.from))?, name: None },
            to: text(item, self.to.as_ref()).unwrap_or_default(),
            subject: text(item, self.subject.as_ref()),
            body: text(item, self.body.as_ref()).unwrap_or_default(),
            metadata: Vec::new(),
        })
    }
}

fn text(item: &Value, pointer: Option<&String>) -> Option<String> {
    item.pointer(pointer?).and_then(scalar)
}

/// RFC 3339, or seconds or milliseconds since 1970, as a number or as text.
fn read_time(value: &Value) -> Option<Timestamp> {
    let number = match value {
        Value::String(text) => match text.parse() {
            Ok(number) => number,
            Err(_) => return Timestamp::parse(text),
        },
        value => value.as_i64()?,
    };
    Some(if number.unsigned_abs() > SECONDS_END.unsigned_abs() {
        Timestamp(number.saturating_mul(1000))
    } else {
        Timestamp::from_seconds(number)
    })
}
