//! Lengths of time as people write them in settings: `250ms`, `2s`, `10m`, `1h 30m`.

use std::{ops::RangeInclusive, time::Duration};

use crate::contract::ConfigError;

/// Reads the setting `key`, or gives the default when it is absent. `allowed` are its bounds, both included.
///
/// # Errors
/// Names the key when the text is no length of time or lies outside the bounds.
pub fn duration(
    key: &str,
    text: Option<&str>,
    default: Duration,
    allowed: RangeInclusive<Duration>,
) -> Result<Duration, ConfigError> {
    let Some(text) = text else { return Ok(default) };
    let length = text
        .trim()
        .parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|length| Duration::try_from(length).ok())
        .ok_or_else(|| {
            ConfigError::new(key, "is not a length of time").hint("write it like 250ms, 2s, 10m or 1h 30m")
        })?;
    if !allowed.contains(&length) {
        let (least, most) = (allowed.start(), allowed.end());
        return Err(ConfigError::new(key, format!("must lie between {least:?} and {most:?}")));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Duration, ConfigError> {
        duration("wait", Some(text), Duration::ZERO, Duration::ZERO..=Duration::from_secs(7200))
    }

    #[test]
    fn people_write_it_in_several_ways() {
        assert_eq!(read("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(read("0s").unwrap(), Duration::ZERO);
        assert_eq!(read(" 2s ").unwrap(), Duration::from_secs(2));
        assert_eq!(read("1h 30m").unwrap(), Duration::from_secs(5400));
        let fallback = Duration::from_secs(3);
        assert_eq!(duration("wait", None, fallback, fallback..=fallback).unwrap(), fallback);
    }

    #[test]
    fn what_is_wrong_names_the_key() {
        for text in ["", "soon", "-1s", "5", "3h"] {
            assert_eq!(read(text).unwrap_err().key, "wait", "{text}");
        }
    }
}
