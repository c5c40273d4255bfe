//! A message as a caller gives it.

use super::{Violations, address, line, metadata, parts, text, time};
use crate::model::{Channel, Timestamp, ids, message::Draft};

/// Most of a text or HTML body, in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// Most of a subject (RFC 5322, section 2.1.1), in bytes.
const MAX_SUBJECT: usize = 998;

/// What it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Stored; what is missing may come later.
    Draft,
    /// Sent.
    Send,
}

/// Checks everything that needs no store. A time to send that has just passed is taken out: it means now.
pub(crate) fn message(violations: &mut Violations, draft: &mut Draft, mode: Mode, now: Timestamp) {
    match draft.recipient.as_deref() {
        None if mode == Mode::Send => {
            violations.add("recipient", "is required: a contact id (`contact_...`) or an address");
        }
        None => {}
        Some(recipient) => violations.note("recipient", plausible(recipient, draft.channel)),
    }
    sender(violations, draft);
    line(violations, "subject", draft.subject.as_deref(), MAX_SUBJECT);
    if draft.body.trim().is_empty() {
        violations.add("body", "is required: the text of the message, also where there is HTML or a file");
    }
    text(violations, "body", Some(&draft.body), MAX_BODY);
    text(violations, "html_body", draft.html_body.as_deref(), MAX_BODY);
    parts::attachments(violations, &draft.attachments);
    parts::headers(violations, &draft.headers);
    metadata(violations, draft.metadata.as_ref());
    tags(violations, &draft.tags);
    references(violations, draft);
    let scheduled_at = time::schedule(violations, "scheduled_at", draft.scheduled_at, now);
    time::expiry(violations, draft.expires_at, scheduled_at, now);
    if let Some(channel) = draft.channel {
        only_email(violations, draft, channel);
    }
    draft.scheduled_at = scheduled_at;
}

/// What can be said of a recipient before contacts are looked up.
fn plausible(recipient: &str, channel: Option<Channel>) -> Result<(), &'static str> {
    if ids::is_contact(recipient) {
        return Ok(());
    }
    if recipient.starts_with("contact_") {
        return Err("is no contact id: `contact_` is followed by 1 to 64 letters, digits, `-` or `_`");
    }
    match channel {
        Some(channel) => address::address(channel, recipient),
        None if recipient.len() > 4_096 || recipient.chars().any(super::is_unsafe) => {
            Err("must be a contact id or an address of at most 4096 bytes without control characters")
        }
        None => Ok(()),
    }
}

/// Refuses what another channel than e-mail cannot carry.
pub(crate) fn only_email(violations: &mut Violations, draft: &Draft, channel: Channel) {
    if channel == Channel::Email {
        return;
    }
    let given = [
        ("html_body", draft.html_body.is_some()),
        ("attachments", !draft.attachments.is_empty()),
        ("headers", !draft.headers.is_empty()),
    ];
    for (field, given) in given {
        if given && !violations.names(field) {
            violations.add(field, format!("only an EMAIL carries this; the message goes by {channel}"));
        }
    }
}

/// Checks the sender against the channel, as far as that is known.
pub(crate) fn sender(violations: &mut Violations, draft: &Draft) {
    if let Some(sender) = draft.sender.as_deref().filter(|_| !violations.names("sender")) {
        violations.note("sender", address::sender(draft.channel, sender));
    }
}

fn tags(violations: &mut Violations, tags: &[String]) {
    if tags.len() > 50 {
        violations.add("tags", format!("must be at most 50; there are {}", tags.len()));
        return;
    }
    for (index, tag) in tags.iter().enumerate() {
        let field = super::nth("tags", index);
        if tag.is_empty() {
            violations.add(field, "must not be empty");
        } else {
            line(violations, &field, Some(tag), 128);
        }
    }
}

fn references(violations: &mut Violations, draft: &Draft) {
    line(violations, "thread", draft.thread.as_deref(), 256);
    if draft.in_reply_to.as_deref().is_some_and(|id| id.parse::<ids::MessageId>().is_err()) {
        violations.add("in_reply_to", "must be the id of a message (`message_...`)");
    }
    line(violations, "campaign", draft.campaign.as_deref(), 256);
    line(violations, "ticket", draft.ticket.as_deref(), 256);
    line(violations, "workflow", draft.workflow.as_deref(), 256);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use headlessly_providers::contract::Attachment;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

    fn fields(mut draft: Draft, mode: Mode) -> Vec<String> {
        let mut violations = Violations::default();
        message(&mut violations, &mut draft, mode, NOW);
        violations.0.into_iter().map(|violation| violation.field).collect()
    }

    fn good() -> Draft {
        Draft { recipient: Some("ada@example.test".to_owned()), body: "hello".to_owned(), ..Draft::default() }
    }

    #[test]
    fn an_empty_request_names_every_required_field() {
        assert_eq!(fields(Draft::default(), Mode::Send), ["recipient", "body"]);
        assert_eq!(fields(Draft::default(), Mode::Draft), ["body"]);
    }

    #[test]
    fn a_good_one_passes() {
        assert!(fields(good(), Mode::Send).is_empty());
        assert!(fields(Draft { recipient: Some("contact_a".to_owned()), ..good() }, Mode::Send).is_empty());
    }

    #[test]
    fn every_field_has_its_limit() {
        type Spoil = fn(&mut Draft);
        let cases: [(&str, Spoil); 21] = [
            ("recipient", |draft| draft.recipient = Some("contact_".to_owned())),
            ("recipient", |draft| draft.recipient = Some("a@b.c\r\nBcc: v@x".to_owned())),
            ("recipient", |draft| {
                draft.channel = Some(Channel::Sms);
                draft.recipient = Some("+1 (555)".to_owned());
            }),
            ("sender", |draft| draft.sender = Some("a\nb".to_owned())),
            ("subject", |draft| draft.subject = Some("a\r\nBcc: v@x".to_owned())),
            ("subject", |draft| draft.subject = Some("x".repeat(999))),
            ("body", |draft| draft.body = " \n\t ".to_owned()),
            ("body", |draft| draft.body = "x".repeat(MAX_BODY + 1)),
            ("body", |draft| draft.body = "a\0b".to_owned()),
            ("html_body", |draft| draft.html_body = Some("x".repeat(MAX_BODY + 1))),
            ("headers[0]", |draft| draft.headers = vec![("Bcc".to_owned(), "v@x".to_owned())]),
            ("metadata", |draft| {
                draft.metadata = serde_json::from_str(r#"{"__proto__": 1}"#).ok();
            }),
            ("metadata", |draft| {
                draft.metadata = Some([("a".to_owned(), "x".repeat(40_000).into())].into_iter().collect());
            }),
            ("tags", |draft| draft.tags = vec!["x".to_owned(); 51]),
            ("tags[0]", |draft| draft.tags = vec!["x".repeat(129)]),
            ("thread", |draft| draft.thread = Some("x".repeat(257))),
            ("in_reply_to", |draft| draft.in_reply_to = Some("evt_abc".to_owned())),
            ("scheduled_at", |draft| draft.scheduled_at = Some(Timestamp(1))),
            ("expires_at", |draft| draft.expires_at = Some(NOW)),
            ("html_body", |draft| {
                draft.channel = Some(Channel::Chat);
                draft.html_body = Some("<p>".to_owned());
            }),
            ("attachments", |draft| {
                let content = Bytes::from_static(b"x");
                let content_type = "text/plain".to_owned();
                draft.channel = Some(Channel::Chat);
                draft.attachments =
                    vec![Attachment { name: "a".to_owned(), content_type, content, content_id: None }];
            }),
        ];
        for (field, spoil) in cases {
            let mut draft = good();
            spoil(&mut draft);
            assert_eq!(fields(draft, Mode::Send), [field]);
        }
    }

    #[test]
    fn a_time_that_has_just_passed_means_now() {
        let mut draft = Draft { scheduled_at: Some(Timestamp(NOW.0 - 60_000_000)), ..good() };
        message(&mut Violations::default(), &mut draft, Mode::Send, NOW);
        assert_eq!(draft.scheduled_at, None);
    }
}
