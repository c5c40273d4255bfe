//! `hly send`

use std::path::{Path, PathBuf};

use clap::{
    ArgGroup, Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use prost_types::{Timestamp, Value};
use tonic::Request;

use super::{
    Context, Exit, Failure, args, batch,
    messages::show,
    times,
    v1::{
        Attachment, Message, SendMessageRequest,
        message::{Channel, DeliveryReporting, Status},
        send_message_request::{Target, WaitUntil},
    },
};

/// The largest body, and the largest attachment, read from a file, in bytes: what one request may hold.
const MAX_FILE: u64 = 4 << 20;

#[derive(Args)]
#[command(group = ArgGroup::new("what").required(true).args(["to", "id", "batch"]))]
#[command(
    after_long_help = "With --wait the exit code tells how it went: 0 it got that far, 1 it ended otherwise, 75 not yet."
)]
pub(super) struct SendArgs {
    /// A contact or an address
    #[arg(long, value_name = "WHO", requires = "body")]
    to: Option<String>,
    /// A contact or an address; the provider's default sender when not given
    #[arg(long, value_name = "WHO", conflicts_with_all = ["id", "batch"])]
    from: Option<String>,
    /// The recipient's preferred channel when not given
    #[arg(long, value_parser = args::channel(), ignore_case = true, conflicts_with_all = ["id", "batch"])]
    channel: Option<Channel>,
    /// Subject of an e-mail, title of a push message
    #[arg(long, conflicts_with_all = ["id", "batch"])]
    subject: Option<String>,
    /// The text; - for standard input
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["id", "batch"], allow_hyphen_values = true)]
    body: Option<String>,
    /// A file with the HTML part of an e-mail
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "batch"])]
    html: Option<PathBuf>,
    /// A file to attach to an e-mail; may be given several times
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "batch"])]
    attach: Vec<PathBuf>,
    /// Your own data; the value is JSON where it reads as JSON
    #[arg(long, value_name = "KEY=VALUE", value_parser = args::pair, conflicts_with_all = ["id", "batch"])]
    metadata: Vec<(String, Value)>,
    /// Send this draft
    #[arg(long, value_name = "MESSAGE")]
    id: Option<String>,
    /// Not before: 2026-11-23T09:00:00Z, or 2026-11-23T09:00 for local time, or +15m
    #[arg(long, value_name = "TIME", value_parser = times::parse, conflicts_with = "batch")]
    at: Option<Timestamp>,
    /// How far to wait, at most --timeout
    #[arg(long, value_name = "STATUS", value_parser = wait(), conflicts_with = "batch")]
    wait: Option<WaitUntil>,
    /// Makes repeating safe: the same id with the same content is sent once. With --batch the beginning of its ids
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// A file with one Message as JSON a line (- for standard input); safe to repeat
    #[arg(long, value_name = "FILE")]
    batch: Option<PathBuf>,
    /// With --batch: write the lines that were refused to this file
    #[arg(long, value_name = "FILE", requires = "batch")]
    rejected: Option<PathBuf>,
}

fn wait() -> impl TypedValueParser<Value = WaitUntil> {
    PossibleValuesParser::new(["accepted", "sent", "delivered"])
        .map(|word| WaitUntil::from_str_name(&word.to_uppercase()).unwrap_or_default())
}

pub(super) async fn run(context: &mut Context, mut args: SendArgs) -> Result<(), Failure> {
    if let Some(file) = args.batch {
        return batch::run(context, &file, args.request_id, args.rejected.as_deref()).await;
    }
    let target = match args.id.take() {
        Some(id) => Target::Id(id),
        None => Target::Message(Box::new(message(&mut args)?)),
    };
    let wait = args.wait.unwrap_or(WaitUntil::Accepted);
    let request = SendMessageRequest {
        target: Some(target),
        scheduled_at: args.at,
        wait_until: wait.into(),
        request_id: args.request_id.unwrap_or_default(),
    };
    let client = context.client().await?;
    let request: Request<_> = client.request(request);
    let message = client.messages().send(request).await?.into_inner();
    let output = &mut context.output;
    if output.json {
        output.json(&message)?
    } else {
        show::line(output, &message)?
    }
    verdict(&message, wait)
}

fn message(args: &mut SendArgs) -> Result<Message, Failure> {
    let body = match args.body.take() {
        Some(body) if body == "-" => args::read_text(Path::new("-"), MAX_FILE)?,
        body => body.unwrap_or_default(),
    };
    let html_body = args.html.as_deref().map(|path| args::read_text(path, MAX_FILE)).transpose()?;
    Ok(Message {
        recipient: args.to.take().unwrap_or_default(),
        sender: args.from.take().unwrap_or_default(),
        channel: args.channel.unwrap_or_default().into(),
        subject: args.subject.take().unwrap_or_default(),
        body,
        html_body: html_body.unwrap_or_default(),
        attachments: args.attach.iter().map(|path| attachment(path)).collect::<Result<_, _>>()?,
        metadata: args::to_struct(std::mem::take(&mut args.metadata)),
        ..Default::default()
    })
}

fn attachment(path: &Path) -> Result<Attachment, Failure> {
    let content = args::read(path, MAX_FILE)?.into();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let content_type = extension.as_deref().map(media_type).unwrap_or_default().to_owned();
    Ok(Attachment { name, content_type, content, content_id: String::new() })
}

/// The media type by the file name; empty leaves it to the server.
fn media_type(extension: &str) -> &'static str {
    match extension {
        "csv" => "text/csv",
        "gif" => "image/gif",
        "htm" | "html" => "text/html",
        "ics" => "text/calendar",
        "jpeg" | "jpg" => "image/jpeg",
        "json" => "application/json",
        "md" => "text/markdown",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain",
        "webp" => "image/webp",
        "xml" => "application/xml",
        "zip" => "application/zip",
        _ => "",
    }
}

/// Whether it got as far as was asked for.
fn verdict(message: &Message, wait: WaitUntil) -> Result<(), Failure> {
    let status = message.status();
    let reports =
        !matches!(message.delivery_reporting(), DeliveryReporting::None | DeliveryReporting::Unspecified);
    let reached = match wait {
        WaitUntil::Unspecified | WaitUntil::Accepted => true,
        WaitUntil::Sent => matches!(status, Status::Sent | Status::Delivered | Status::Read),
        WaitUntil::Delivered => {
            matches!(status, Status::Delivered | Status::Read) || (status == Status::Sent && !reports)
        }
    };
    if reached {
        return Ok(());
    }
    if matches!(status, Status::Failed | Status::Cancelled | Status::Expired) {
        let reason = message.failure.as_ref().map(show::failure);
        let text = format!("it ended as {}", status.as_str_name());
        return Err(Failure {
            exit: Exit::NotOk,
            lines: [Some(text), reason].into_iter().flatten().collect(),
        });
    }
    let text =
        format!("it is {} so far; follow it with: hly messages watch {}", status.as_str_name(), message.id);
    Err(Failure::new(Exit::TryAgain, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_how_it_went() {
        use {DeliveryReporting as Reports, Status as S, WaitUntil as W};
        for (status, reporting, wait, exit) in [
            (S::Queued, Reports::Unspecified, W::Accepted, Exit::Ok),
            (S::Failed, Reports::Delivery, W::Accepted, Exit::Ok),
            (S::Queued, Reports::Unspecified, W::Sent, Exit::TryAgain),
            (S::Sent, Reports::Delivery, W::Sent, Exit::Ok),
            (S::Sent, Reports::Delivery, W::Delivered, Exit::TryAgain),
            (S::Sent, Reports::None, W::Delivered, Exit::Ok),
            (S::Read, Reports::DeliveryAndRead, W::Delivered, Exit::Ok),
            (S::Failed, Reports::Delivery, W::Delivered, Exit::NotOk),
            (S::Expired, Reports::Unspecified, W::Sent, Exit::NotOk),
        ] {
            let message =
                Message { status: status.into(), delivery_reporting: reporting.into(), ..Default::default() };
            let found = verdict(&message, wait).err().map_or(Exit::Ok, |failure| failure.exit);
            assert_eq!(found, exit, "{status:?} {wait:?}");
        }
    }
}
