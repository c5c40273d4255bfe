//! `hly messages`

mod change;
mod explain;
mod list;
mod retry;
pub(super) mod show;
mod watch;

use clap::Subcommand;

use super::{Context, Failure};

#[derive(Subcommand)]
pub(super) enum MessagesCommand {
    /// List messages, the newest first
    List(list::ListMessagesArgs),
    /// Show a message
    Get {
        /// message_...
        id: String,
    },
    /// Follow messages; goes on by itself when the connection breaks
    Watch(watch::WatchArgs),
    /// Withdraw a message, if nothing was handed off yet
    Cancel {
        /// message_...
        id: String,
        /// Makes repeating safe
        #[arg(long, value_name = "ID")]
        request_id: Option<String>,
    },
    /// Send a failed message again, or all dead letters
    Retry(retry::RetryArgs),
    /// Tell why a message went where it went
    Explain {
        /// message_...
        id: String,
    },
}

pub(super) async fn run(context: &mut Context, command: MessagesCommand) -> Result<(), Failure> {
    match command {
        MessagesCommand::List(args) => list::run(context, args).await,
        MessagesCommand::Get { id } => show::run(context, id).await,
        MessagesCommand::Watch(args) => watch::run(context, args).await,
        MessagesCommand::Cancel { id, request_id } => change::cancel(context, id, request_id).await,
        MessagesCommand::Retry(args) => retry::run(context, args).await,
        MessagesCommand::Explain { id } => explain::run(context, id).await,
    }
}
