//! `hly messages watch`

use clap::Args;

use super::super::{
    Context, Failure, events, follow,
    v1::{WatchMessagesRequest, WatchMessagesResponse},
};

#[derive(Args)]
pub(in crate::cli) struct WatchArgs {
    /// Only this message
    message: Option<String>,
    /// After this event's cursor; 0 for the beginning
    #[arg(long, value_name = "CURSOR")]
    from: Option<String>,
    /// Only messages this contact sends or receives
    #[arg(long, value_name = "ID")]
    contact: Option<String>,
    /// Only this thread
    #[arg(long, value_name = "ID")]
    thread: Option<String>,
    /// Only this campaign
    #[arg(long, value_name = "ID")]
    campaign: Option<String>,
    /// Only these: Message.Sent, *.Failed
    #[arg(long = "type", value_name = "PATTERN")]
    types: Vec<String>,
    /// End when the message can change no more by itself
    #[arg(long, requires = "message")]
    until_final: bool,
    /// With --json: each event with the message as it is then
    #[arg(long)]
    with_message: bool,
}

pub(super) async fn run(context: &mut Context, args: WatchArgs) -> Result<(), Failure> {
    let client = context.client().await?;
    let request = WatchMessagesRequest {
        cursor: String::new(),
        message: args.message.unwrap_or_default(),
        contact: args.contact.unwrap_or_default(),
        thread: args.thread.unwrap_or_default(),
        campaign: args.campaign.unwrap_or_default(),
        types: args.types,
        until_final: args.until_final,
        include_message: args.with_message,
    };
    let open = async |cursor: String| {
        let request = WatchMessagesRequest { cursor, ..request.clone() };
        Ok(client.messages().watch(request).await?.into_inner())
    };
    let output = &mut context.output;
    follow::follow(args.from.unwrap_or_default(), open, |item: WatchMessagesResponse| {
        if output.json {
            output.json(&item)?;
        } else if let Some(event) = &item.event {
            events::print(output, event)?;
        }
        Ok(item.event.map(|event| event.cursor).unwrap_or_default())
    })
    .await
}
