//! The command line: one file a verb. Talks to the server as any client does; only `serve`, `config` and `doctor` look at the
//! configuration of this machine.

mod activities;
mod args;
mod batch;
mod bench;
mod client;
mod completions;
mod config;
mod contacts;
mod doctor;
mod events;
mod exit;
mod follow;
mod host;
mod json;
mod keys;
mod messages;
mod migrate;
mod output;
mod pages;
mod providers;
mod send;
mod serve;
mod status;
mod tickets;
mod times;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use tokio::runtime::Runtime;

pub use exit::{Exit, Failure};
pub use host::{Flaw, Host, Part, Started, Tables};

use crate::pb as v1;
use client::{Client, Target};
use output::Output;

/// Carries a business's conversations: email, SMS, chat and push, as one typed Message over gRPC.
#[derive(Parser)]
#[command(name = "hly", version, propagate_version = true, max_term_width = 110, after_long_help = AFTER)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The server that is asked when none is named.
const DEFAULT_SERVER: &str = "http://127.0.0.1:50051";

/// What stands under `hly --help`.
const AFTER: &str = "\
Exit codes: 0 done, 1 refused or not ok, 64 wrong usage, 65 damaged store, 69 server unavailable, 70 internal fault,
71 refused by the system, 74 the disk failed, 75 try again later, 78 wrong configuration, 130 and 143 ended by a second signal.";

#[derive(Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// The server's address
    #[arg(
        long,
        global = true,
        env = "HLY_SERVER",
        value_name = "URL",
        default_value = DEFAULT_SERVER
    )]
    server: String,
    /// The API key; better given as HLY_API_KEY, since other users of this machine can see arguments
    #[arg(long, global = true, env = "HLY_API_KEY", value_name = "KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// How long one call may take
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = times::parse_duration)]
    timeout: Duration,
    /// Print one JSON object a line
    #[arg(long, global = true)]
    json: bool,
    /// When to use colours; auto heeds NO_COLOR
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", value_parser = args::colour())]
    color: anstream::ColorChoice,
    /// The configuration file; hly.toml in the working directory when it is there
    #[arg(long, global = true, env = "HLY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve,
    /// Send a message, a draft, or a file of messages
    Send(Box<send::SendArgs>),
    /// Look at messages, follow and change them
    #[command(subcommand, alias = "message")]
    Messages(messages::MessagesCommand),
    /// The people messages come from and go to
    #[command(subcommand, alias = "contact")]
    Contacts(contacts::ContactsCommand),
    /// What happened with contacts
    #[command(subcommand, alias = "activity")]
    Activities(activities::ActivitiesCommand),
    /// Support tickets
    #[command(subcommand, alias = "ticket")]
    Tickets(tickets::TicketsCommand),
    /// The log of everything that happened
    #[command(subcommand, alias = "event")]
    Events(events::EventsCommand),
    /// The roads on which messages leave
    #[command(subcommand, alias = "provider")]
    Providers(providers::ProvidersCommand),
    /// API keys
    #[command(subcommand, alias = "key")]
    Keys(keys::KeysCommand),
    /// The configuration of this machine
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Measure how fast this machine accepts and delivers, on a store of its own
    Bench(bench::BenchArgs),
    /// Bring the tables of the store up to date; `serve` does the same
    Migrate(migrate::MigrateArgs),
    /// Look for what is wrong, with the way out
    Doctor(doctor::DoctorArgs),
    /// Print the completions of a shell
    Completions(completions::CompletionsArgs),
}

/// What every verb is given.
struct Context {
    target: Target,
    config: Option<PathBuf>,
    output: Output,
}

impl Context {
    async fn client(&self) -> Result<Client, Failure> {
        Client::connect(&self.target).await
    }
}

/// Runs the command line of this process. `host` runs servers.
///
/// Errors are printed on standard error; the exit codes are those of [`Exit`].
pub fn main(host: &dyn Host) -> ExitCode {
    main_with(std::env::args_os(), host)
}

fn main_with(arguments: impl IntoIterator<Item = OsString>, host: &dyn Host) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            // Nobody reads: nothing to say.
            let _ = error.print();
            return exit.into();
        }
    };
    let colour = cli.global.color;
    let result = Runtime::new()
        .map_err(|error| Failure::new(Exit::System, format!("threads cannot be started: {error}")))
        .and_then(|runtime| runtime.block_on(run(cli, host)));
    match result {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => {
            report(&failure, colour);
            failure.exit.into()
        }
    }
}

async fn run(cli: Cli, host: &dyn Host) -> Result<(), Failure> {
    let Global { server, api_key, timeout, json, color, config } = cli.global;
    let target = Target { server, api_key, timeout };
    let context = Context { target, config, output: Output::stdout(json, color) };
    dispatch(context, cli.command, host).await
}

async fn dispatch(mut context: Context, command: Command, host: &dyn Host) -> Result<(), Failure> {
    match command {
        Command::Serve => serve::run(context, host).await,
        Command::Send(args) => send::run(&mut context, *args).await,
        Command::Messages(command) => messages::run(&mut context, command).await,
        Command::Contacts(command) => contacts::run(&mut context, command).await,
        Command::Activities(command) => activities::run(&mut context, command).await,
        Command::Tickets(command) => tickets::run(&mut context, command).await,
        Command::Events(command) => events::run(&mut context, command).await,
        Command::Providers(command) => providers::run(&mut context, command).await,
        Command::Keys(command) => keys::run(&mut context, command, host).await,
        Command::Config(command) => config::run(&mut context, command),
        Command::Bench(args) => bench::run(&mut context, &args, host).await,
        Command::Migrate(args) => migrate::run(&mut context, &args, host).await,
        Command::Doctor(args) => doctor::run(&mut context, &args, host).await,
        Command::Completions(args) => completions::run(&mut context, &args),
    }
}

fn report(failure: &Failure, colour: anstream::ColorChoice) {
    let mut stream = anstream::AutoStream::new(io::stderr(), colour);
    for (index, line) in failure.lines.iter().enumerate() {
        // Nobody reads: nothing to do about it.
        let _ = match index {
            0 => writeln!(stream, "{}error:{:#} {line}", output::BAD, output::BAD),
            _ => writeln!(stream, "  {line}"),
        };
    }
}

/// A remark that is not part of the result, on standard error.
fn note(text: &str) {
    // Nobody reads: nothing to do about it.
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_tests;
