//! A dispatch as an Internet message (RFC 5322, RFC 2045 to 2049).

use std::time::{Duration, SystemTime};

use lettre::message::{
    Attachment as MimeAttachment, Body, Mailboxes, MultiPart, SinglePart,
    header::{
        ContentTransferEncoding, ContentType, Date, From, HeaderName, HeaderValue, Headers, Subject, To,
    },
};

use super::{
    address::{self, Mailbox},
    headers,
};
use crate::contract::{Attachment, Dispatch, Fault, SendError};

/// A message ready to be sent.
#[derive(Debug)]
pub(super) struct Letter {
    /// Envelope sender.
    pub(super) from: String,
    /// Envelope recipient.
    pub(super) to: String,
    /// Without its angle brackets.
    pub(super) message_id: String,
    /// Lines that end with CRLF, and no other CR or LF.
    bytes: Vec<u8>,
}

impl Letter {
    /// In bytes, as RFC 1870 counts.
    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether it needs SMTPUTF8 (RFC 6531). Only an address can make it so: everything else is encoded.
    pub(super) fn needs_utf8(&self) -> bool {
        !(self.bytes.is_ascii() && self.from.is_ascii() && self.to.is_ascii())
    }

    /// With leading dots doubled, and the final dot (RFC 5321 section 4.5.2). One piece, so that it leaves in full packets.
    pub(super) fn on_the_wire(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 64);
        for line in self.bytes.split_inclusive(|byte| *byte == b'\n') {
            if line.first() == Some(&b'.') {
                out.push(b'.');
            }
            out.extend_from_slice(line);
        }
        out.extend_from_slice(b".\r\n");
        out
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn refuse(field: &str, problem: &str) -> SendError {
    SendError::new(Fault::Rejected, format!("`{field}` {problem}"))
}

/// Composes the message.
///
/// # Errors
/// [`Fault::BadRecipient`] when the recipient is no address, else [`Fault::Rejected`] naming the field.
pub(super) fn compose(dispatch: &Dispatch, default_from: Option<&Mailbox>) -> Result<Letter, SendError> {
    let to = Mailbox::new(&dispatch.recipient.address, dispatch.recipient.name.as_deref())
        .map_err(|problem| SendError::new(Fault::BadRecipient, format!("`recipient` {problem}")))?;
    let from = match (&dispatch.sender, default_from) {
        (Some(sender), _) => Mailbox::new(&sender.address, sender.name.as_deref())
            .map_err(|problem| refuse("sender", problem))?,
        (None, Some(from)) => from.clone(),
        (None, None) => {
            return Err(refuse("sender", "is missing: name one, or set `from` in the provider's settings"));
        }
    };
    let domain = from.address.domain();
    let message_id = address::message_id(&dispatch.message_id, &dispatch.idempotency_key, domain);

    let mut head = Headers::new();
    head.set(Date::new(time(dispatch)));
    head.set(From::from(Mailboxes::from(from.header())));
    head.set(To::from(Mailboxes::from(to.header())));
    if let Some(subject) = &dispatch.subject {
        if subject.chars().any(char::is_control) {
            return Err(refuse("subject", "holds a line break or another control character; take it out"));
        }
        if subject.contains("=?") {
            head.insert_raw(headers::encoded("Subject", subject));
        } else {
            head.set(Subject::from(subject.clone()));
        }
    }
    let mut text = head.to_string();
    text.push_str(&format!("Message-ID: <{message_id}>\r\n"));
    headers::threading(&mut text, dispatch, domain);
    headers::ours(&mut text, dispatch);
    headers::further(&mut text, &dispatch.headers)?;
    text.push_str("MIME-Version: 1.0\r\n");

    let mut bytes = text.into_bytes();
    content(dispatch, &mut bytes)?;
    check_lines(&bytes)?;
    Ok(Letter { from: from.address.to_string(), to: to.address.to_string(), message_id, bytes })
}

/// The time of the dispatch, within the years that a date header can name.
fn time(dispatch: &Dispatch) -> SystemTime {
    let seconds = u64::try_from(dispatch.now.seconds()).unwrap_or(0).min(253_402_300_799);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

enum Part {
    Single(SinglePart),
    Multi(MultiPart),
}

impl Part {
    fn into(self, parent: MultiPart) -> MultiPart {
        match self {
            Self::Single(part) => parent.singlepart(part),
            Self::Multi(part) => parent.multipart(part),
        }
    }
}

/// mixed(alternative(text, related(html, inline files)), files), without the levels that have one child only.
fn content(dispatch: &Dispatch, out: &mut Vec<u8>) -> Result<(), SendError> {
    // A boundary with `=_` occurs neither in base64 nor in quoted-printable (RFC 2045 section 6.7), so none can be forged.
    let id = address::message_id("", &dispatch.idempotency_key, "");
    let boundary = |level: char| format!("=_{level}{}", id.trim_matches(['.', '@']));
    let has_html = dispatch.html_body.is_some();
    let (inline, attached): (Vec<_>, Vec<_>) =
        dispatch.attachments.iter().partition(|file| has_html && file.content_id.is_some());

    let mut part = Part::Single(text_part(&dispatch.body, ContentType::TEXT_PLAIN));
    if let Some(html) = &dispatch.html_body {
        let mut html = Part::Single(text_part(html, ContentType::TEXT_HTML));
        if !inline.is_empty() {
            let mut related = html.into(MultiPart::related().boundary(boundary('r')).build());
            for file in inline {
                related = related.singlepart(file_part(file, true)?);
            }
            html = Part::Multi(related);
        }
        let alternative = part.into(MultiPart::alternative().boundary(boundary('a')).build());
        part = Part::Multi(html.into(alternative));
    }
    if !attached.is_empty() {
        let mut mixed = part.into(MultiPart::mixed().boundary(boundary('m')).build());
        for file in attached {
            mixed = mixed.singlepart(file_part(file, false)?);
        }
        part = Part::Multi(mixed);
    }
    out.extend(match part {
        Part::Single(part) => part.formatted(),
        Part::Multi(part) => part.formatted(),
    });
    Ok(())
}

/// A text, encoded so that nothing in it can be mistaken for a line end or for the end of the message.
fn text_part(text: &str, content_type: ContentType) -> SinglePart {
    let text = with_crlf(text);
    let non_ascii = text.bytes().filter(|byte| !byte.is_ascii()).count();
    let readable = (non_ascii * 4 < text.len() || text.is_empty())
        .then(|| Body::new_with_encoding(text.clone(), ContentTransferEncoding::QuotedPrintable).ok())
        .flatten()
        .filter(|body| is_plain(body.as_ref()));
    SinglePart::builder()
        .content_type(content_type)
        .body(readable.unwrap_or_else(|| base64(text.into_bytes())))
}

/// Every line end becomes CRLF: CR, LF and CRLF each are one.
fn with_crlf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n")
}

/// No line begins with a dot and no CR or LF stands alone.
fn is_plain(bytes: &[u8]) -> bool {
    bytes.split_inclusive(|byte| *byte == b'\n').all(|line| line.first() != Some(&b'.'))
        && line_ends_are_sound(bytes)
}

fn base64(bytes: Vec<u8>) -> Body {
    // Base64 takes any bytes: giving them back is for 7bit only.
    Body::new_with_encoding(bytes, ContentTransferEncoding::Base64)
        .unwrap_or_else(|bytes| Body::dangerous_pre_encoded(bytes, ContentTransferEncoding::Base64))
}

fn file_part(file: &Attachment, inline: bool) -> Result<SinglePart, SendError> {
    if file.name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\')) {
        return Err(refuse("attachments.name", "holds a slash or a control character"));
    }
    let content_type = content_type(&file.content_type)?;
    let part = match &file.content_id {
        Some(id) => {
            let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '(' | ')' | ',' | ';');
            if id.is_empty() || id.len() > 200 || !id.chars().all(allowed) {
                return Err(refuse(
                    "attachments.content_id",
                    "must be 1 to 200 letters, digits or signs, without <>",
                ));
            }
            if inline {
                MimeAttachment::new_inline_with_name(id.clone(), file.name.clone())
            } else {
                MimeAttachment::new(file.name.clone())
            }
        }
        None => MimeAttachment::new(file.name.clone()),
    };
    Ok(part.body(base64(file.content.to_vec()), content_type))
}

/// Composite types may not be encoded in base64 (RFC 2046 sections 5.1 and 5.2.1), so they travel as plain bytes.
fn content_type(text: &str) -> Result<ContentType, SendError> {
    let text = if text.trim().is_empty() { "application/octet-stream" } else { text.trim() };
    let lower = text.to_ascii_lowercase();
    let text = if lower.starts_with("multipart/") || lower.starts_with("message/") {
        "application/octet-stream"
    } else {
        text
    };
    let sound = text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    ContentType::parse(text)
        .ok()
        .filter(|_| sound)
        .ok_or_else(|| refuse("attachments.content_type", "is not a media type such as image/png"))
}

fn line_ends_are_sound(bytes: &[u8]) -> bool {
    let mut before = 0;
    for byte in bytes {
        if (*byte == b'\n') != (before == b'\r') {
            return false;
        }
        before = *byte;
    }
    before != b'\r'
}

/// The last look: whatever the parts were, the whole holds no bare CR or LF, no NUL, and no line that is too long
/// (RFC 5322 section 2.1.1).
fn check_lines(bytes: &[u8]) -> Result<(), SendError> {
    if !line_ends_are_sound(bytes) || bytes.contains(&0) || !bytes.ends_with(b"\r\n") {
        return Err(SendError::new(
            Fault::Rejected,
            "the message cannot be written as lines that end with CRLF",
        ));
    }
    if bytes.split(|byte| *byte == b'\n').any(|line| line.len() > 999) {
        let detail = "a header has a word of more than 998 bytes (RFC 5322 section 2.1.1)";
        return Err(SendError::new(Fault::Rejected, detail));
    }
    Ok(())
}

/// One header line, encoded by RFC 2047 where it is not ASCII.
pub(super) fn header_line(name: HeaderName, value: &str) -> String {
    let mut headers = Headers::new();
    headers.insert_raw(HeaderValue::new(name, value.to_owned()));
    headers.to_string()
}
