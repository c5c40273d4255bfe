//! `hly send --batch`: one Message a line, in chunks that are safe to repeat.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read, Write},
    path::Path,
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use indicatif::{ProgressBar, ProgressStyle};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    Client, Context, Exit, Failure, json,
    messages::show,
    status,
    v1::{Message, SendMessageBatchRequest, send_message_batch_response::result::Result as Answer},
};

/// Messages in one durable step.
const CHUNK: usize = 500;

/// What one chunk may hold, in bytes of JSON, so that the request stays below 4 MiB.
const CHUNK_BYTES: usize = 3 << 20;

/// The longest line, in bytes.
const MAX_LINE: u64 = 6 << 20;

/// Tries for one chunk while the server is full or away.
const TRIES: u32 = 8;

/// The lines of one request.
#[derive(Default)]
struct Chunk {
    /// The first line's number, from 1.
    first: usize,
    lines: Vec<(usize, String)>,
    bytes: usize,
}

/// What became of the lines.
struct Tally {
    accepted: u64,
    refused: u64,
    rejected: Option<File>,
    bar: ProgressBar,
}

pub(super) async fn run(
    context: &mut Context,
    path: &Path,
    prefix: Option<String>,
    rejected: Option<&Path>,
) -> Result<(), Failure> {
    let wrong =
        |path: &Path, error: &io::Error| Failure::new(Exit::Usage, format!("{}: {error}", path.display()));
    let stdin = path == Path::new("-");
    let (source, length): (Box<dyn Read>, u64) = if stdin {
        (Box::new(io::stdin().lock()), 0)
    } else {
        let file = File::open(path).map_err(|error| wrong(path, &error))?;
        let length = file.metadata().map_or(0, |meta| meta.len());
        (Box::new(file), length)
    };
    let name = (!stdin)
        .then(|| path.canonicalize().unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned());
    let rejected =
        rejected.map(|path| File::create(path).map_err(|error| wrong(path, &error))).transpose()?;
    let mut tally = Tally { accepted: 0, refused: 0, rejected, bar: bar(length) };
    let client = context.client().await?;
    let mut reader = BufReader::new(tally.bar.wrap_read(source));
    let (mut number, mut carry) = (0, None);
    while let Some(chunk) = next(&mut reader, &mut number, &mut carry)? {
        let id = request_id(prefix.as_deref(), name.as_deref(), &chunk);
        send(context, &client, chunk, id, &mut tally).await?;
    }
    tally.bar.finish_and_clear();
    super::note(&format!("{} accepted, {} refused", tally.accepted, tally.refused));
    if tally.refused == 0 { Ok(()) } else { Err(Failure::quiet(Exit::NotOk)) }
}

/// Shown on a terminal only; of a pipe the length is not known.
fn bar(length: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    if length == 0 {
        return ProgressBar::no_length();
    }
    let style = ProgressStyle::with_template("{bar:40} {percent}% {bytes}/{total_bytes} {eta}");
    let bar = ProgressBar::new(length);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The next lines that go into one request; lines with nothing in them are left out. `carry` holds a line that did not fit.
fn next(
    reader: &mut impl BufRead,
    number: &mut usize,
    carry: &mut Option<(usize, String)>,
) -> Result<Option<Chunk>, Failure> {
    let mut chunk = Chunk::default();
    while chunk.lines.len() < CHUNK {
        let item = match carry.take() {
            Some(item) => item,
            None => match line(reader, number)? {
                Some(item) => item,
                None => break,
            },
        };
        if !chunk.lines.is_empty() && chunk.bytes + item.1.len() > CHUNK_BYTES {
            *carry = Some(item);
            break;
        }
        if chunk.lines.is_empty() {
            chunk.first = item.0;
        }
        chunk.bytes += item.1.len();
        chunk.lines.push(item);
    }
    Ok((!chunk.lines.is_empty()).then_some(chunk))
}

fn line(reader: &mut impl BufRead, number: &mut usize) -> Result<Option<(usize, String)>, Failure> {
    loop {
        *number += 1;
        let wrong = |text: String| Failure::new(Exit::Usage, format!("line {number}: {text}"));
        let mut bytes = Vec::new();
        let length = reader
            .take(MAX_LINE + 1)
            .read_until(b'\n', &mut bytes)
            .map_err(|error| wrong(format!("cannot be read: {error}")))?;
        if length == 0 {
            return Ok(None);
        }
        if u64::try_from(length).is_ok_and(|length| length > MAX_LINE) {
            return Err(wrong(format!("is longer than {MAX_LINE} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8".to_owned()))?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if !text.is_empty() {
            return Ok(Some((*number, text.to_owned())));
        }
    }
}

/// The same for the same file and line, so that sending the file again sends nothing twice. Standard input has no name: there
/// the content decides.
fn request_id(prefix: Option<&str>, name: Option<&str>, chunk: &Chunk) -> String {
    let hash = |text: &[u8]| -> String {
        digest(&SHA256, text).as_ref().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
    };
    let source = match (prefix, name) {
        (Some(prefix), _) => prefix.to_owned(),
        (None, Some(name)) => format!("batch-{}", hash(name.as_bytes())),
        (None, None) => {
            let lines: Vec<_> = chunk.lines.iter().map(|(_, line)| line.as_str()).collect();
            format!("batch-{}", hash(lines.join("\n").as_bytes()))
        }
    };
    format!("{source}-{}", chunk.first)
}

async fn send(
    context: &mut Context,
    client: &Client,
    chunk: Chunk,
    request_id: String,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let (mut messages, mut lines) = (Vec::new(), Vec::new());
    for (number, line) in chunk.lines {
        match json::read::<Message>(&line) {
            Ok(message) => {
                messages.push(message);
                lines.push((number, line));
            }
            Err(problem) => tally.refuse(number, &line, &[problem])?,
        }
    }
    if messages.is_empty() {
        return Ok(());
    }
    let request = SendMessageBatchRequest { messages, atomic: false, request_id };
    let answer = send_patiently(client, request).await.map_err(|status| {
        let reused = status.code() == Code::AlreadyExists;
        let failure = Failure::from(status).line(format!("from line {} on, nothing of this was accepted", chunk.first));
        match reused {
            true => failure.line(
                "the file was sent before with other content; if it is a new one, give it another name or --request-id",
            ),
            false => failure.line("send the file again: what was accepted is not sent twice"),
        }
    })?;
    for ((number, line), result) in lines.into_iter().zip(answer) {
        match result {
            Some(Answer::Message(message)) => {
                tally.accepted += 1;
                let output = &mut context.output;
                tally.bar.suspend(|| {
                    if output.json { output.json(&message) } else { show::line(output, &message) }
                })?;
            }
            Some(Answer::Status(refusal)) => {
                let details = refusal_status(&refusal);
                tally.refuse(number, &line, &status::lines(&details))?;
            }
            None => tally.refuse(number, &line, &["the server gave no answer for it".to_owned()])?,
        }
    }
    Ok(())
}

/// The status of one message, with its details, as if it had been that of the call.
fn refusal_status(status: &tonic_types::pb::Status) -> Status {
    let details = prost::Message::encode_to_vec(status);
    Status::with_details(Code::from_i32(status.code), status.message.clone(), details.into())
}

/// Tries again while the server is full or away. The request id makes that safe.
async fn send_patiently(
    client: &Client,
    request: SendMessageBatchRequest,
) -> Result<Vec<Option<Answer>>, Status> {
    let mut wait = Duration::from_millis(250);
    let mut tries = 1;
    loop {
        match client.messages().send_batch(client.request(request.clone())).await {
            Ok(answer) => {
                return Ok(answer.into_inner().results.into_iter().map(|item| item.result).collect());
            }
            Err(status) => {
                let passing = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted);
                if !passing || tries == TRIES {
                    return Err(status);
                }
                let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
                tokio::time::sleep(asked.unwrap_or_default().max(wait).min(Duration::from_secs(60))).await;
                wait = wait.saturating_mul(2);
                tries += 1;
            }
        }
    }
}

impl Tally {
    fn refuse(&mut self, number: usize, line: &str, why: &[String]) -> Result<(), Failure> {
        self.refused += 1;
        self.bar.suspend(|| super::note(&format!("line {number}: {}", why.join("; "))));
        if let Some(file) = &mut self.rejected {
            writeln!(file, "{line}").map_err(|error| {
                Failure::new(Exit::System, format!("writing the refused lines failed: {error}"))
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn chunks(text: &str) -> Vec<(usize, usize)> {
        let (mut reader, mut number, mut carry, mut found) = (text.as_bytes(), 0, None, Vec::new());
        while let Some(chunk) = next(&mut reader, &mut number, &mut carry).unwrap() {
            found.push((chunk.first, chunk.lines.len()));
        }
        found
    }

    #[test]
    fn chunks_are_bounded_in_lines_and_bytes() {
        assert_eq!(chunks(""), []);
        assert_eq!(chunks("\n\n{}\n\n{}"), [(3, 2)]);
        assert_eq!(chunks(&"{}\n".repeat(1_001)), [(1, 500), (501, 500), (1_001, 1)]);
        let large = format!("{}\n", "x".repeat(2 << 20)).repeat(3);
        assert_eq!(chunks(&large), [(1, 1), (2, 1), (3, 1)]);
    }

    #[test]
    fn lines_that_are_too_long_or_no_text_are_named() {
        let read = |bytes: &[u8]| {
            let (mut reader, mut number) = (bytes, 0);
            line(&mut reader, &mut number).unwrap_err().to_string()
        };
        assert!(read(&vec![b'x'; (6 << 20) + 1]).starts_with("line 1: is longer"));
        assert_eq!(read(b"\xff\n"), "line 1: is not UTF-8");
    }

    #[test]
    fn request_ids_are_the_same_for_the_same_file_and_line() {
        let chunk = |first, line: &str| Chunk { first, lines: vec![(first, line.to_owned())], bytes: 0 };
        let of = |name, chunk: &Chunk| request_id(None, name, chunk);
        assert_eq!(of(Some("/a"), &chunk(1, "x")), of(Some("/a"), &chunk(1, "y")));
        assert_ne!(of(Some("/a"), &chunk(1, "x")), of(Some("/b"), &chunk(1, "x")));
        assert_ne!(of(Some("/a"), &chunk(1, "x")), of(Some("/a"), &chunk(501, "x")));
        assert_ne!(of(None, &chunk(1, "x")), of(None, &chunk(1, "y")));
        assert_eq!(request_id(Some("mine"), Some("/a"), &chunk(1, "x")), "mine-1");
    }

    #[test]
    fn a_refused_message_keeps_its_details() {
        let mut details = tonic_types::ErrorDetails::new();
        details.add_bad_request_violation("body", "is required");
        let status = Status::with_error_details(Code::InvalidArgument, "1 problem", details);
        let pb = <tonic_types::pb::Status as prost::Message>::decode(status.details()).unwrap();
        assert_eq!(status::lines(&refusal_status(&pb)), ["INVALID_ARGUMENT: 1 problem", "body: is required"]);
    }
}
