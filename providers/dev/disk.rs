//! The copy of each message in a folder, for tests of other programs.

use std::{io, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value, json};
use tokio::{fs, io::AsyncWriteExt};

use crate::contract::{Dispatch, Fault, Party, SendError};

/// Writes `<dir>/<id>.json`. A reader of the folder never sees half a file.
///
/// # Errors
/// [`Fault::Transient`] when the folder cannot be written to.
pub(super) async fn write(dir: &Path, id: &str, dispatch: &Dispatch) -> Result<(), SendError> {
    let failed = |error: io::Error| {
        SendError::new(Fault::Transient, format!("cannot write to the folder of `dir`: {error}"))
            .source(error)
    };
    write_file(dir, id, &document(id, dispatch)).await.map_err(failed)
}

async fn write_file(dir: &Path, id: &str, document: &Value) -> io::Result<()> {
    fs::create_dir_all(dir).await?;
    let draft = dir.join(format!(".{id}.tmp"));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    // Bodies are nobody else's business.
    #[cfg(unix)]
    options.mode(0o600);
    let mut file = options.open(&draft).await?;
    file.write_all(format!("{document:#}\n").as_bytes()).await?;
    file.flush().await?;
    fs::rename(draft, dir.join(format!("{id}.json"))).await
}

fn document(id: &str, dispatch: &Dispatch) -> Value {
    let party = |party: &Party| json!({ "address": party.address, "name": party.name });
    let pairs = |pairs: &[(String, String)]| {
        pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>()
    };
    let files: Vec<Value> = dispatch
        .attachments
        .iter()
        .map(|file| {
            json!({
                "name": file.name,
                "content_type": file.content_type,
                "content_id": file.content_id,
                "content": BASE64.encode(&file.content),
            })
        })
        .collect();
    json!({
        "provider_message_id": id,
        "message_id": dispatch.message_id,
        "idempotency_key": dispatch.idempotency_key,
        "attempt": dispatch.attempt,
        "channel": dispatch.channel.as_str(),
        "sender": dispatch.sender.as_ref().map(party),
        "recipient": party(&dispatch.recipient),
        "subject": dispatch.subject,
        "body": dispatch.body,
        "html_body": dispatch.html_body,
        "attachments": files,
        "headers": dispatch.headers.iter().map(|(name, value)| json!([name, value])).collect::<Vec<_>>(),
        "metadata": pairs(&dispatch.metadata),
        "thread": dispatch.thread,
        "in_reply_to": dispatch.in_reply_to,
        "at": dispatch.now.to_string(),
    })
}
