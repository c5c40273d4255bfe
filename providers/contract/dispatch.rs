use std::{fmt, str::FromStr};

use bytes::Bytes;

use super::{Receipt, Timestamp};

/// The kind of road a message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// E-mail (RFC 5322).
    Email,
    /// Text message to a phone number.
    Sms,
    /// Chat, our own or a vendor's.
    Chat,
    /// Push notification to a device.
    Push,
}

impl Channel {
    /// All of them, in the order of the API.
    pub const ALL: [Self; 4] = [Self::Email, Self::Sms, Self::Chat, Self::Push];

    /// The name in the API and in the store: `EMAIL`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "EMAIL",
            Self::Sms => "SMS",
            Self::Chat => "CHAT",
            Self::Push => "PUSH",
        }
    }

    /// The name in a sentence: `Email`, `SMS`.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Email => "Email",
            Self::Sms => "SMS",
            Self::Chat => "Chat",
            Self::Push => "Push",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Channel {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|channel| channel.as_str().eq_ignore_ascii_case(text)).ok_or(())
    }
}

/// The lane in which a message waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Never waits behind the others.
    Transactional,
    /// The default.
    #[default]
    Normal,
    /// Campaigns.
    Bulk,
}

/// Somebody on one end of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// The address of the channel: e-mail address, E.164 number, push token, chat handle.
    pub address: String,
    /// The name to show with it.
    pub name: Option<String>,
}

/// A file that travels with an e-mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// File name without a path.
    pub name: String,
    /// Media type.
    pub content_type: String,
    /// The bytes.
    pub content: Bytes,
    /// Set when the HTML part shows it as `cid:<content_id>`.
    pub content_id: Option<String>,
}

/// A key and a value of the caller's metadata, as text.
pub type Tag = (String, String);

/// One hand-off: everything a provider may know about a message.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Our id of the message, `message_...`. Send it along where the vendor returns it in its callbacks.
    pub message_id: String,
    /// The same for every try that must not arrive twice. Use it where the vendor takes an idempotency key.
    pub idempotency_key: String,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// The channel; one of those in the profile.
    pub channel: Channel,
    /// Who speaks; the provider's configured sender when `None`.
    pub sender: Option<Party>,
    /// Who is spoken to.
    pub recipient: Party,
    /// Subject or title.
    pub subject: Option<String>,
    /// The text.
    pub body: String,
    /// The same as HTML.
    pub html_body: Option<String>,
    /// Files.
    pub attachments: Vec<Attachment>,
    /// Further e-mail header fields.
    pub headers: Vec<(String, String)>,
    /// The caller's metadata; values that are not text come as JSON.
    pub metadata: Vec<Tag>,
    /// The conversation.
    pub thread: Option<String>,
    /// Our id of the message this answers.
    pub in_reply_to: Option<String>,
    /// The lane.
    pub priority: Priority,
    /// When it stops being wanted.
    pub expires_at: Option<Timestamp>,
    /// When this try began.
    pub now: Timestamp,
    /// Where this provider's callbacks are received, as the vendor sees it: `https://edge.example/webhooks/twilio-eu`.
    /// `None` when no public URL is configured.
    pub callback_url: Option<String>,
}

/// A provider took the message over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accepted {
    /// The vendor's id, 1 to 256 printable characters. Callbacks are matched by it.
    pub provider_message_id: Option<String>,
    /// What is known already, for providers that deliver within the call.
    pub receipts: Vec<Receipt>,
    /// What the vendor said, for Explain. No addresses, no bodies.
    pub note: Option<String>,
}
