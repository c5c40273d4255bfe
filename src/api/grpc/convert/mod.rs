//! The one place where what is on the wire meets the model.
//!
//! What comes in is read as far as it can be; what cannot be read is noted, to be said together with everything else that is wrong.

pub(super) mod contact;
pub(super) mod event;
pub(super) mod filter;
pub(super) mod json;
pub(super) mod message;
pub(super) mod others;
pub(super) mod record;

use headlessly_providers::contract::{Channel, Priority, Reporting};

use crate::{
    model::{
        Timestamp,
        message::Direction,
        status::{Reason, Status},
    },
    pb,
    service::{Given, Violations},
};

/// Text that is not empty.
pub(super) fn text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A time as it is on the wire.
pub(super) fn stamp(at: Timestamp) -> prost_types::Timestamp {
    let micros = i32::try_from(at.0.rem_euclid(1_000_000)).unwrap_or_default();
    prost_types::Timestamp { seconds: at.seconds(), nanos: micros * 1_000 }
}

/// A time from the wire: years 1 to 9999, as protobuf defines it.
pub(super) fn time(
    violations: &mut Violations,
    field: &str,
    stamp: Option<prost_types::Timestamp>,
) -> Option<Timestamp> {
    let stamp = stamp?;
    let valid = (-62_135_596_800..=253_402_300_799).contains(&stamp.seconds)
        && (0..1_000_000_000).contains(&stamp.nanos);
    if !valid {
        violations.add(field, "must be a time between the years 1 and 9999, with nanos from 0 to 999999999");
        return None;
    }
    Some(Timestamp(stamp.seconds * 1_000_000 + i64::from(stamp.nanos) / 1_000))
}

/// A time that is a whole argument.
pub(super) fn given_time(field: &str, stamp: Option<prost_types::Timestamp>) -> Given<Option<Timestamp>> {
    let mut violations = Violations::default();
    let value = time(&mut violations, field, stamp);
    Given { value, violations }
}

/// Reads an enum; 0 is unset, and what is not known is noted with the names that are.
macro_rules! read_enum {
    ($violations:expr, $field:expr, $value:expr, $type:ty, [$($name:ident => $model:expr),+ $(,)?]) => {{
        type Wire = $type;
        match Wire::try_from($value) {
            Ok(Wire::Unspecified) => None,
            $(Ok(Wire::$name) => Some($model),)+
            Err(_) => {
                let names = [$(Wire::$name.as_str_name()),+];
                $violations.add($field, format!("{} is not known; known are {}", $value, names.join(", ")));
                None
            }
        }
    }};
}
pub(super) use read_enum;

pub(super) fn channel(violations: &mut Violations, field: &str, value: i32) -> Option<Channel> {
    read_enum!(violations, field, value, pb::message::Channel, [
        Email => Channel::Email,
        Sms => Channel::Sms,
        Chat => Channel::Chat,
        Push => Channel::Push,
    ])
}

pub(super) fn channel_out(channel: Channel) -> i32 {
    let channel = match channel {
        Channel::Email => pb::message::Channel::Email,
        Channel::Sms => pb::message::Channel::Sms,
        Channel::Chat => pb::message::Channel::Chat,
        Channel::Push => pb::message::Channel::Push,
    };
    channel.into()
}

fn priority(violations: &mut Violations, value: i32) -> Priority {
    let priority = read_enum!(violations, "priority", value, pb::message::Priority, [
        Transactional => Priority::Transactional,
        Normal => Priority::Normal,
        Bulk => Priority::Bulk,
    ]);
    priority.unwrap_or_default()
}

fn priority_out(priority: Priority) -> i32 {
    let priority = match priority {
        Priority::Transactional => pb::message::Priority::Transactional,
        Priority::Normal => pb::message::Priority::Normal,
        Priority::Bulk => pb::message::Priority::Bulk,
    };
    priority.into()
}

fn direction(violations: &mut Violations, value: i32) -> Direction {
    let direction = read_enum!(violations, "direction", value, pb::message::Direction, [
        Outbound => Direction::Outbound,
        Inbound => Direction::Inbound,
        Internal => Direction::Internal,
    ]);
    if direction == Some(Direction::Inbound) {
        violations.add(
            "direction",
            "must be OUTBOUND or INTERNAL; INBOUND is what the service sets on messages that come in",
        );
    }
    direction.unwrap_or_default()
}

fn direction_out(direction: Direction) -> i32 {
    let direction = match direction {
        Direction::Outbound => pb::message::Direction::Outbound,
        Direction::Inbound => pb::message::Direction::Inbound,
        Direction::Internal => pb::message::Direction::Internal,
    };
    direction.into()
}

fn status_out(status: Status) -> i32 {
    let status = match status {
        Status::Draft => pb::message::Status::Draft,
        Status::Scheduled => pb::message::Status::Scheduled,
        Status::Queued => pb::message::Status::Queued,
        Status::Sent => pb::message::Status::Sent,
        Status::Delivered => pb::message::Status::Delivered,
        Status::Read => pb::message::Status::Read,
        Status::Failed => pb::message::Status::Failed,
        Status::Cancelled => pb::message::Status::Cancelled,
        Status::Expired => pb::message::Status::Expired,
    };
    status.into()
}

pub(super) fn reporting_out(reporting: Reporting) -> i32 {
    let reporting = match reporting {
        Reporting::None => pb::message::DeliveryReporting::None,
        Reporting::Delivery => pb::message::DeliveryReporting::Delivery,
        Reporting::DeliveryAndRead => pb::message::DeliveryReporting::DeliveryAndRead,
    };
    reporting.into()
}

pub(super) fn reason(violations: &mut Violations, value: i32) -> Option<Reason> {
    read_enum!(violations, "reason", value, pb::failure::Reason, [
        Rejected => Reason::Rejected,
        BadRecipient => Reason::BadRecipient,
        NoAddress => Reason::NoAddress,
        NoProvider => Reason::NoProvider,
        RetriesExhausted => Reason::RetriesExhausted,
        Ambiguous => Reason::Ambiguous,
        Undelivered => Reason::Undelivered,
        AsyncBounce => Reason::AsyncBounce,
        Reported => Reason::Reported,
        Poison => Reason::Poison,
        Suppressed => Reason::Suppressed,
    ])
}

fn reason_out(reason: Reason) -> i32 {
    let reason = match reason {
        Reason::Rejected => pb::failure::Reason::Rejected,
        Reason::BadRecipient => pb::failure::Reason::BadRecipient,
        Reason::NoAddress => pb::failure::Reason::NoAddress,
        Reason::NoProvider => pb::failure::Reason::NoProvider,
        Reason::RetriesExhausted => pb::failure::Reason::RetriesExhausted,
        Reason::Ambiguous => pb::failure::Reason::Ambiguous,
        Reason::Undelivered => pb::failure::Reason::Undelivered,
        Reason::AsyncBounce => pb::failure::Reason::AsyncBounce,
        Reason::Reported => pb::failure::Reason::Reported,
        Reason::Poison => pb::failure::Reason::Poison,
        Reason::Suppressed => pb::failure::Reason::Suppressed,
    };
    reason.into()
}

/// Reads a field mask over these fields. Without one: every field that `is_set`.
pub(super) fn mask(
    violations: &mut Violations,
    mask: Option<prost_types::FieldMask>,
    fields: &[&'static str],
    is_set: impl Fn(&str) -> bool,
) -> Vec<&'static str> {
    let paths = mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() {
        let set: Vec<_> = fields.iter().copied().filter(|field| is_set(field)).collect();
        if set.is_empty() {
            violations.add(
                "update_mask",
                format!("names nothing to change, and no field is set; known are {}", fields.join(", ")),
            );
        }
        return set;
    }
    let mut chosen = Vec::with_capacity(paths.len().min(fields.len()));
    for path in &paths {
        match fields.iter().find(|field| *field == path) {
            Some(field) if chosen.contains(field) => {}
            Some(field) => chosen.push(*field),
            None => {
                let shown: String = path.chars().take(64).collect();
                let problem = format!("`{shown}` cannot be changed; what can be is {}", fields.join(", "));
                return {
                    violations.add("update_mask", problem);
                    chosen
                };
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_wire_and_bad_ones_are_noted() {
        for at in [Timestamp(0), Timestamp(1_800_000_000_123_456), Timestamp(-1)] {
            assert_eq!(given_time("at", Some(stamp(at))), Given::new(Some(at)));
        }
        let bad = [(i64::MAX, 0), (0, 1_000_000_000), (0, -1), (253_402_300_800, 0)];
        for (seconds, nanos) in bad {
            let given = given_time("at", Some(prost_types::Timestamp { seconds, nanos }));
            assert!(given.value.is_none() && given.violations.names("at"));
        }
    }

    #[test]
    fn enums_survive_the_wire() {
        let mut violations = Violations::default();
        for one in Channel::ALL {
            assert_eq!(channel(&mut violations, "channel", channel_out(one)), Some(one));
        }
        for one in Reason::ALL {
            assert_eq!(reason(&mut violations, reason_out(one)), Some(one));
        }
        assert_eq!(violations, Violations::default());
        for status in Status::ALL {
            let name = pb::message::Status::try_from(status_out(status)).map(|status| status.as_str_name());
            assert_eq!(name, Ok(status.as_str()));
        }
        assert_eq!(channel(&mut violations, "channel", 9_999), None);
        assert_eq!(violations.0[0].description, "9999 is not known; known are EMAIL, SMS, CHAT, PUSH");
    }

    #[test]
    fn masks() {
        let read = |paths: &[&str]| {
            let mut violations = Violations::default();
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            let fields =
                mask(&mut violations, Some(prost_types::FieldMask { paths }), &["a", "b"], |field| {
                    field == "b"
                });
            (fields, violations.0.len())
        };
        assert_eq!(read(&[]), (vec!["b"], 0));
        assert_eq!(read(&["a", "a", "b"]), (vec!["a", "b"], 0));
        assert_eq!(read(&["status"]).1, 1);
    }
}
