//! `hly-torture`: runs the real program under faults and compares what it promised with what happened.
//!
//! Each run prints one line of JSON and ends with exit code 1 when a promise is broken. Everything is on the loopback interface and in
//! temporary folders.

mod book;
mod check;
mod gateway;
mod journal;
mod ledger;
mod load;
mod mailbox;
mod observe;
mod postgres;
mod problem;
mod process;
mod proxy;
mod receipts;
mod report;
mod scenario;
mod time;
mod wire;
mod work;

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use problem::{Problem, Run};
use report::Report;
use scenario::{kill, nodes, powercut, receipts as reports, short, sinks};

/// Runs hly under faults and compares what it promised with what happened.
#[derive(Parser)]
#[command(name = "hly-torture")]
struct Arguments {
    /// The program; the one beside this one when not given
    #[arg(long, global = true)]
    hly: Option<PathBuf>,
    /// What all chance comes from
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// SIGKILL at random, under load and while starting
    Kill {
        /// Messages in all
        #[arg(long, default_value_t = 1_000_000)]
        messages: usize,
        /// Kills in all
        #[arg(long, default_value_t = 1_000)]
        kills: usize,
        /// Stores over which both are spread
        #[arg(long, default_value_t = 10)]
        rounds: usize,
        /// Messages of a batch
        #[arg(long, default_value_t = 500)]
        batch: usize,
    },
    /// Reports in any order, repeated, before our own commit
    Receipts {
        /// Reports in all, about
        #[arg(long, default_value_t = 1_000_000)]
        receipts: usize,
    },
    /// Vendors that refuse, drop, stall, and accept without saying so
    Sinks {
        /// Messages in all
        #[arg(long, default_value_t = 20_000)]
        messages: usize,
        /// Each class of fault, in so many of 1,000 hand-offs
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100))]
        per_mille: u32,
    },
    /// The power is cut under SQLite, at any place of what was written
    Powercut {
        /// Messages in all
        #[arg(long, default_value_t = 5_000)]
        messages: usize,
        /// Cuts in all
        #[arg(long, default_value_t = 20_000)]
        cuts: usize,
        /// A trial that must fail
        #[arg(long, value_enum, default_value = "none")]
        control: powercut::Control,
    },
    /// Three nodes over one PostgreSQL: killed, paused, cut off from it
    Nodes {
        /// Messages in all
        #[arg(long, default_value_t = 100_000)]
        messages: usize,
        /// Faults, one after the other
        #[arg(long, default_value_t = 120)]
        faults: usize,
    },
    /// All of them in small
    Short,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            writeln!(std::io::stderr(), "hly-torture: {problem}").ok();
            ExitCode::from(2)
        }
    }
}

/// Whether every promise was kept.
async fn run(arguments: &Arguments) -> Run<bool> {
    let hly = program(arguments)?;
    let seed = arguments.seed;
    let reports = match arguments.scenario {
        Scenario::Kill { messages, kills, rounds, batch } => {
            let size = kill::Size { messages, kills, rounds: rounds.max(1), batch };
            vec![kill::run(&hly, seed, size).await?]
        }
        Scenario::Receipts { receipts } => vec![reports::run(&hly, seed, receipts).await?],
        Scenario::Sinks { messages, per_mille } => {
            vec![sinks::run(&hly, seed, messages, per_mille).await?]
        }
        Scenario::Powercut { messages, cuts, control } => {
            vec![powercut::run(&hly, seed, messages, cuts, control).await?]
        }
        Scenario::Nodes { messages, faults } => {
            vec![nodes::run(&hly, seed, messages, faults.max(1)).await?]
        }
        Scenario::Short => return short::run(&hly, seed).await,
    };
    let mut out = std::io::stdout().lock();
    for report in &reports {
        writeln!(out, "{}", report.line())?;
    }
    Ok(reports.iter().all(Report::ok))
}

/// The program to run.
fn program(arguments: &Arguments) -> Run<PathBuf> {
    if let Some(hly) = &arguments.hly {
        return Ok(hly.canonicalize()?);
    }
    let own = std::env::current_exe()?;
    let beside = own.with_file_name("hly");
    if beside.is_file() {
        Ok(beside)
    } else {
        Err(Problem::Other(format!("{} is not there; build it, or name one with --hly", beside.display())))
    }
}
