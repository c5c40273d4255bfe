//! What can be asked for: the fields of every entity, by their names in the API.

use crate::model::{
    Channel,
    crm::{ACTIVITY_STATUSES, ACTIVITY_TYPES, TICKET_CHANNELS, TICKET_PRIORITIES, TICKET_STATUSES},
    filter::{FilterError, unknown},
    ids::{ActivityId, BadId, EventId, MessageId, TicketId},
    message::{Direction, PRIORITIES, REPORTINGS},
    status::{Reason, Status},
};

/// What can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the entities of the API, by name")]
pub enum Entity {
    Message,
    Contact,
    Activity,
    Ticket,
}

/// One field: its name in the API, where it lies, what it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) column: &'static str,
    pub(super) kind: Kind,
    pub(super) nullable: bool,
}

/// How the values of a field are read, stored and compared.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Compared byte by byte.
    Text,
    /// Too long to be sorted by: the value would travel in the page token.
    LongText,
    /// Microseconds; RFC 3339 in filters.
    Time,
    Int,
    Bool,
    /// One of these names, stored as it is. Greater is what comes later in the list.
    Name(&'static [&'static str]),
    /// One of these names, stored as its place in the list.
    Rank(&'static [&'static str]),
    /// An integer that is a word outside.
    Id(fn(&str) -> Result<i64, BadId>),
    /// A JSON list of texts; satisfied by any of them.
    List,
    /// The named part of the objects in a JSON list; satisfied by any of them.
    Parts(&'static str, &'static [&'static str]),
    /// A JSON object with keys of the caller's.
    Json,
}

/// The names of an enum of the model as a constant list.
macro_rules! names {
    ($all:expr, $count:expr, |$each:ident| $name:expr) => {{
        const NAMES: [&str; $count] = {
            let all = $all;
            let mut names = [""; $count];
            let mut at = 0;
            while at < $count {
                let $each = all[at];
                names[at] = $name;
                at += 1;
            }
            names
        };
        &NAMES
    }};
}

const CHANNELS: &[&str] = names!(Channel::ALL, Channel::ALL.len(), |each| each.as_str());
const DIRECTIONS: &[&str] = names!(Direction::ALL, Direction::ALL.len(), |each| each.as_str());
const STATUSES: &[&str] = names!(Status::ALL, Status::ALL.len(), |each| each.as_str());
const REASONS: &[&str] = names!(Reason::ALL, Reason::ALL.len(), |each| each.as_str());
const LANES: &[&str] = names!(PRIORITIES, PRIORITIES.len(), |each| each.1);
const REPORTS: &[&str] = names!(REPORTINGS, REPORTINGS.len(), |each| each.1);

const MESSAGE_ID: Kind = Kind::Id(|word| word.parse::<MessageId>().map(|id| id.0));
const ACTIVITY_ID: Kind = Kind::Id(|word| word.parse::<ActivityId>().map(|id| id.0));
const TICKET_ID: Kind = Kind::Id(|word| word.parse::<TicketId>().map(|id| id.0));
const EVENT_ID: Kind = Kind::Id(|word| word.parse::<EventId>().map(|id| id.0));

/// Always set.
const fn set(name: &'static str, kind: Kind) -> Field {
    Field { name, column: name, kind, nullable: false }
}

/// May be unset.
const fn opt(name: &'static str, kind: Kind) -> Field {
    Field { name, column: name, kind, nullable: true }
}

/// May be unset, in a column of another name.
const fn at(name: &'static str, column: &'static str, kind: Kind) -> Field {
    Field { name, column, kind, nullable: true }
}

const MESSAGE: &[Field] = &[
    set("id", MESSAGE_ID),
    set("version", Kind::Int),
    set("created_at", Kind::Time),
    set("updated_at", Kind::Time),
    set("created_by", Kind::Text),
    opt("channel", Kind::Name(CHANNELS)),
    set("direction", Kind::Name(DIRECTIONS)),
    opt("sender", Kind::Text),
    opt("recipient", Kind::Text),
    opt("subject", Kind::Text),
    set("body", Kind::LongText),
    opt("tags", Kind::List),
    opt("thread", Kind::Text),
    opt("in_reply_to", Kind::Text),
    opt("campaign", Kind::Text),
    opt("ticket", Kind::Text),
    opt("workflow", Kind::Text),
    set("priority", Kind::Rank(LANES)),
    opt("scheduled_at", Kind::Time),
    opt("expires_at", Kind::Time),
    set("sensitive", Kind::Bool),
    set("status", Kind::Name(STATUSES)),
    opt("sent_at", Kind::Time),
    opt("delivered_at", Kind::Time),
    opt("read_at", Kind::Time),
    opt("failed_at", Kind::Time),
    opt("cancelled_at", Kind::Time),
    at("failure.reason", "failure_reason", Kind::Name(REASONS)),
    at("failure.code", "failure_code", Kind::Text),
    at("failure.detail", "failure_detail", Kind::LongText),
    opt("provider", Kind::Text),
    opt("provider_message_id", Kind::Text),
    set("attempts", Kind::Int),
    at("delivery_reporting", "reporting", Kind::Rank(REPORTS)),
    set("generation", Kind::Int),
    opt("deleted_at", Kind::Time),
    opt("metadata", Kind::Json),
];

const CONTACT: &[Field] = &[
    set("id", Kind::Text),
    set("version", Kind::Int),
    set("created_at", Kind::Time),
    set("updated_at", Kind::Time),
    set("created_by", Kind::Text),
    opt("name", Kind::Text),
    at("addresses.channel", "addresses", Kind::Parts("channel", CHANNELS)),
    at("addresses.value", "addresses", Kind::Parts("value", &[])),
    at("addresses.label", "addresses", Kind::Parts("label", &[])),
    opt("preferred_channel", Kind::Name(CHANNELS)),
    opt("locale", Kind::Text),
    opt("time_zone", Kind::Text),
    opt("deleted_at", Kind::Time),
    opt("metadata", Kind::Json),
];

const ACTIVITY: &[Field] = &[
    set("id", ACTIVITY_ID),
    set("version", Kind::Int),
    set("created_at", Kind::Time),
    set("updated_at", Kind::Time),
    set("created_by", Kind::Text),
    set("subject", Kind::Text),
    set("type", Kind::Name(&ACTIVITY_TYPES)),
    opt("contact", Kind::Text),
    set("status", Kind::Name(&ACTIVITY_STATUSES)),
    opt("description", Kind::LongText),
    at("message", "message_id", MESSAGE_ID),
    opt("event", EVENT_ID),
];

const TICKET: &[Field] = &[
    set("id", TICKET_ID),
    set("version", Kind::Int),
    set("created_at", Kind::Time),
    set("updated_at", Kind::Time),
    set("created_by", Kind::Text),
    set("subject", Kind::Text),
    opt("description", Kind::LongText),
    set("status", Kind::Name(&TICKET_STATUSES)),
    set("priority", Kind::Name(&TICKET_PRIORITIES)),
    opt("channel", Kind::Name(&TICKET_CHANNELS)),
    opt("requester", Kind::Text),
    at("message", "message_id", MESSAGE_ID),
    opt("event", EVENT_ID),
];

impl Entity {
    /// Its table, and its name in errors.
    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Contact => "contact",
            Self::Activity => "activity",
            Self::Ticket => "ticket",
        }
    }

    /// Whether its rows are deleted softly.
    pub(super) const fn is_soft(self) -> bool {
        matches!(self, Self::Message | Self::Contact)
    }

    pub(super) const fn fields(self) -> &'static [Field] {
        match self {
            Self::Message => MESSAGE,
            Self::Contact => CONTACT,
            Self::Activity => ACTIVITY,
            Self::Ticket => TICKET,
        }
    }

    /// The field of this name. For a key of metadata that is the whole of it; the name tells the key.
    pub(super) fn field(self, path: &str, name: &str) -> Result<Field, FilterError> {
        let wanted = if name.starts_with("metadata.") { "metadata" } else { name };
        let found = self.fields().iter().find(|field| field.name == wanted);
        found.copied().ok_or_else(|| {
            let known = self.fields().iter().map(|field| match field.kind {
                Kind::Json => "metadata.<key>",
                _ => field.name,
            });
            unknown(path, &format!("a field of {}", self.table()), name, known)
        })
    }
}
