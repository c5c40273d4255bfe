//! Ids: time-ordered 63-bit integers inside, short words outside.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, Ordering},
    },
};

use sqids::Sqids;

use super::Timestamp;

/// 2024-01-01T00:00:00Z in milliseconds: the zero of the time in an id.
const EPOCH_MS: i64 = 1_704_067_200_000;
const SEQUENCE_BITS: u32 = 14;
const NODE_BITS: u32 = 8;
/// Nodes over one database at most.
pub const MAX_NODES: u16 = 1 << NODE_BITS;

static SQIDS: LazyLock<Sqids> = LazyLock::new(|| {
    // Without the list of rude words an id never changes when the list does.
    Sqids::builder().blocklist(Default::default()).build().unwrap_or_default()
});

/// Hands out ids: 41 bits of milliseconds, 8 of node, 14 of sequence.
///
/// Ids of one generator only grow, also when the clock steps back, and 16,384 of them fit into a millisecond; when more are asked
/// for they run ahead of the clock.
#[derive(Debug)]
pub struct IdGenerator {
    node: i64,
    /// Milliseconds and sequence of the last id, node left out.
    last: AtomicI64,
}

impl IdGenerator {
    /// For one node of at most [`MAX_NODES`].
    pub fn new(node: u16) -> Self {
        Self { node: i64::from(node % MAX_NODES), last: AtomicI64::new(0) }
    }

    /// The next id at this time.
    pub fn next(&self, now: Timestamp) -> i64 {
        let floor = (now.millis() - EPOCH_MS).max(0) << SEQUENCE_BITS;
        let step = |last: i64| floor.max(last + 1);
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(step(last)))
            .unwrap_or_default();
        let place = step(last);
        let (ms, sequence) = (place >> SEQUENCE_BITS, place & ((1 << SEQUENCE_BITS) - 1));
        (ms << (NODE_BITS + SEQUENCE_BITS)) | (self.node << SEQUENCE_BITS) | sequence
    }
}

/// The time in an id.
pub fn time_of(id: i64) -> Timestamp {
    Timestamp(((id >> (NODE_BITS + SEQUENCE_BITS)) + EPOCH_MS).saturating_mul(1_000))
}

/// The short word for a non-negative integer.
pub fn encode(id: i64) -> String {
    u64::try_from(id).ok().and_then(|id| SQIDS.encode(&[id]).ok()).unwrap_or_default()
}

/// The integer of a short word; `None` unless it is exactly what [`encode`] makes.
pub fn decode(word: &str) -> Option<i64> {
    if word.is_empty() || word.len() > 16 || !word.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let [number] = SQIDS.decode(word)[..] else { return None };
    let id = i64::try_from(number).ok()?;
    (encode(id) == word).then_some(id)
}

/// A number for the id of any entity: the one inside it, or for a contact (whose id is the caller's) a hash of 63 bits.
pub fn entity_of(id: &str) -> i64 {
    let number =
        id.rsplit_once('_').filter(|(kind, _)| *kind != "contact").and_then(|(_, word)| decode(word));
    number.unwrap_or_else(|| {
        // FNV-1a: stable for ever, which the standard library's hasher is not.
        let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        i64::try_from(hash >> 1).unwrap_or_default()
    })
}

/// A word that is not an id of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an id of this kind: it starts with `{0}` and goes on with letters and digits")]
pub struct BadId(pub &'static str);

macro_rules! id {
    ($name:ident, $prefix:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl $name {
            /// What the word starts with.
            pub const PREFIX: &'static str = $prefix;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                text.strip_prefix($prefix).and_then(decode).map(Self).ok_or(BadId($prefix))
            }
        }
    };
}

id!(MessageId, "message_", "A message.");
id!(EventId, "evt_", "A line of the log; the number is its place in it.");
id!(ActivityId, "activity_", "A CRM activity.");
id!(TicketId, "ticket_", "A support ticket.");
id!(DeviceId, "device_", "A push device.");
id!(ApiKeyId, "apikey_", "An API key.");

/// Whose data it is. Cheap to clone; part of every row, key and query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The tenant of a local server without keys.
    pub const DEFAULT: &'static str = "default";

    /// A tenant of this name: 1 to 64 lower-case letters, digits and `-`.
    pub fn new(name: &str) -> Option<Self> {
        let fits = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        fits.then(|| Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared name, for binding without a copy.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether this is the id of a contact rather than an address.
pub fn is_contact(text: &str) -> bool {
    text.strip_prefix("contact_").is_some_and(|rest| {
        (1..=64).contains(&rest.len())
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_word_reads_back_to_its_number(id in 0..i64::MAX) {
            prop_assert_eq!(MessageId(id).to_string().parse(), Ok(MessageId(id)));
        }

        #[test]
        fn other_words_are_refused_or_are_themselves(word in "[a-zA-Z0-9]{0,20}") {
            if let Some(id) = decode(&word) {
                prop_assert_eq!(encode(id), word);
            }
        }

        #[test]
        fn ids_grow_whatever_the_clock_does(steps in prop::collection::vec(-5_000i64..5_000, 1..200)) {
            let ids = IdGenerator::new(7);
            let (mut now, mut last) = (Timestamp::from_seconds(1_800_000_000), 0);
            for step in steps {
                now = Timestamp(now.0 + step * 1_000);
                let id = ids.next(now);
                prop_assert!(id > last);
                last = id;
            }
        }
    }

    #[test]
    fn an_id_tells_its_time() {
        let now = Timestamp(1_800_000_000_123_000);
        assert_eq!(time_of(IdGenerator::new(255).next(now)), now);
    }
}
