//! Everything in small, for every change.

use std::{io::Write as _, path::Path};

use super::{kill, nodes, powercut, powercut::Control, receipts, sinks};
use crate::{postgres, problem::Run, report::Report};

/// Runs all of it, prints each line as it comes, then how many passed. Without a PostgreSQL server on the machine that scenario is
/// left out, and said to be.
pub(crate) async fn run(hly: &Path, seed: u64) -> Run<bool> {
    let mut count = (0, 0);
    let size = kill::Size { messages: 6_000, kills: 12, rounds: 1, batch: 100 };
    tell(&mut count, "kill", kill::run(hly, seed, size).await)?;
    tell(&mut count, "receipts", receipts::run(hly, seed, 8_000).await)?;
    tell(&mut count, "sinks", sinks::run(hly, seed, 600, 10).await)?;
    tell(&mut count, "powercut", powercut::run(hly, seed, 800, 150, Control::None).await)?;
    for control in [Control::Normal, Control::Lying] {
        tell(&mut count, "powercut, control", powercut::run(hly, seed, 400, 40, control).await)?;
    }
    if postgres::programs().is_ok() {
        tell(&mut count, "nodes", nodes::run(hly, seed, 1_500, 6).await)?;
    } else {
        writeln!(std::io::stdout(), "nodes: left out, this machine has no PostgreSQL server")?;
    }
    writeln!(std::io::stdout(), "torture: {} passed, {} failed", count.0, count.1)?;
    Ok(count.1 == 0)
}

/// Prints a run and counts it; one that could not be made has failed.
fn tell(count: &mut (u32, u32), name: &str, run: Run<Report>) -> Run<()> {
    let mut out = std::io::stdout().lock();
    let ok = match run {
        Ok(report) => {
            writeln!(out, "{}", report.line())?;
            report.ok()
        }
        Err(problem) => {
            writeln!(out, "{name}: {problem}")?;
            false
        }
    };
    if ok {
        count.0 += 1;
    } else {
        count.1 += 1;
    }
    Ok(())
}
