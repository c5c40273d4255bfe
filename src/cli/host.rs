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

/// Runs servers.
#[async_trait(?Send)]
pub trait Host {
    /// Runs one until it is told to stop.
    async fn serve(&self, config: Config) -> Result<(), Failure>;

    /// Starts one for a command.
    async fn start(&self, config: Config, part: Part) -> Result<Started, Failure>;
}
