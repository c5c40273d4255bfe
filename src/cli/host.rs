//! What the command line needs of the program around it: a server.

use std::{future::Future, net::SocketAddr, pin::Pin};

use async_trait::async_trait;

use super::Failure;
use crate::config::Config;

/// How much of a server to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The store and the API on a free loopback port, without keys; nothing is handed off.
    Desk,
}

/// A server that was started for one command.
pub struct Started {
    /// Where its API listens.
    pub api: SocketAddr,
    /// Of a desk: messages that wait in the store, of all tenants.
    pub waiting: Option<i64>,
    /// Stops it.
    pub stop: Pin<Box<dyn Future<Output = ()>>>,
}

/// How far the tables of the store are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The version that it has; 0 when it is not made yet.
    pub has: i64,
    /// The version that this program wants.
    pub wants: i64,
}

/// Something in the store that should not be there.
#[derive(Clone, Debug)]
pub struct Flaw {
    /// What, for people.
    pub text: String,
    /// It is not there any more.
    pub repaired: bool,
}

/// Runs servers.
#[async_trait(?Send)]
pub trait Host {
    /// Runs one until it is told to stop.
    async fn serve(&self, config: Config) -> Result<(), Failure>;

    /// How far the tables of the store are.
    async fn tables(&self, config: &Config) -> Result<Tables, Failure>;

    /// Brings the tables of the store up to date.
    async fn migrate(&self, config: &Config) -> Result<(), Failure>;

    /// Looks through the store, and repairs what it finds where it is told to.
    async fn examine(&self, config: &Config, repair: bool) -> Result<Vec<Flaw>, Failure>;

    /// Starts one for a command.
    async fn start(&self, config: Config, part: Part) -> Result<Started, Failure>;
}
