//! F1, F2: SIGKILL at any moment, under load and while starting.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use fastrand::Rng;
use headlessly_communication::model::Channel;
use tokio::{sync::watch, task::JoinSet};
use tonic::transport::Channel as Wire;

use crate::{
    book::Book,
    check::{Findings, History, Repeats, Terms, check},
    gateway::{Gateway, Keys, Manners},
    ledger::Ledger,
    load::Load,
    observe::{self, connect},
    problem::Run,
    process::{Hly, Program},
    receipts::{Names, Reporter},
    report::Report,
    time::pass,
    work::{Shape, Works},
};

/// Places at each vendor: so many hand-offs are under way at most.
const IN_FLIGHT: usize = 32;
/// Vendors whose acceptances may be repeated after a kill.
const REPEATING: usize = 1;
/// How long the rest may take when nobody is killed any more.
const DRAIN: Duration = Duration::from_secs(180);

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Messages in all.
    pub(crate) messages: usize,
    /// Kills in all.
    pub(crate) kills: usize,
    /// Stores, one after the other, over which both are spread.
    pub(crate) rounds: usize,
    /// Messages of a batch.
    pub(crate) batch: usize,
}

/// Runs it.
pub(crate) async fn run(hly: &Path, seed: u64, size: Size) -> Run<Report> {
    let mut report = Report::new("kill", "sqlite", seed);
    for round in 0..size.rounds {
        let part = |all: usize| (round + 1) * all / size.rounds - round * all / size.rounds;
        let share = Size { messages: part(size.messages), kills: part(size.kills), ..size };
        let folder = tempfile::tempdir()?;
        let seed = seed.wrapping_add(round as u64);
        let findings = Round::start(hly, folder.path(), seed, share).await?.run(&mut report).await?;
        let ok = findings.ok();
        report.findings.add(findings);
        if !ok {
            report.tell("kept", folder.keep().display().to_string());
            break;
        }
    }
    Ok(report)
}

/// One store with its vendors and clients.
struct Round {
    program: Program,
    size: Size,
    rng: Rng,
    book: Arc<Book>,
    ledger: Arc<Ledger>,
    load: Arc<Load>,
    nodes: watch::Sender<Vec<Wire>>,
    edge: watch::Sender<Option<SocketAddr>>,
    reporter: Arc<Reporter>,
    _vendors: Vec<Gateway>,
    clients: JoinSet<Run<()>>,
}

impl Round {
    async fn start(hly: &Path, folder: &Path, seed: u64, size: Size) -> Run<Self> {
        let book = Book::new(&folder.join("handed"))?;
        let ledger = Arc::new(Ledger::new(&folder.join("asked"))?);
        let edge = watch::Sender::new(None);
        let reporter = Reporter::new(seed, "text", Names::Ours, 2, edge.subscribe());
        let mut vendors = Vec::new();
        for (name, channels, keys, reporter) in [
            ("mail", &["EMAIL"][..], Keys::Ignored, None),
            ("push", &["PUSH"], Keys::Honoured, None),
            ("text", &["SMS"], Keys::Ignored, Some(reporter.clone())),
        ] {
            let manners = Manners { name, channels, keys, faults: Vec::new(), reporter };
            vendors.push(Gateway::start(seed, book.clone(), manners).await?);
        }
        let sections: String = vendors.iter().map(|vendor| vendor.toml(IN_FLIGHT)).collect();
        // A message whose hand-off nobody can vouch for does not hold up the end of the run.
        let toml = format!(
            "[dispatch]\nretry_first = \"50ms\"\nretry_max = \"1s\"\nsweep = \"200ms\"\nhold = \"2s\"\n\
             [limits]\nqueue_depth = 10000000\n{sections}\n[[provider]]\nname = \"chat\"\nkind = \"chat\"\n"
        );
        let program = Program::new(hly, folder, &toml, None)?;
        let shape = Shape {
            messages: size.messages,
            batch: size.batch,
            single_in: 100,
            channels: vec![Channel::Email, Channel::Push, Channel::Sms, Channel::Chat, Channel::Chat],
            scheduled_in: 50,
            invalid_in: 2_000,
        };
        let nodes = watch::Sender::new(Vec::new());
        let load = Load::new(Works::new(seed, shape), nodes.subscribe(), ledger.clone());
        let mut clients = load.start(8);
        clients.spawn(reporter.clone().run(2));
        let rng = Rng::with_seed(seed);
        Ok(Self { program, size, rng, book, ledger, load, nodes, edge, reporter, _vendors: vendors, clients })
    }

    /// Kills and starts again, then lets everything come to its end and compares.
    async fn run(mut self, report: &mut Report) -> Run<Findings> {
        for kill in 0..self.size.kills {
            let share = |kill: usize| kill * self.size.messages / self.size.kills;
            self.load.allow(share(kill + 1) - share(kill));
            self.life(report).await?;
            self.ledger.sync()?;
        }
        self.load.allow(self.size.messages);
        let (process, listening) = self.program.start().await?;
        report.recoveries.push(millis(listening.after));
        self.edge.send_replace(Some(listening.edge));
        let api = connect(&listening.api)?;
        self.nodes.send_replace(vec![api.clone()]);
        let findings = self.end(&api).await?;
        if !process.terminate().await?.success() {
            report.broken("the last process did not end well");
        }
        Ok(findings)
    }

    /// One life, from its start to its kill.
    async fn life(&mut self, report: &mut Report) -> Run<()> {
        let mut process = self.program.spawn()?;
        report.kills += 1;
        if self.rng.u32(0..8) == 0 {
            // While it opens the store, recovers, takes back leases.
            pass(Duration::from_millis(self.rng.u64(0..150))).await;
            report.count("kills_while_starting", 1);
            return self.kill(process).await;
        }
        let listening = process.listening(&self.program.folder).await?;
        report.recoveries.push(millis(listening.after));
        self.edge.send_replace(Some(listening.edge));
        self.nodes.send_replace(vec![connect(&listening.api)?]);
        pass(Duration::from_millis(self.rng.u64(1..=800))).await;
        self.kill(process).await
    }

    async fn kill(&self, process: Hly) -> Run<()> {
        process.kill().await?;
        self.program.set_life(self.book.next_life())?;
        self.nodes.send_replace(Vec::new());
        self.edge.send_replace(None);
        Ok(())
    }

    async fn end(&mut self, api: &Wire) -> Run<Findings> {
        // All clients are served, then the reports that are left.
        for _ in 0..8 {
            if let Some(end) = self.clients.join_next().await {
                end??;
            }
        }
        self.ledger.sync()?;
        observe::settled(api, DRAIN).await?;
        self.reporter.close();
        while let Some(end) = self.clients.join_next().await {
            end??;
        }
        // Reports make effects too.
        observe::settled(api, DRAIN).await?;
        let mut history = History {
            account: self.ledger.account(),
            reported: self.reporter.said().0,
            ..History::default()
        };
        (history.handed, history.strange) = self.book.read();
        observe::read(api, &mut history, true).await?;
        let terms = Terms {
            repeats: Repeats::PerLife(REPEATING * IN_FLIGHT),
            once: vec![Channel::Sms, Channel::Push],
            refusals: false,
            last_life: u32::try_from(self.size.kills).unwrap_or(u32::MAX),
        };
        Ok(check(&history, &terms))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
