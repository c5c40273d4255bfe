//! How far the log is settled.
//!
//! Places in the log are given out before their transactions are committed, and transactions of several nodes commit in any order:
//! a reader that sees place 7 does not know whether 6 is still to come. So a reader goes only as far as the log is settled: every
//! transaction that may hold a place up to there has ended.
//!
//! Every writing transaction has its number (xid) before it takes a place. A look takes the last place that was given out, then a
//! transaction number of its own: whoever holds a place up to there has a lower number. When all lower numbers have ended
//! (`pg_snapshot_xmin`), the log is settled up to that place.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{PgConnection, Row as _, postgres::PgConnectOptions};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::dialect::{self, Link};
use crate::store::StoreError;

/// How often to look when nobody says that something happened.
const POLL: Duration = Duration::from_millis(250);
/// How soon to look again while transactions are under way that may hold places.
const SOON: Duration = Duration::from_millis(3);
/// How long a reader waits for the log to settle. A transaction that takes longer keeps back what comes after it, nothing else.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far the log is settled, as is known here.
pub(super) struct Horizon {
    /// The place, and what the latest look saw.
    settled: watch::Sender<Seen>,
    /// Counts how often it moved.
    moved: watch::Sender<u64>,
    asked: Notify,
    /// Looks that were begun, and the one that somebody waits for.
    begun: AtomicU64,
    wanted: AtomicU64,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    /// Everything up to here has ended.
    settled: i64,
    /// The last place that was given out, at the latest look.
    last: i64,
    /// The number of that look.
    look: u64,
}

impl Horizon {
    pub(super) fn new() -> Self {
        Self {
            settled: watch::Sender::default(),
            moved: watch::Sender::default(),
            asked: Notify::new(),
            begun: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
        }
    }

    /// Changes when the settled part of the log grew.
    pub(super) fn moves(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// The place up to which the log is settled, once that holds for all that was committed before this call; or, after a while,
    /// as far as it is settled then.
    pub(super) async fn settled(&self) -> Result<i64, StoreError> {
        let mut seen = self.settled.subscribe();
        // The look that runs now may have begun before the commit; the next one has not.
        let next = self.begun.load(Ordering::SeqCst) + 1;
        self.wanted.fetch_max(next, Ordering::SeqCst);
        self.asked.notify_one();
        let after = tokio::time::timeout(PATIENCE, seen.wait_for(|seen| seen.look >= next)).await;
        let Ok(Ok(target)) = after.map(|seen| seen.map(|seen| seen.last)) else {
            return Err(StoreError::Unavailable("the end of the log cannot be told now".to_owned()));
        };
        tokio::time::timeout(PATIENCE, seen.wait_for(|seen| seen.settled >= target)).await.ok();
        Ok(self.settled.borrow().settled)
    }

    /// Looks until told to stop.
    pub(super) async fn run(
        self: Arc<Self>,
        options: PgConnectOptions,
        mut commits: watch::Receiver<u64>,
        stop: CancellationToken,
    ) {
        let link = Link::new(options, false);
        let (mut conn, mut pending) = (None, VecDeque::new());
        loop {
            commits.borrow_and_update();
            if let Err(error) = self.look(&link, &mut conn, &mut pending).await {
                tracing::warn!(%error, "the end of the log cannot be told");
                conn = None;
            }
            let seen = *self.settled.borrow();
            if self.wanted.load(Ordering::SeqCst) > seen.look && conn.is_some() {
                continue;
            }
            let next = if seen.settled < seen.last && conn.is_some() { SOON } else { POLL };
            tokio::select! {
                changed = commits.changed() => if changed.is_err() { return },
                () = self.asked.notified() => {}
                () = tokio::time::sleep(next) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One look.
    async fn look(
        &self,
        link: &Link,
        conn: &mut Option<PgConnection>,
        pending: &mut VecDeque<(i64, i64)>,
    ) -> Result<(), StoreError> {
        let conn = match conn {
            Some(conn) => conn,
            None => conn.insert(link.reach().await.map_err(dialect::error)?),
        };
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let look = tokio::time::timeout(PATIENCE, look(conn, pending)).await;
        let late = |_| StoreError::Unavailable("no answer".to_owned());
        let (last, settled) = look.map_err(late)?.map_err(dialect::error)?;
        let mut moved = false;
        self.settled.send_modify(|seen| {
            moved = settled > seen.settled;
            *seen = Seen { settled: seen.settled.max(settled), last, look: number };
        });
        if moved {
            self.moved.send_modify(|count| *count += 1);
        }
        Ok(())
    }
}

/// The last place given out, and the last one that is settled.
async fn look(
    conn: &mut PgConnection,
    pending: &mut VecDeque<(i64, i64)>,
) -> Result<(i64, i64), sqlx::Error> {
    let last =
        number(conn, "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM event_seq_seq").await?;
    let newest = pending.back().map(|(place, _)| *place);
    if newest.is_none_or(|newest| newest < last) {
        pending.push_back((last, number(conn, "SELECT pg_current_xact_id()::text::bigint").await?));
    }
    let oldest = number(conn, "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint").await?;
    let mut settled = 0;
    while let Some((place, _)) = pending.front().copied().filter(|(_, number)| *number <= oldest) {
        settled = place;
        // The newest stays: it says what has been looked at already.
        if pending.len() == 1 {
            break;
        }
        pending.pop_front();
    }
    Ok((last, settled))
}

/// What a statement without parameters answers. Unprepared: it works through any pooler.
async fn number(conn: &mut PgConnection, text: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::raw_sql(text).fetch_one(conn).await?.try_get(0)
}
