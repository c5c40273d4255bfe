use super::{Channel, Party, Timestamp};

/// What a vendor reports about a message after it accepted it.
#[derive(Clone, Debug, PartialEq)]
pub enum ReceiptKind {
    /// The vendor has it and has not passed it on yet. Changes nothing.
    Accepted,
    /// Passed on to the carrier or the receiving server.
    Sent,
    /// Not yet, the vendor goes on trying. Changes nothing.
    Deferred,
    /// It arrived.
    Delivered,
    /// It was opened.
    Read,
    /// A link in it was followed: it was opened.
    Clicked,
    /// It will not arrive. `recipient_dead` when the address is of no further use.
    Failed {
        /// The address cannot be reached at all.
        recipient_dead: bool,
    },
    /// The recipient called it unwanted.
    Complained,
    /// The recipient wants no more.
    Unsubscribed,
    /// The recipient wants them again.
    Resubscribed,
    /// Somebody wrote to us.
    Inbound(Box<InboundMessage>),
    /// A word we do not know, as the vendor wrote it. Counted, changes nothing.
    Unknown(String),
}

/// One report, about one message.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// What happened.
    pub kind: ReceiptKind,
    /// The vendor's id of the message.
    pub provider_message_id: Option<String>,
    /// Our id, where the vendor returns it. Stronger than the vendor's.
    pub message_id: Option<String>,
    /// When, by the vendor's clock; `None` when it does not say (then the time of arrival counts).
    pub at: Option<Timestamp>,
    /// The vendor's code.
    pub code: Option<String>,
    /// The vendor's sentence.
    pub detail: Option<String>,
}

impl Receipt {
    /// A report on the message with this vendor's id.
    pub fn new(kind: ReceiptKind, provider_message_id: impl Into<String>) -> Self {
        Self {
            kind,
            provider_message_id: Some(provider_message_id.into()),
            message_id: None,
            at: None,
            code: None,
            detail: None,
        }
    }
}

/// A message that somebody sent to us.
#[derive(Clone, Debug, PartialEq)]
pub struct InboundMessage {
    /// The channel it came by.
    pub channel: Channel,
    /// Who wrote.
    pub from: Party,
    /// The address of ours it was sent to.
    pub to: String,
    /// Subject, if it has one.
    pub subject: Option<String>,
    /// The text; may be empty when only media came.
    pub body: String,
    /// Further facts about it (media URLs), as text.
    pub metadata: Vec<(String, String)>,
}

/// A call of a vendor, as it came.
#[derive(Clone, Copy, Debug)]
pub struct WebhookRequest<'a> {
    /// `POST`.
    pub method: &'a str,
    /// The URL as the vendor was told it, with its query: schemes that sign the URL sign this one, not what a proxy forwards.
    pub url: &'a str,
    /// Names in lower case, in the order received. Values that are not text are left out.
    pub headers: &'a [(String, String)],
    /// The raw bytes.
    pub body: &'a [u8],
    /// When it arrived.
    pub now: Timestamp,
}

impl<'a> WebhookRequest<'a> {
    /// The first header of this name (in lower case).
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}

/// What a webhook said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebhookResult {
    /// In the order of the request; may be empty.
    pub receipts: Vec<Receipt>,
    /// What the vendor wants to hear; an empty 204 when `None`. Sent only after the receipts are stored.
    pub reply: Option<WebhookReply>,
}

/// An answer that a vendor insists on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookReply {
    /// Media type.
    pub content_type: &'static str,
    /// The body, sent with status 200.
    pub body: String,
}

/// A webhook that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// No valid signature: answered 401 without detail.
    #[error("the signature is missing or wrong: {0}")]
    Unverified(&'static str),
    /// Signed, but too old or from the future: answered 401.
    #[error("the time in the signature is outside the window")]
    Stale,
    /// Signed, but not readable: answered 400.
    #[error("the body cannot be read: {0}")]
    Malformed(String),
}
