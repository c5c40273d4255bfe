//! Times, as people write and read them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use crate::config;

/// `2026-11-22 16:45` in this zone; empty when there is none.
pub(super) fn short(time: Option<&prost_types::Timestamp>, zone: &TimeZone) -> String {
    format(time, zone, "%Y-%m-%d %H:%M")
}

/// `2026-11-22 16:45:32.120 +01:00` in this zone; empty when there is none.
pub(super) fn full(time: Option<&prost_types::Timestamp>, zone: &TimeZone) -> String {
    format(time, zone, "%Y-%m-%d %H:%M:%S%.3f %:z")
}

fn format(time: Option<&prost_types::Timestamp>, zone: &TimeZone, form: &str) -> String {
    let Some(time) = time else { return String::new() };
    match Timestamp::new(time.seconds, time.nanos) {
        Ok(time) => time.to_zoned(zone.clone()).strftime(form).to_string(),
        Err(_) => format!("{} s since 1970", time.seconds),
    }
}

/// Reads a time from the command line: RFC 3339, a local date and time, or `+` and a duration from now.
///
/// # Errors
/// The forms that are understood.
pub(super) fn parse(text: &str) -> Result<prost_types::Timestamp, String> {
    parse_at(text, Timestamp::now(), &TimeZone::system())
}

fn parse_at(text: &str, now: Timestamp, zone: &TimeZone) -> Result<prost_types::Timestamp, String> {
    let time = match text.strip_prefix('+') {
        Some(rest) => {
            let later = SignedDuration::try_from(config::parse_duration(rest)?).ok();
            later.and_then(|later| now.checked_add(later).ok()).ok_or("is too far away")?
        }
        None => text
            .parse::<Timestamp>()
            .ok()
            .or_else(|| zone.to_timestamp(text.parse::<DateTime>().ok()?).ok())
            .ok_or("write 2026-11-23T09:00:00Z, or 2026-11-23T09:00 for local time, or +15m")?,
    };
    Ok(prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() })
}

/// Reads a duration from the command line that is not zero.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = config::parse_duration(text)?;
    if duration.is_zero() { Err("must be longer than 0".to_owned()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_are_local_and_name_their_offset_in_full() {
        let time = prost_types::Timestamp { seconds: 1_767_225_600, nanos: 120_000_000 };
        let zone = TimeZone::fixed(jiff::tz::offset(5));
        assert_eq!(short(Some(&time), &zone), "2026-01-01 05:00");
        assert_eq!(full(Some(&time), &zone), "2026-01-01 05:00:00.120 +05:00");
        assert_eq!(short(None, &zone), "");
        let far = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
        assert!(full(Some(&far), &zone).ends_with("since 1970"));
    }

    #[test]
    fn three_forms_are_understood() {
        let now = Timestamp::from_second(1_000).unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let seconds = |text| parse_at(text, now, &zone).map(|time| time.seconds);
        assert_eq!(seconds("1970-01-01T01:00:00Z"), Ok(3_600));
        assert_eq!(seconds("1970-01-01T01:00:00+01:00"), Ok(0));
        assert_eq!(seconds("1970-01-01 02:00"), Ok(3_600));
        assert_eq!(seconds("+15m"), Ok(1_900));
        for bad in ["", "tomorrow", "+15", "+", "1970-13-01T00:00:00Z", "+9999999999999d"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
