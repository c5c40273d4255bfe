//! Durations as people write them: a whole number and a unit.

use std::time::Duration;

/// Units, longest first, with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads `250ms`, `5s`, `2m`, `1h` or `3d`.
///
/// # Errors
/// A sentence on what is wrong: no number, no unit, an unknown unit, a fraction, a sign, or more than 64 bits hold.
pub fn parse(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err("must begin with a whole number, like 30s".to_owned());
    }
    if unit.is_empty() {
        return Err(format!("has no unit; write {digits}s, or ms, m, h, d"));
    }
    let Some((_, length)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err("must be a whole number and one of the units ms, s, m, h, d, like 30s".to_owned());
    };
    let number = digits.parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(*length))
        .map(Duration::from_millis)
        .ok_or_else(|| "is too long".to_owned())
}

/// The shortest form that [`parse`] reads back; parts of a millisecond are left out.
pub fn show(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    for (name, length) in UNITS {
        if millis.is_multiple_of(length) {
            return format!("{}{name}", millis / length);
        }
    }
    format!("{millis}ms")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("0s", 0),
            ("250ms", 250),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("72h", 259_200_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "+5s",
            "1.5h",
            "1e9 h",
            "1e9h",
            "5 s",
            " 5s",
            "5s ",
            "5S",
            "5sec",
            "5µs",
            "1h30m",
            "٣s",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("60").unwrap_err(), "has no unit; write 60s, or ms, m, h, d");
    }

    proptest! {
        #[test]
        fn shown_durations_read_back(millis in any::<u64>()) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&show(duration)), Ok(duration));
        }

        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
