//! Header fields beside the ones that every message has.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use lettre::message::header::{HeaderName, HeaderValue};

use super::compose::header_line;
use crate::contract::{Dispatch, Fault, SendError};

/// Fields that we set ourselves, or that belong to the servers on the way.
const REFUSED: &[&str] = &[
    "from",
    "to",
    "cc",
    "bcc",
    "subject",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "mime-version",
    "return-path",
    "received",
    "received-spf",
    "delivered-to",
    "dkim-signature",
    "domainkey-signature",
    "authentication-results",
];
/// The same for families of fields.
const REFUSED_PREFIXES: &[&str] = &["content-", "resent-", "arc-", "x-hly-"];
const MAX_VALUE: usize = 8 * 1024;
const LINE: usize = 76;

/// In-Reply-To and References (RFC 5322 section 3.6.4).
///
/// A conversation has a made-up first message that every message of it refers to: so mail programs show them together even when
/// the one that is answered did not come by mail. An id with an @ is a Message-ID from outside and stays as it is.
pub(super) fn threading(out: &mut String, dispatch: &Dispatch, domain: &str) {
    let id = |text: &str| {
        let clean: String =
            text.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>')).take(400).collect();
        if clean.contains('@') { format!("<{clean}>") } else { format!("<{clean}@{domain}>") }
    };
    let parent = dispatch.in_reply_to.as_deref().map(id);
    let thread = dispatch.thread.as_deref().map(id);
    if let Some(parent) = &parent {
        out.push_str(&format!("In-Reply-To: {parent}\r\n"));
    }
    let references: Vec<String> = thread.into_iter().chain(parent).collect();
    if !references.is_empty() {
        out.push_str(&format!("References: {}\r\n", references.join("\r\n ")));
    }
}

/// The field by which a bounce that quotes the headers leads back to our message.
pub(super) fn ours(out: &mut String, dispatch: &Dispatch) {
    let id: String = dispatch.message_id.chars().filter(char::is_ascii_graphic).take(200).collect();
    out.push_str(&format!("X-Hly-Message-Id: {id}\r\n"));
}

/// The caller's fields.
///
/// # Errors
/// Names the field that is not allowed or not sound.
pub(super) fn further(out: &mut String, headers: &[(String, String)]) -> Result<(), SendError> {
    for (name, value) in headers {
        let shown: String = name.chars().filter(char::is_ascii_graphic).take(60).collect();
        let refuse = |problem: &str| {
            Err(SendError::new(Fault::Rejected, format!("`headers` has a field {shown:?} that {problem}")))
        };
        let sound = |c: char| c.is_ascii_graphic() && c != ':';
        let lower = name.to_ascii_lowercase();
        if name.is_empty() || name.len() > 76 || !name.chars().all(sound) {
            return refuse("has no valid name (RFC 5322 section 3.6.8)");
        }
        if REFUSED.contains(&lower.as_str())
            || REFUSED_PREFIXES.iter().any(|family| lower.starts_with(family))
        {
            return refuse("is set by the service or by mail servers; take it out");
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return refuse("holds a line break or another control character");
        }
        if value.len() > MAX_VALUE {
            return refuse("is longer than 8 KiB");
        }
        if value.is_ascii() {
            fold(out, name, value);
        } else {
            let Ok(name) = HeaderName::new_from_ascii(name.clone()) else {
                return refuse("has no valid name (RFC 5322 section 3.6.8)");
            };
            out.push_str(&header_line(name, value));
        }
    }
    Ok(())
}

/// Breaks before a word where a line grows too long (RFC 5322 section 2.2.3). Words stay whole: encoding one would spoil a URL.
fn fold(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push(':');
    let mut column = name.len() + 1;
    let mut first = true;
    for word in value.split([' ', '\t']).filter(|word| !word.is_empty()) {
        if !first && column + 1 + word.len() > LINE {
            out.push_str("\r\n");
            column = 0;
        }
        out.push(' ');
        out.push_str(word);
        column += 1 + word.len();
        first = false;
    }
    out.push_str("\r\n");
}

/// A text as encoded words throughout (RFC 2047 section 2): for one that looks as if it were encoded already, which lettre
/// would pass on and the reader decode.
pub(super) fn encoded(name: &'static str, text: &str) -> HeaderValue {
    // 45 bytes become 60 letters, so a word stays below its 75.
    let mut words: Vec<String> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, more) = rest.split_at(rest.floor_char_boundary(45));
        words.push(format!("=?utf-8?b?{}?=", BASE64.encode(word)));
        rest = more;
    }
    HeaderValue::dangerous_new_pre_encoded(
        HeaderName::new_from_ascii_str(name),
        text.to_owned(),
        words.join("\r\n "),
    )
}
