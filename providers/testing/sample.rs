use crate::contract::{Channel, Dispatch, Party, Priority, Timestamp};

/// A plain message: text only, no sender, no callback, at 2026-01-01T00:00:00Z.
pub fn dispatch(channel: Channel, recipient: &str) -> Dispatch {
    Dispatch {
        message_id: "message_k7TmPvQx".to_owned(),
        idempotency_key: "message_k7TmPvQx.1".to_owned(),
        attempt: 1,
        channel,
        sender: None,
        recipient: Party { address: recipient.to_owned(), name: None },
        subject: None,
        body: "Your table is ready.".to_owned(),
        html_body: None,
        attachments: Vec::new(),
        headers: Vec::new(),
        metadata: Vec::new(),
        thread: None,
        in_reply_to: None,
        priority: Priority::Normal,
        expires_at: None,
        now: Timestamp::from_seconds(1_767_225_600),
        callback_url: None,
    }
}

/// The plugin's own settings in an example: its first `[[provider]]` section without the keys of every provider.
///
/// # Errors
/// When the example is no TOML or has no such section.
pub fn extract_settings(example: &str) -> Result<toml::Table, String> {
    let mut document: toml::Table = example.parse().map_err(|error| format!("the example: {error}"))?;
    let sections = document.remove("provider").and_then(|value| value.try_into::<Vec<toml::Table>>().ok());
    let section = sections.and_then(|sections| sections.into_iter().next());
    let mut table = section.ok_or("the example has no [[provider]] section")?;
    for key in ["name", "kind", "channels"] {
        table.remove(key);
    }
    Ok(table)
}

/// The example's settings with each reference (`env:NAME`, `file:/path`) replaced by what it stands for.
///
/// # Errors
/// When the example has no settings.
pub fn example(example: &str, references: &[(&str, &str)]) -> Result<toml::Table, String> {
    let mut table = toml::Value::Table(extract_settings(example)?);
    replace(&mut table, references);
    table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}

fn replace(value: &mut toml::Value, references: &[(&str, &str)]) {
    match value {
        toml::Value::String(text) => {
            if let Some((_, stands_for)) = references.iter().find(|(reference, _)| reference == text) {
                *text = (*stands_for).to_owned();
            }
        }
        toml::Value::Array(items) => items.iter_mut().for_each(|item| replace(item, references)),
        toml::Value::Table(table) => table.iter_mut().for_each(|(_, item)| replace(item, references)),
        _ => {}
    }
}
