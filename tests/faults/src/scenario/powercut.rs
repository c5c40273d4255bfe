//! F3: the power is cut under SQLite, at any place of what the process did to its files.

use std::{path::Path, sync::Arc, time::Duration};

use fastrand::Rng;
use headlessly_communication::model::Channel;
use sqlx::{Connection as _, Row as _, sqlite::SqliteConnectOptions, sqlite::SqliteConnection};
use tokio::{process::Command, sync::watch};

use crate::{
    journal::{Disk, Journal, Replay},
    ledger::{Account, Ledger},
    load::Load,
    observe::{self, connect},
    problem::{Run, problem},
    process::Program,
    report::Report,
    work::{Shape, Works},
};

/// The program that journals.
const SHIM: &str = include_str!("../../powercut.c");
/// One in so many stores is opened by the real program too.
const START: usize = 50;

/// What is tried, and whether it must hold or must fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Control {
    /// As it is shipped: nothing may be lost.
    None,
    /// `store.synchronous = "normal"`: must lose.
    Normal,
    /// A disk that does not keep what it says it keeps: must lose.
    Lying,
}

impl Control {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Normal => "normal",
            Self::Lying => "lying",
        }
    }
}

/// Runs it: so many messages, then so many cuts of what was journaled.
pub(crate) async fn run(
    hly: &Path,
    seed: u64,
    messages: usize,
    cuts: usize,
    control: Control,
) -> Run<Report> {
    let mut report = Report::new("powercut", "sqlite", seed);
    let folder = tempfile::tempdir()?;
    let account = record(hly, folder.path(), seed, messages, control).await?;
    report.findings.acked = account.asked.len() as u64;
    let journal = Journal::read(&folder.path().join("journal"))?;
    let first = account.asked.values().map(|asked| asked.at).min().unwrap_or(0);
    let from = (0..journal.len()).find(|place| journal.time(*place) > first).unwrap_or(0);
    let mut rng = Rng::with_seed(seed);
    let disk = if control == Control::Lying { Disk::Lying } else { Disk::Honest };
    let mut replay = Replay::new(&journal, disk);
    let (mut lossy, mut corrupt) = (0u64, 0u64);
    for (number, place) in journal.cuts(&mut rng, cuts, from).into_iter().enumerate() {
        replay.advance(place);
        let cut = folder.path().join("cut");
        std::fs::create_dir_all(&cut)?;
        for (name, content) in replay.cut(&mut rng) {
            let name = Path::new(name).file_name().unwrap_or_default();
            std::fs::write(cut.join(name), content)?;
        }
        match look(&cut.join("hly.db"), &account, journal.time(place)).await {
            Ok(0) => {}
            Ok(lost) => {
                lossy += 1;
                report.findings.lost += lost;
                if control == Control::None && report.findings.examples.len() < 5 {
                    report.findings.examples.push(format!("cut {number} before record {place}: {lost} lost"));
                }
            }
            Err(error) => {
                corrupt += 1;
                if control == Control::None {
                    report.broken(format!("cut {number} before record {place}: {error}"));
                }
            }
        }
        if control == Control::None && number % START == 0 {
            let program = Program::new(hly, &cut, TOML, None)?;
            let (process, listening) = program.start().await?;
            report.recoveries.push(u64::try_from(listening.after.as_millis()).unwrap_or(u64::MAX));
            process.terminate().await?;
        }
        std::fs::remove_dir_all(&cut)?;
    }
    report.kills = cuts as u64;
    report.tell("control", control.as_str());
    report.tell("records", journal.len());
    report.tell("cuts_with_loss", lossy);
    report.tell("cuts_corrupt", corrupt);
    if control != Control::None {
        // The other way round: a trial that sees no loss here would see none anywhere.
        report.tell("lost_in_control", report.findings.lost);
        report.findings.lost = 0;
        if lossy + corrupt == 0 {
            report.broken("the control lost nothing");
        }
    }
    Ok(report)
}

const TOML: &str = "[limits]\nqueue_depth = 10000000\n[[provider]]\nname = \"chat\"\nkind = \"chat\"\n";

/// Runs the program over the shim under load, and ends it by SIGKILL: what clients were answered, and when.
async fn record(hly: &Path, folder: &Path, seed: u64, messages: usize, control: Control) -> Run<Account> {
    std::fs::write(folder.join("powercut.c"), SHIM)?;
    let shim = folder.join("powercut.so");
    let compiled = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .arg(&shim)
        .arg(folder.join("powercut.c"))
        .args(["-ldl", "-lpthread"])
        .status()
        .await?;
    if !compiled.success() {
        return problem("powercut.c does not compile");
    }
    let mut program = Program::new(hly, folder, TOML, None)?;
    let place = |name: &str| folder.join(name).display().to_string();
    program.variables.extend(
        [
            ("LD_PRELOAD", place("powercut.so")),
            ("POWERCUT_PREFIX", place("hly.db")),
            ("POWERCUT_JOURNAL", place("journal")),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if control == Control::Normal {
        program.variables.push(("HLY_STORE__SYNCHRONOUS".to_owned(), "normal".to_owned()));
    }
    let (process, listening) = program.start().await?;
    let api = connect(&listening.api)?;
    let nodes = watch::Sender::new(vec![api.clone()]);
    let ledger = Arc::new(Ledger::new(&folder.join("asked"))?);
    let shape = Shape {
        messages,
        batch: 20,
        single_in: 2,
        channels: vec![Channel::Chat],
        scheduled_in: 5,
        invalid_in: 0,
    };
    let load = Load::new(Works::new(seed, shape), nodes.subscribe(), ledger.clone());
    load.allow(2 * messages);
    let mut clients = load.start(8);
    while let Some(end) = clients.join_next().await {
        end??;
    }
    observe::settled(&api, Duration::from_secs(120)).await?;
    process.kill().await?;
    Ok(ledger.account())
}

/// Opens what is left: how much is missing of what was acknowledged before this time.
async fn look(path: &Path, account: &Account, time: i64) -> Result<u64, sqlx::Error> {
    let mut db = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await?;
    let check: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut db).await?;
    if check != "ok" {
        return Err(sqlx::Error::Protocol(check));
    }
    let rows = sqlx::query(
        "SELECT message.id, status, queue.message_id IS NOT NULL FROM message LEFT JOIN queue ON queue.message_id = message.id",
    )
    .fetch_all(&mut db)
    .await?;
    let mut found = std::collections::HashMap::with_capacity(rows.len());
    for row in rows {
        found.insert(row.try_get::<i64, _>(0)?, (row.try_get::<String, _>(1)?, row.try_get::<bool, _>(2)?));
    }
    db.close().await?;
    let mut lost = 0;
    for (id, asked) in account.asked.iter().filter(|(_, asked)| asked.at < time) {
        let kept = found.get(id).is_some_and(|(status, queued)| {
            let waits = status == "QUEUED" || status == "SCHEDULED";
            let withdrawn = asked.withdrawn_at.is_some_and(|at| at < time);
            waits == *queued && (!withdrawn || status == "CANCELLED")
        });
        lost += u64::from(!kept);
    }
    Ok(lost)
}
