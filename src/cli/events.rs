//! `hly events`

use clap::{Args, Subcommand};
use prost_types::{Value, value::Kind};

use super::{
    Context, Failure, follow,
    output::{BAD, Cell, DIM, GOOD, Output, PLAIN, Table, clean},
    pages, times,
    v1::{Event, ListEventsRequest, WatchEventsRequest},
};

#[derive(Subcommand)]
pub(super) enum EventsCommand {
    /// The log, oldest first
    List {
        #[command(flatten)]
        args: EventsArgs,
        /// How many at most; 0 for all
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// Follow the log; goes on by itself when the connection breaks
    Watch(EventsArgs),
}

#[derive(Args)]
pub(super) struct EventsArgs {
    /// After this event's cursor; 0 for the beginning
    #[arg(long, value_name = "CURSOR")]
    from: Option<String>,
    /// Only these: Message.*, *.Failed
    #[arg(long = "type", value_name = "PATTERN")]
    types: Vec<String>,
    /// Only events of this entity
    #[arg(long, value_name = "ID")]
    target: Option<String>,
}

pub(super) async fn run(context: &mut Context, command: EventsCommand) -> Result<(), Failure> {
    let client = context.client().await?;
    match command {
        EventsCommand::List { args, limit } => {
            let mut from = args.from.filter(|cursor| cursor != "0").unwrap_or_default();
            let target = args.target.unwrap_or_default();
            let fetch = async |page_size, _| {
                let (types, target, cursor) = (args.types.clone(), target.clone(), from.clone());
                let request = client.request(ListEventsRequest { cursor, page_size, types, target });
                let page = client.events().list(request).await?.into_inner();
                let end = page.next_cursor == from;
                from.clone_from(&page.next_cursor);
                Ok((page.events, if end { String::new() } else { page.next_cursor }))
            };
            let mut table = Table::new(&["AT", "TYPE", "TARGET", "ACTOR", "DATA"]);
            let output = &mut context.output;
            pages::each(limit, fetch, |events| {
                if output.json {
                    return events.iter().try_for_each(|event| output.json(event));
                }
                let rows: Vec<_> = events.iter().map(|event| row(event, output)).collect();
                table.page(output, &rows)
            })
            .await
        }
        EventsCommand::Watch(args) => {
            let (types, target) = (args.types, args.target.unwrap_or_default());
            let output = &mut context.output;
            let open = async |cursor: String| {
                let (types, target) = (types.clone(), target.clone());
                let request = WatchEventsRequest { cursor, types, target };
                Ok(client.events().watch(request).await?.into_inner())
            };
            follow::follow(args.from.unwrap_or_default(), open, |event: Event| {
                if output.json {
                    output.json(&event)?
                } else {
                    print(output, &event)?
                }
                Ok(event.cursor)
            })
            .await
        }
    }
}

/// One event of a stream on one line.
pub(super) fn print(output: &mut Output, event: &Event) -> Result<(), Failure> {
    let time = output.paint(DIM, &times::full(event.timestamp.as_ref(), &output.zone));
    let verb = output.paint(style(&event.r#type), &format!("{:<20}", clean(&event.r#type)));
    let line = format!("{time}  {verb}  {}  {}", clean(&event.target), data(event));
    output.line_now(line.trim_end())
}

fn row(event: &Event, output: &Output) -> Vec<Cell> {
    vec![
        times::short(event.timestamp.as_ref(), &output.zone).into(),
        Cell::new(style(&event.r#type), &event.r#type),
        Cell::from(&event.target),
        Cell::from(&event.actor),
        data(event).into(),
    ]
}

fn style(event: &str) -> anstyle::Style {
    match event.rsplit('.').next().unwrap_or_default() {
        "Failed" | "Expired" => BAD,
        "Delivered" | "Read" => GOOD,
        _ => PLAIN,
    }
}

/// The data as `key=value`, in the order of the keys.
fn data(event: &Event) -> String {
    let fields = event.data.as_ref().map(|data| &data.fields);
    let pairs: Vec<_> =
        fields.into_iter().flatten().map(|(key, value)| format!("{key}={}", show(value))).collect();
    clean(&pairs.join(" "))
}

fn show(value: &Value) -> String {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => "null".to_owned(),
        Some(Kind::BoolValue(value)) => value.to_string(),
        Some(Kind::NumberValue(value)) => value.to_string(),
        Some(Kind::StringValue(value)) => value.clone(),
        Some(Kind::ListValue(list)) => list.values.iter().map(show).collect::<Vec<_>>().join(","),
        Some(Kind::StructValue(_)) => "{...}".to_owned(),
    }
}
