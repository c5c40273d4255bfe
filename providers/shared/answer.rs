//! What an HTTP vendor answered, and what that means when its body says nothing better.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use serde::de::DeserializeOwned;

use crate::contract::{Fault, SendError, Timestamp};

/// Longest answer that is read, in bytes.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// Longest wait that a `Retry-After` can ask for; a longer one is cut to this.
pub const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body, at most [`BODY_LIMIT`] bytes; of a refusal it may be the beginning only.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; `None` when it is something else.
    pub fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The wait that the vendor asked for.
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        retry_after(&self.headers, now)
    }

    /// The error that the status alone tells.
    pub fn refusal(&self, now: Timestamp) -> SendError {
        let fault = fault_for_status(self.status);
        let reason = self.status.canonical_reason().unwrap_or("an unknown status");
        let detail = format!("the vendor answered {} ({reason})", self.status.as_u16());
        SendError::new(fault, detail).retry_after(self.retry_after(now))
    }
}

/// The default of every HTTP plugin; its `errors.rs` holds the exceptions only.
///
/// 5xx is ambiguous because a server may fail after it took the message (a gateway in front of it in particular); 503 is the
/// status by which servers say that they did not begin (RFC 9110 section 15.6.4), and 408 and 425 that they did not get or
/// did not touch the request (RFC 9110 section 15.5.9, RFC 8470 section 5.2). A redirect is never followed, as it would
/// carry credentials to a place that nobody configured.
pub fn fault_for_status(status: StatusCode) -> Fault {
    match status.as_u16() {
        401 | 403 | 407 => Fault::Unauthorized,
        408 | 425 | 503 => Fault::Transient,
        429 => Fault::Throttled,
        300..=499 => Fault::Rejected,
        _ => Fault::Ambiguous,
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3), at most [`LONGEST_WAIT`].
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = value.parse() {
        Duration::from_secs(seconds)
    } else {
        let date = jiff::fmt::rfc2822::parse(value).ok()?;
        Timestamp(date.timestamp().as_microsecond()).since(now)
    };
    Some(wait.min(LONGEST_WAIT))
}

/// A vendor's id that can be stored and matched: 1 to 256 printable characters, no spaces at its ends.
pub fn provider_id(text: &str) -> Option<String> {
    let fits = (1..=256).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
        && text.trim() == text;
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn statuses() {
        let table = [
            (200, Fault::Ambiguous),
            (302, Fault::Rejected),
            (400, Fault::Rejected),
            (401, Fault::Unauthorized),
            (403, Fault::Unauthorized),
            (404, Fault::Rejected),
            (408, Fault::Transient),
            (429, Fault::Throttled),
            (500, Fault::Ambiguous),
            (502, Fault::Ambiguous),
            (503, Fault::Transient),
            (504, Fault::Ambiguous),
        ];
        for (status, fault) in table {
            assert_eq!(fault_for_status(StatusCode::from_u16(status).unwrap()), fault, "{status}");
        }
    }

    #[test]
    fn waits() {
        let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let table = [
            ("30", Some(30)),
            (" 7 ", Some(7)),
            ("Thu, 01 Jan 2026 00:01:30 GMT", Some(90)),
            ("Wed, 31 Dec 2025 00:00:00 GMT", Some(0)),
            ("18446744073709551615", Some(86_400)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ];
        for (value, seconds) in table {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn ids() {
        assert_eq!(provider_id("SM1"), Some("SM1".to_owned()));
        assert_eq!(provider_id(&"x".repeat(256)).map(|id| id.len()), Some(256));
        for bad in ["", "a\nb", " a", &"x".repeat(257)] {
            assert_eq!(provider_id(bad), None, "{bad:?}");
        }
    }
}
