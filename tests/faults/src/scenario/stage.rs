//! What the scenarios share in which nobody dies: one process, its vendors, its clients, and the comparison at the end.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    book::Book,
    check::{Findings, History, Terms, check},
    ledger::Ledger,
    load::Load,
    observe::{self, connect},
    problem::Run,
    process::Program,
    receipts::Reporter,
    report::Report,
    work::{Shape, Works},
};

/// Everything that is not the program.
pub(crate) struct Stage<'a> {
    /// The program's file.
    pub(crate) hly: &'a Path,
    /// Where it works.
    pub(crate) folder: &'a Path,
    /// The configuration with its vendors.
    pub(crate) toml: String,
    /// The vendors' book.
    pub(crate) book: Arc<Book>,
    /// Vendors' reports.
    pub(crate) reporters: Vec<Arc<Reporter>>,
    /// Where reports go.
    pub(crate) edge: watch::Sender<Option<SocketAddr>>,
    /// How long everything may take.
    pub(crate) patience: Duration,
}

/// Clients at once.
const CLIENTS: u64 = 8;

impl Stage<'_> {
    /// Asks for everything, waits for the end, compares.
    pub(crate) async fn play(self, report: &mut Report, shape: Shape, terms: &Terms) -> Run<Findings> {
        let ledger = Arc::new(Ledger::new(&self.folder.join("asked"))?);
        let program = Program::new(self.hly, self.folder, &self.toml, None)?;
        let (process, listening) = program.start().await?;
        self.edge.send_replace(Some(listening.edge));
        let api = connect(&listening.api)?;
        let nodes = watch::Sender::new(vec![api.clone()]);
        let messages = shape.messages;
        let load = Load::new(Works::new(report.seed, shape), nodes.subscribe(), ledger.clone());
        load.allow(2 * messages);
        let mut reporting = tokio::task::JoinSet::new();
        for reporter in &self.reporters {
            reporting.spawn(reporter.clone().run(2));
        }
        let mut clients = load.start(CLIENTS);
        while let Some(end) = clients.join_next().await {
            end??;
        }
        ledger.sync()?;
        observe::settled(&api, self.patience).await?;
        for reporter in &self.reporters {
            reporter.close();
        }
        while let Some(end) = reporting.join_next().await {
            end??;
        }
        observe::settled(&api, self.patience).await?;
        let mut history = History { account: ledger.account(), ..History::default() };
        for reporter in &self.reporters {
            let (said, posted) = reporter.said();
            history.reported.extend(said);
            report.count("receipts", posted);
        }
        report.count("refused", history.account.refused);
        report.count("unknown", history.account.unknown);
        (history.handed, history.strange) = self.book.read();
        observe::read(&api, &mut history, true).await?;
        if !process.terminate().await?.success() {
            report.broken("the process did not end well");
        }
        Ok(check(&history, terms))
    }
}
