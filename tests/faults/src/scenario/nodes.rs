//! F7, F8, F10, F11: three nodes over one PostgreSQL, of which some die, sleep beyond their lease, or lose the road to the database.

use std::{collections::HashMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use fastrand::Rng;
use headlessly_communication::model::Channel;
use tokio::sync::watch;
use tonic::transport::Channel as Wire;

use crate::{
    book::{Book, Handed},
    check::{History, Repeats, Terms, check},
    gateway::{Gateway, Keys, Manners},
    ledger::Ledger,
    load::Load,
    observe::{self, connect},
    postgres::Postgres,
    problem::Run,
    process::{Hly, Listening, Program},
    proxy::{Proxy, Road},
    receipts::{Names, Reporter},
    report::Report,
    time::pass,
    work::{Shape, Works},
};

const NODES: usize = 3;
const IN_FLIGHT: usize = 16;
const CLIENTS: u64 = 6;
/// Longer than the lease in the configuration.
const BEYOND_LEASE: Duration = Duration::from_millis(4_500);
const DRAIN: Duration = Duration::from_secs(120);

/// Runs it: so many messages, and so many faults one after the other.
pub(crate) async fn run(hly: &Path, seed: u64, messages: usize, faults: usize) -> Run<Report> {
    let mut report = Report::new("nodes", "postgres", seed);
    let postgres = Postgres::start().await?;
    let result = play(hly, &postgres, &mut report, messages, faults).await;
    postgres.stop().await?;
    result.map(|()| report)
}

struct Node {
    program: Program,
    road: Proxy,
    running: Option<(Hly, Listening)>,
}

impl Node {
    async fn start(&mut self) -> Run<()> {
        self.running = Some(self.program.start().await?);
        Ok(())
    }
}

async fn play(
    hly: &Path,
    postgres: &Postgres,
    report: &mut Report,
    messages: usize,
    faults: usize,
) -> Run<()> {
    let (seed, folder) = (report.seed, tempfile::tempdir()?);
    let book = Book::new(&folder.path().join("handed"))?;
    let ledger = Arc::new(Ledger::new(&folder.path().join("asked"))?);
    let edge: watch::Sender<Option<SocketAddr>> = watch::Sender::new(None);
    let reporter = Reporter::new(seed, "text", Names::Ours, 3, edge.subscribe());
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
    let toml = format!(
        "[dispatch]\nlease = \"3s\"\nsweep = \"500ms\"\nretry_first = \"50ms\"\nretry_max = \"1s\"\nhold = \"2s\"\n\
         max_attempts = 1000\n[limits]\nqueue_depth = 10000000\n{sections}\n[[provider]]\nname = \"chat\"\nkind = \"chat\"\n"
    );
    let mut nodes = Vec::new();
    for number in 0..NODES {
        let road = Proxy::start(postgres.address.clone()).await?;
        let (folder, url) = (folder.path().join(format!("node-{number}")), postgres.url(road.port));
        let mut node = Node { program: Program::new(hly, &folder, &toml, Some(&url))?, road, running: None };
        node.start().await?;
        nodes.push(node);
    }
    let wires = watch::Sender::new(Vec::new());
    announce(&nodes, &wires, &edge)?;
    let shape = Shape {
        messages,
        batch: 50,
        single_in: 50,
        channels: vec![Channel::Email, Channel::Push, Channel::Sms, Channel::Chat],
        scheduled_in: 50,
        invalid_in: 500,
    };
    let load = Load::new(Works::new(seed, shape), wires.subscribe(), ledger.clone());
    let mut clients = load.start(CLIENTS);
    clients.spawn(reporter.clone().run(2));
    let mut rng = Rng::with_seed(seed);
    for fault in 0..faults {
        load.allow(messages / faults);
        pass(Duration::from_millis(rng.u64(100..1_000))).await;
        hurt(&mut nodes, postgres, fault, &mut rng, report, (&wires, &edge)).await?;
    }
    load.allow(2 * messages);
    for _ in 0..CLIENTS {
        if let Some(end) = clients.join_next().await {
            end??;
        }
    }
    let api = wires.borrow().first().cloned();
    let Some(api) = api else { return Ok(()) };
    observe::settled(&api, DRAIN).await?;
    reporter.close();
    while let Some(end) = clients.join_next().await {
        end??;
    }
    observe::settled(&api, DRAIN).await?;
    let mut history =
        History { account: ledger.account(), reported: reporter.said().0, ..History::default() };
    (history.handed, history.strange) = book.read();
    observe::read(&api, &mut history, true).await?;
    let terms = Terms {
        // Each fault can lose what one node has in flight at the vendor that is asked again.
        repeats: Repeats::InAll(faults * NODES * IN_FLIGHT),
        once: vec![Channel::Sms, Channel::Push],
        refusals: false,
        last_life: 0,
    };
    report.findings = check(&history, &terms);
    report.recoveries = take_overs(&history.handed);
    report.orphans = ask(postgres, report).await?;
    for node in nodes {
        if let Some((process, _)) = node.running
            && !process.terminate().await?.success()
        {
            report.broken("a node did not end well");
        }
    }
    Ok(())
}

/// One fault, and the way back from it.
async fn hurt(
    nodes: &mut [Node],
    postgres: &Postgres,
    fault: usize,
    rng: &mut Rng,
    report: &mut Report,
    told: (&watch::Sender<Vec<Wire>>, &watch::Sender<Option<SocketAddr>>),
) -> Run<()> {
    let victim = rng.usize(0..nodes.len());
    let node = &mut nodes[victim];
    match fault % 6 {
        0 | 3 => {
            if let Some((process, _)) = node.running.take() {
                process.kill().await?;
                report.kills += 1;
            }
            announce(nodes, told.0, told.1)?;
            pass(Duration::from_millis(rng.u64(0..4_000))).await;
            nodes[victim].start().await?;
            announce(nodes, told.0, told.1)?;
        }
        1 => {
            if let Some((process, _)) = &node.running {
                process.signal("STOP").await?;
                pass(BEYOND_LEASE).await;
                process.signal("CONT").await?;
                report.count("pauses", 1);
            }
        }
        2 => {
            node.road.set(*rng.choice(&[Road::Blocked, Road::Cut]).unwrap_or(&Road::Cut));
            pass(BEYOND_LEASE).await;
            node.road.set(Road::Open);
            report.count("partitions", 1);
        }
        4 => {
            for _ in 0..20 {
                node.road.set(Road::NoAnswer);
                pass(Duration::from_millis(rng.u64(1..60))).await;
                node.road.set(Road::Slow(Duration::from_millis(1)));
                pass(Duration::from_millis(rng.u64(1..60))).await;
            }
            node.road.set(Road::Open);
            report.count("lost_answers", 20);
        }
        _ => {
            postgres.crash().await?;
            report.count("database_crashes", 1);
        }
    }
    Ok(())
}

/// Tells clients and vendors who lives.
fn announce(
    nodes: &[Node],
    wires: &watch::Sender<Vec<Wire>>,
    edge: &watch::Sender<Option<SocketAddr>>,
) -> Run<()> {
    let mut living = Vec::new();
    for (_, listening) in nodes.iter().filter_map(|node| node.running.as_ref()) {
        living.push(connect(&listening.api)?);
        edge.send_replace(Some(listening.edge));
    }
    wires.send_replace(living);
    Ok(())
}

/// How long a message that was handed off by a lost node waited for another one, in milliseconds.
fn take_overs(handed: &[Handed]) -> Vec<u64> {
    let (mut last, mut gaps) = (HashMap::new(), Vec::new());
    for one in handed {
        if let Some(before) = last.insert(one.id, one.at) {
            gaps.push((one.at - before).unsigned_abs() / 1_000);
        }
    }
    gaps
}

/// Asks the database itself: no claim has two results, and nothing is left. Returns the results that came too late.
async fn ask(postgres: &Postgres, report: &mut Report) -> Run<u64> {
    let mut db = postgres.connect().await?;
    let twice: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM (SELECT 1 FROM attempt WHERE orphan = 0 AND epoch > 0 \
         GROUP BY message_id, generation, epoch HAVING COUNT(*) > 1) AS twice",
    )
    .fetch_one(&mut db)
    .await?;
    let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM queue").fetch_one(&mut db).await?;
    let orphans: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM attempt WHERE orphan <> 0").fetch_one(&mut db).await?;
    report.tell("double_results", twice);
    report.tell("left_in_queue", left);
    if twice > 0 {
        report.broken("a claim has two results");
    }
    if left > 0 {
        report.broken("something is left in the queue");
    }
    Ok(orphans.unsigned_abs())
}
