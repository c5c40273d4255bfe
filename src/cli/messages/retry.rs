//! `hly messages retry`

use clap::Args;
use futures_util::{StreamExt, stream};
use tonic::Code;

use super::super::{
    Client, Context, Exit, Failure, args,
    output::clean,
    pages,
    v1::{FindMessagesRequest, Message, RetryMessageRequest},
};
use super::{list, show};

/// Calls at once.
const AT_ONCE: usize = 16;
/// Refusals that are shown, of many.
const SHOWN: usize = 10;

#[derive(Args)]
pub(in crate::cli) struct RetryArgs {
    /// message_...
    #[arg(required_unless_present = "all")]
    id: Option<String>,
    /// Makes repeating safe
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    request_id: Option<String>,
    /// All dead letters: given up after all tries, as poison, or as perhaps sent (those may arrive twice)
    #[arg(long, conflicts_with = "id")]
    all: bool,
    /// Of these only those that hold, as JSON: '{"failure.reason": "RETRIES_EXHAUSTED"}'
    #[arg(long, value_name = "JSON", requires = "all")]
    filter: Option<String>,
    /// How many at most; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0, requires = "all")]
    limit: u32,
}

pub(super) async fn run(context: &mut Context, args: RetryArgs) -> Result<(), Failure> {
    let client = context.client().await?;
    if let Some(id) = args.id {
        let request = RetryMessageRequest { id, request_id: args.request_id.unwrap_or_default() };
        let message = client.messages().retry(client.request(request)).await?.into_inner();
        return tell(context, &message);
    }
    let filter = args::filter(Some(list::dead(args.filter.as_deref())), &[]);
    let fetch = async |page_size, page_token| {
        let request = FindMessagesRequest {
            filter: filter.clone(),
            page_size,
            page_token,
            ..FindMessagesRequest::default()
        };
        let page = client.messages().find(client.request(request)).await?.into_inner();
        // A page at a time: what is not fetched yet is not in the queue either.
        let tries: Vec<_> = page.messages.iter().map(|message| again(&client, message)).collect();
        let done: Vec<_> = stream::iter(tries).buffer_unordered(AT_ONCE).collect().await;
        let done: Result<Vec<_>, Failure> = done.into_iter().collect();
        Ok((done?, page.next_page_token))
    };
    let mut refused = Vec::new();
    let shown = pages::each(args.limit, fetch, |done| {
        for one in done {
            match one {
                Ok(message) => tell(context, message)?,
                Err(problem) => refused.push(problem.clone()),
            }
        }
        Ok(())
    });
    shown.await?;
    if refused.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(Exit::NotOk, format!("{} could not be sent again", refused.len()));
    Err(refused.into_iter().take(SHOWN).fold(failure, Failure::line))
}

/// Sends one again. The inner error is the message's own; the rest goes on.
async fn again(client: &Client, message: &Message) -> Result<Result<Message, String>, Failure> {
    // The version makes it the same request until the message changes.
    let request_id = format!("retry-{}-{}", message.id, message.version);
    let request = RetryMessageRequest { id: message.id.clone(), request_id };
    match client.messages().retry(client.request(request)).await {
        Ok(answer) => Ok(Ok(answer.into_inner())),
        Err(status) if matches!(status.code(), Code::FailedPrecondition | Code::NotFound) => {
            Ok(Err(format!("{}: {}", message.id, clean(status.message()))))
        }
        Err(status) => Err(status.into()),
    }
}

fn tell(context: &mut Context, message: &Message) -> Result<(), Failure> {
    if context.output.json { context.output.json(message) } else { show::line(&mut context.output, message) }
}
