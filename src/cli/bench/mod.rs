//! `hly bench`: how fast this machine accepts and delivers.
//!
//! Runs a whole server on a store of its own (or asks a running one with `--server`), over gRPC, with the load and the vendors
//! beside it on the same cores. Every figure is durable: a call counts when its answer says that it is on the disk. Every message
//! carries a token, so that what is lost or sent twice is seen.

mod cases;
mod depth;
mod figures;
mod ground;
mod load;
mod payload;
mod sink;
mod start;
mod tenants;
mod token;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Context, Exit, Failure, Host};
use figures::Figures;
use ground::Ground;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    tool: Option<Tool>,
    /// What to measure; everything when none is given
    cases: Vec<Case>,
    /// Messages of each case
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    count: u32,
    /// Bytes of a body
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(31..=50_000))]
    size: u32,
    /// Where the stores are made; a temporary folder when not given. Its disk is what is measured
    #[arg(long, value_name = "DIR", conflicts_with = "store")]
    dir: Option<PathBuf>,
    /// The store to measure instead, empty: postgres://user@host/database or sqlite:///path
    #[arg(long, value_name = "URL", conflicts_with = "remote")]
    store: Option<String>,
    /// Measure the server at --server, with its store and its providers
    #[arg(long)]
    remote: bool,
    /// Hand-offs at once to the gateway of the cases http, drain and rate
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=512))]
    places: u32,
    /// How long the vendors take for a message; 0, and 5 for the vendor of the case tenants, when not given
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    sink_delay_ms: Option<u64>,
    /// Calls a second of the case rate
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Seconds of the cases rate and tenants
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=600))]
    secs: u32,
    /// Messages that are stored between the two halves of the case depth
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=5_000_000))]
    stored: u32,
}

#[derive(Subcommand)]
enum Tool {
    /// Write an encoded SendMessageRequest, for load generators of others
    #[command(hide = true)]
    Payload(payload::PayloadArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Send, one call a message, 64 at once; scheduled for later, so that accepting is all there is to do
    Accept,
    /// SendBatch of 500, 4 at once; scheduled for later
    Batch,
    /// Send, one call a message, 64 at once, on the chat channel, handed off beside it
    Send,
    /// Accepted to delivered on the chat channel, with events and activities
    Chat,
    /// One Send at a time: how long it takes
    Latency,
    /// Send, 64 at once, each handed to an HTTP gateway: from the call to its arrival there
    Http,
    /// Messages that lie ready, due at one moment: until an HTTP gateway has them all
    Drain,
    /// SendBatch, each handed to an SMTP relay over kept connections
    Smtp,
    /// Send at an even pace: from the call to the arrival at an HTTP gateway
    Rate,
    /// One tenant's urgent messages, alone and beside the backlog of another tenant at the same vendor
    Tenants,
    /// Rates on an empty store and on a full one
    Depth,
    /// From the start of `hly serve` to its first answer; its memory
    Start,
}

impl Case {
    /// In this order when none is named: the heavy ones last.
    const ALL: [Self; 12] = [
        Self::Latency,
        Self::Accept,
        Self::Batch,
        Self::Send,
        Self::Chat,
        Self::Http,
        Self::Drain,
        Self::Smtp,
        Self::Rate,
        Self::Tenants,
        Self::Start,
        Self::Depth,
    ];

    /// Those that need no vendor of ours: all that can be asked of a server elsewhere.
    const REMOTE: [Self; 5] = [Self::Latency, Self::Accept, Self::Batch, Self::Send, Self::Chat];
}

pub(super) async fn run(context: &mut Context, args: &BenchArgs, host: &dyn Host) -> Result<(), Failure> {
    if let Some(Tool::Payload(args)) = &args.tool {
        return payload::run(context, args);
    }
    let cases = chosen(args)?;
    let ground = Ground::new(args, context, host).await?;
    for (name, line) in ground.facts().await? {
        figures::say(context, name, &line)?;
    }
    let mut wrong = Vec::new();
    for case in cases {
        for figures in measure(&ground, case).await? {
            figures::say(context, &figures.name, &figures.fields())?;
            wrong.extend(figures.wrong());
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::new(Exit::NotOk, "not every message arrived once");
    failure.lines.extend(wrong);
    Err(failure)
}

fn chosen(args: &BenchArgs) -> Result<Vec<Case>, Failure> {
    let all = if args.remote { &Case::REMOTE[..] } else { &Case::ALL[..] };
    let cases = if args.cases.is_empty() { all.to_vec() } else { args.cases.clone() };
    match cases.iter().find(|case| !all.contains(case)) {
        Some(case) => {
            let name = case.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
            Err(Failure::new(
                Exit::Usage,
                format!("{name} needs vendors of its own; it cannot be used with --remote"),
            ))
        }
        None => Ok(cases),
    }
}

/// Runs a case on a server of its own, which has ended when this returns: a repeated hand-off had its time to come.
async fn measure(ground: &Ground<'_>, case: Case) -> Result<Vec<Figures>, Failure> {
    if case == Case::Start {
        return start::run(ground).await;
    }
    let server = ground.start().await?;
    let result = on(ground, &server, case).await;
    server.stop().await;
    result
}

async fn on(ground: &Ground<'_>, server: &ground::Server, case: Case) -> Result<Vec<Figures>, Failure> {
    cases::warm_up(ground, server, case).await?;
    let one = match case {
        Case::Latency => cases::latency(ground, server).await?,
        Case::Accept => cases::accept(ground, server).await?,
        Case::Batch => cases::batch(ground, server).await?,
        Case::Send => cases::send(ground, server).await?,
        Case::Chat => cases::chat(ground, server, ground.args.count as usize).await?,
        Case::Http => cases::http(ground, server, ground.args.count as usize).await?,
        Case::Drain => cases::drain(ground, server).await?,
        Case::Smtp => cases::smtp(ground, server).await?,
        Case::Rate => return cases::rate(ground, server).await,
        Case::Tenants => return tenants::run(ground, server).await,
        Case::Depth => return depth::run(ground, server).await,
        Case::Start => return Ok(Vec::new()),
    };
    Ok(vec![one])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: BenchArgs,
    }

    fn parse(words: &[&str]) -> Result<BenchArgs, clap::Error> {
        Line::try_parse_from(["bench"].iter().chain(words)).map(|line| line.args)
    }

    #[test]
    fn every_case_is_measured_when_none_is_named() {
        let all = chosen(&parse(&[]).unwrap()).unwrap();
        assert!(Case::value_variants().iter().all(|case| all.contains(case)));
        assert_eq!(chosen(&parse(&["drain", "http"]).unwrap()).unwrap(), [Case::Drain, Case::Http]);
    }

    #[test]
    fn a_server_elsewhere_is_asked_only_what_needs_no_vendor() {
        assert_eq!(chosen(&parse(&["--remote"]).unwrap()).unwrap(), Case::REMOTE);
        assert_eq!(chosen(&parse(&["--remote", "http"]).unwrap()).unwrap_err().exit, Exit::Usage);
        assert!(parse(&["--remote", "--store", "postgres://x"]).is_err());
    }

    #[test]
    fn a_tool_takes_no_cases() {
        assert!(matches!(parse(&["payload", "--channel", "sms"]).unwrap().tool, Some(Tool::Payload(_))));
        assert!(parse(&["http", "payload"]).is_err());
    }
}
