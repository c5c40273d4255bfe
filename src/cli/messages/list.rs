//! `hly messages list`

use clap::Args;

use super::super::{
    Context, Failure, args,
    output::{Cell, Output, Table},
    pages::{self, ListArgs},
    times,
    v1::{FindMessagesRequest, Message, message},
};
use super::show;

#[derive(Args)]
pub(in crate::cli) struct ListMessagesArgs {
    #[command(flatten)]
    list: ListArgs,
    /// Only these
    #[arg(long, value_parser = args::status(), ignore_case = true)]
    status: Option<message::Status>,
    /// Only on this channel
    #[arg(long, value_parser = args::channel(), ignore_case = true)]
    channel: Option<message::Channel>,
    /// Only dead letters: given up after all tries, as poison, or as perhaps sent
    #[arg(long)]
    dead: bool,
    /// Deleted ones too
    #[arg(long)]
    deleted: bool,
}

/// The filter of dead letters, narrowed by another one: what failed though nobody refused it for good.
pub(super) fn dead(and: Option<&str>) -> String {
    let dead =
        r#"{"status": "FAILED", "failure.reason": {"$in": ["RETRIES_EXHAUSTED", "POISON", "AMBIGUOUS"]}}"#;
    and.map_or_else(|| dead.to_owned(), |and| format!(r#"{{"$and": [{dead}, {and}]}}"#))
}

pub(super) async fn run(context: &mut Context, args: ListMessagesArgs) -> Result<(), Failure> {
    let client = context.client().await?;
    let status = args.status.map(|status| status.as_str_name());
    let channel = args.channel.map(|channel| channel.as_str_name());
    let json = if args.dead { Some(dead(args.list.filter.as_deref())) } else { args.list.filter };
    let filter = args::filter(json, &[("status", status), ("channel", channel)]);
    let order_by = args.list.order_by.unwrap_or_default();
    let fetch = async |page_size, page_token| {
        let request = FindMessagesRequest {
            filter: filter.clone(),
            order_by: order_by.clone(),
            page_size,
            page_token,
            as_of: None,
            include_deleted: args.deleted,
        };
        let page = client.messages().find(client.request(request)).await?.into_inner();
        Ok((page.messages, page.next_page_token))
    };
    let mut table = Table::new(&["ID", "STATUS", "CHANNEL", "RECIPIENT", "PROVIDER", "CREATED", "SUBJECT"]);
    let output = &mut context.output;
    pages::each(args.list.limit, fetch, |messages| {
        if output.json {
            return messages.iter().try_for_each(|message| output.json(message));
        }
        let rows: Vec<_> = messages.iter().map(|message| row(message, output)).collect();
        table.page(output, &rows)
    })
    .await
}

fn row(message: &Message, output: &Output) -> Vec<Cell> {
    let about = if message.subject.is_empty() { &message.body } else { &message.subject };
    vec![
        Cell::from(&message.id),
        Cell::new(show::style(message.status()), message.status().as_str_name()),
        message.channel().as_str_name().into(),
        Cell::from(&message.recipient),
        Cell::from(&message.provider),
        times::short(message.created_at.as_ref(), &output.zone).into(),
        about.chars().take(100).collect::<String>().into(),
    ]
}
