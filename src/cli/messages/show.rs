//! `hly messages get`, and how a message looks.

use anstyle::Style;

use super::super::{
    Context, Failure,
    output::{BAD, Cell, GOOD, Output, PLAIN, WARN, clean},
    times,
    v1::{Attachment, Failure as MessageFailure, GetMessageRequest, Message, message::Status},
};

pub(super) async fn run(context: &mut Context, id: String) -> Result<(), Failure> {
    let client = context.client().await?;
    let message =
        client.messages().get(client.request(GetMessageRequest { id, as_of: None })).await?.into_inner();
    if context.output.json { context.output.json(&message) } else { details(&mut context.output, &message) }
}

/// How a status is coloured.
pub(in crate::cli) fn style(status: Status) -> Style {
    match status {
        Status::Delivered | Status::Read => GOOD,
        Status::Failed | Status::Expired => BAD,
        Status::Cancelled => WARN,
        _ => PLAIN,
    }
}

/// The message on one line: id, status, channel, recipient.
pub(in crate::cli) fn line(output: &mut Output, message: &Message) -> Result<(), Failure> {
    let status = output.paint(style(message.status()), message.status().as_str_name());
    let channel = message.channel().as_str_name();
    let line = format!("{}  {status}  {channel}  {}", clean(&message.id), clean(&message.recipient));
    output.line(&line)
}

/// Why it failed, in one sentence.
pub(in crate::cli) fn failure(failure: &MessageFailure) -> String {
    let mut text = failure.reason().as_str_name().to_owned();
    if !failure.code.is_empty() {
        text.push_str(&format!(" ({})", clean(&failure.code)));
    }
    if !failure.detail.is_empty() {
        text.push_str(&format!(": {}", clean(&failure.detail)));
    }
    text
}

fn details(output: &mut Output, message: &Message) -> Result<(), Failure> {
    let zone = output.zone.clone();
    let time = |time: &Option<prost_types::Timestamp>| Cell::from(times::full(time.as_ref(), &zone));
    let named = |number: i32, name: &str| if number == 0 { Cell::from("") } else { Cell::from(name) };
    let failed = message.failure.as_ref().map(failure).unwrap_or_default();
    let late = message.failure.is_some() && message.status() != Status::Failed;
    let attempts = if message.attempts == 0 { String::new() } else { message.attempts.to_string() };
    let files: Vec<_> = message.attachments.iter().map(file).collect();
    let fields = [
        ("id", Cell::from(&message.id)),
        ("status", Cell::new(style(message.status()), message.status().as_str_name())),
        (if late { "late report" } else { "failure" }, Cell::new(BAD, failed)),
        ("channel", named(message.channel, message.channel().as_str_name())),
        ("direction", named(message.direction, message.direction().as_str_name())),
        ("from", Cell::from(&message.sender)),
        ("to", Cell::from(&message.recipient)),
        ("subject", Cell::from(&message.subject)),
        ("provider", Cell::from(&message.provider)),
        ("provider's id", Cell::from(&message.provider_message_id)),
        ("reports", named(message.delivery_reporting, message.delivery_reporting().as_str_name())),
        ("attempts", attempts.into()),
        ("created", time(&message.created_at)),
        ("created by", Cell::from(&message.created_by)),
        ("scheduled", time(&message.scheduled_at)),
        ("sent", time(&message.sent_at)),
        ("delivered", time(&message.delivered_at)),
        ("read", time(&message.read_at)),
        ("failed", time(&message.failed_at)),
        ("cancelled", time(&message.cancelled_at)),
        ("expires", time(&message.expires_at)),
        ("deleted", time(&message.deleted_at)),
        ("thread", Cell::from(&message.thread)),
        ("answers", Cell::from(&message.in_reply_to)),
        ("campaign", Cell::from(&message.campaign)),
        ("tags", message.tags.join(", ").into()),
        ("attached", files.join(", ").into()),
        ("HTML", if message.html_body.is_empty() { "".into() } else { size(message.html_body.len()).into() }),
        ("version", message.version.to_string().into()),
    ];
    output.fields(&fields)?;
    output.line("")?;
    // Line by line, so that its lines stay and nothing in it steers the terminal.
    message.body.lines().try_for_each(|line| output.line(&clean(line)))
}

fn file(file: &Attachment) -> String {
    format!("{} ({})", file.name, size(file.content.len()))
}

fn size(bytes: usize) -> String {
    if bytes < 10_000 { format!("{bytes} bytes") } else { format!("{} kB", bytes / 1_000) }
}
