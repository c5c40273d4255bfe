//! What a node does because it may not be alone: it tells the time of the database, knows how far the log is settled, says that it is
//! there, hears what others did and tells them what it did.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{
    PgConnection,
    postgres::{PgConnectOptions, PgListener},
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    clock::DbClock,
    dialect,
    horizon::Horizon,
    nodes::{self, Node},
    sql::{facade::Pool, load, signals::Signals},
};
use crate::{clock::Clock, model::Channel, store::StoreError};

/// The name under which nodes talk.
const CHANNEL: &str = "hly";
/// Others are told at most this often: a NOTIFY takes a lock of the whole server when it is committed.
const TELL: Duration = Duration::from_millis(50);
/// How often a node says that it is there, and asks what time it is.
const RENEW: Duration = Duration::from_secs(3);
/// How often the queue is counted, in renewals.
const COUNT: u32 = 5;

/// This node among the others.
pub(super) struct Peers {
    clock: Arc<DbClock>,
    horizon: Arc<Horizon>,
    node: Node,
    nodes: Arc<AtomicUsize>,
    options: PgConnectOptions,
    pooler: bool,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Peers {
    /// Takes a number for this node.
    pub(super) async fn join(
        conn: &mut PgConnection,
        options: PgConnectOptions,
        pooler: bool,
    ) -> Result<Self, StoreError> {
        let clock = DbClock::new(conn).await.map_err(dialect::error)?;
        let node = nodes::join(conn, clock.now(), pooler).await?;
        Ok(Self {
            clock: Arc::new(clock),
            horizon: Arc::new(Horizon::new()),
            node,
            nodes: Arc::new(AtomicUsize::new(1)),
            options,
            pooler,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Begins.
    pub(super) fn start(&self, pool: &Pool, signals: &Arc<Signals>) {
        let horizon =
            self.horizon.clone().run(self.options.clone(), signals.log.subscribe(), self.stop.clone());
        self.tasks.spawn(horizon);
        let care = Care {
            clock: self.clock.clone(),
            node: self.node,
            nodes: self.nodes.clone(),
            signals: signals.clone(),
            lost: AtomicBool::new(false),
            pooler: self.pooler,
        };
        self.tasks.spawn(care.run(pool.clone(), self.stop.clone()));
        if !self.pooler {
            let (node, signals) = (self.node, signals.clone());
            self.tasks.spawn(listen(self.options.clone(), node, signals.clone(), self.stop.clone()));
            let nodes = self.nodes.clone();
            self.tasks.spawn(tell(pool.clone(), node, nodes, signals, self.stop.clone()));
        }
        self.tasks.close();
    }

    /// The clock of the database.
    pub(super) fn clock(&self) -> Clock {
        self.clock.handle()
    }

    /// The number of this node.
    pub(super) fn node(&self) -> u16 {
        u16::try_from(self.node.id).unwrap_or_default()
    }

    /// How many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        self.nodes.load(Ordering::Relaxed)
    }

    /// Whether statements outside of a transaction may go to several connections.
    pub(super) const fn pooler(&self) -> bool {
        self.pooler
    }

    /// Changes when the settled part of the log grew.
    pub(super) fn commits(&self, _signals: &Signals) -> watch::Receiver<u64> {
        self.horizon.moves()
    }

    /// See [`Horizon::settled`].
    pub(super) async fn settled(&self) -> Result<i64, StoreError> {
        self.horizon.settled().await
    }

    /// Ends; the others count this node no more.
    pub(super) async fn stop(&self, pool: &Pool) {
        self.stop.cancel();
        self.tasks.wait().await;
        let leave = async {
            if let Ok(mut conn) = pool.acquire().await
                && sqlx::raw_sql("BEGIN").execute(&mut *conn).await.is_ok()
            {
                self.node.leave(&mut conn, self.clock.now()).await.ok();
                sqlx::raw_sql(dialect::ending(self.pooler)).execute(&mut *conn).await.ok();
            }
        };
        tokio::time::timeout(Duration::from_secs(2), leave).await.ok();
    }
}

/// What is done every few seconds.
struct Care {
    clock: Arc<DbClock>,
    node: Node,
    nodes: Arc<AtomicUsize>,
    signals: Arc<Signals>,
    /// Another node has our number.
    lost: AtomicBool,
    pooler: bool,
}

impl Care {
    async fn run(self, pool: Pool, stop: CancellationToken) {
        // The queue was counted at the start.
        let mut round = 1u32;
        loop {
            let look = self.look(&pool, round.is_multiple_of(COUNT));
            match tokio::time::timeout(RENEW * 2, look).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the database does not hear that this node is there")
                }
                Err(_) => {
                    tracing::warn!("the database does not answer; this node cannot say that it is there")
                }
            }
            round = round.wrapping_add(1);
            tokio::select! {
                () = tokio::time::sleep(RENEW) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn look(&self, pool: &Pool, count: bool) -> Result<(), StoreError> {
        // One transaction: behind a pooler a statement with parameters is of one piece only in one.
        let mut conn = pool.acquire().await.map_err(dialect::error)?;
        sqlx::raw_sql("BEGIN").execute(&mut *conn).await.map_err(dialect::error)?;
        let looked = self.look_on(&mut conn, count).await;
        sqlx::raw_sql(dialect::ending(self.pooler)).execute(&mut *conn).await.map_err(dialect::error)?;
        looked
    }

    async fn look_on(&self, conn: &mut PgConnection, count: bool) -> Result<(), StoreError> {
        self.clock.sync(conn).await.map_err(dialect::error)?;
        match self.node.renew(conn, self.clock.now()).await? {
            Some(nodes) => self.nodes.store(nodes, Ordering::Relaxed),
            None if !self.lost.swap(true, Ordering::Relaxed) => {
                tracing::error!(
                    node = self.node.id,
                    "another node has the number of this one: start this one again"
                );
            }
            None => {}
        }
        if count {
            self.signals.load.replace(load::waiting(conn).await?);
        }
        Ok(())
    }
}

/// Hears what others did. Whatever is missed is found by looking.
async fn listen(options: PgConnectOptions, node: Node, signals: Arc<Signals>, stop: CancellationToken) {
    loop {
        let heard = async {
            let pool =
                sqlx::postgres::PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(CHANNEL).await?;
            // Something may have been said before.
            hear(EVERYTHING, &signals);
            loop {
                let said = listener.recv().await?;
                if let Some((from, what)) = said.payload().split_once(':')
                    && from != node.id.to_string()
                {
                    hear(what, &signals);
                }
            }
        };
        let failed: Result<(), sqlx::Error> = tokio::select! {
            heard = heard => heard,
            () = stop.cancelled() => return,
        };
        if let Err(error) = failed {
            tracing::warn!(%error, "cannot listen to other nodes; looking now and then instead");
        }
        tokio::select! {
            () = tokio::time::sleep(RENEW) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Everything that [`hear`] knows: the log, receipts, every channel.
const EVERYTHING: &str = "lr255";

/// `l` when the log grew, `r` when receipts wait, then the channels on which something became ready, as a number.
fn hear(what: &str, signals: &Signals) {
    if what.contains('l') {
        signals.log.send_modify(|count| *count += 1);
    }
    if what.contains('r') {
        signals.receipts.send_modify(|count| *count += 1);
    }
    let bits: u8 = what.trim_start_matches(['l', 'r']).parse().unwrap_or_default();
    for channel in Channel::ALL.into_iter().filter(|channel| bits & (1 << *channel as u8) != 0) {
        signals.wake(channel);
    }
}

/// Tells others what this node did, if there are others.
async fn tell(
    pool: Pool,
    node: Node,
    nodes: Arc<AtomicUsize>,
    signals: Arc<Signals>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(TELL) => {}
            () = stop.cancelled() => return,
        }
        let said = &signals.said;
        let (log, receipts) =
            (said.log.swap(false, Ordering::Relaxed), said.receipts.swap(false, Ordering::Relaxed));
        let wakes = said.wakes.swap(0, Ordering::Relaxed);
        if nodes.load(Ordering::Relaxed) < 2 || !(log || receipts || wakes != 0) {
            continue;
        }
        let (log, receipts) = (if log { "l" } else { "" }, if receipts { "r" } else { "" });
        let told = sqlx::query("SELECT pg_notify($1, $2)")
            .bind(CHANNEL)
            .bind(format!("{}:{log}{receipts}{wakes}", node.id))
            .execute(&pool);
        // Whoever is not told looks by himself.
        tokio::time::timeout(RENEW, told).await.ok();
    }
}
