//! The clock of the database, as every node over it tells it: whatever the clocks of their machines say.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{PgConnection, Row as _};

use crate::{clock::Clock, model::Timestamp};

/// A difference that is no drift: somebody set a clock.
const JUMP: Duration = Duration::from_secs(30);

/// Asked for now and then, and counted on from there by the machine's steady clock.
pub(super) struct DbClock {
    /// The time of the database, in microseconds, when this clock was made.
    zero: AtomicI64,
    made: Instant,
}

impl DbClock {
    /// Asks for the first time.
    pub(super) async fn new(conn: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let clock = Self { zero: AtomicI64::new(0), made: Instant::now() };
        let zero = clock.ask(conn).await?;
        clock.zero.store(zero, Ordering::Relaxed);
        Ok(clock)
    }

    /// What `zero` should be: as if the database had looked at its clock the moment its answer came. So this clock may be behind by
    /// the time of an answer, and is never ahead: nothing is early by it.
    async fn ask(&self, conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
        let text = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        let now: i64 = sqlx::raw_sql(text).fetch_one(conn).await?.try_get(0)?;
        Ok(now - i64::try_from(self.made.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    /// Asks again.
    pub(super) async fn sync(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let zero = self.ask(conn).await?;
        let before = self.zero.swap(zero, Ordering::Relaxed);
        if (zero - before).unsigned_abs() > JUMP.as_micros() as u64 {
            let seconds = (zero - before) / 1_000_000;
            tracing::error!(seconds, "the clock of the database was set; leases and schedules follow it");
        }
        Ok(())
    }

    /// The time now.
    pub(super) fn now(&self) -> Timestamp {
        let since = i64::try_from(self.made.elapsed().as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.zero.load(Ordering::Relaxed).saturating_add(since))
    }

    /// As an argument.
    pub(super) fn handle(self: &Arc<Self>) -> Clock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}
