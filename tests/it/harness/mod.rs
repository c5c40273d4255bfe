//! What scenarios are made of: a service of their own, vendors on the loopback interface, and waiting for events instead of time.

mod app;
mod build;
mod gateway;
#[path = "../../support/postgres.rs"]
mod postgres;
mod process;
mod smtp;
pub(crate) mod vendors;
mod watch;

use std::time::Duration;

pub(crate) use app::{Clients, TestApp, on_sqlite, post, share};
pub(crate) use build::{at, draft_to, fields, json, reason, send_new, to};
pub(crate) use gateway::{Gateway, Received};
pub(crate) use postgres::Database;
pub(crate) use process::TestProcess;
pub(crate) use smtp::Mailbox;
pub(crate) use watch::{Follow, kinds};

/// No wait in a scenario lasts longer. Long enough for a busy machine: only a fault reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(45);

/// Waits for something, at most [`DEADLINE`].
pub(crate) async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, wait).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {} s", DEADLINE.as_secs()),
    }
}
