//! A road between two programs that can be narrowed, blocked, and cut.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

use crate::{problem::Run, time::pass};

/// How the road is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Road {
    /// As if it were not there.
    Open,
    /// Every piece takes so long.
    Slow(Duration),
    /// Nothing arrives, and nobody is told: what was sent arrives when it is open again.
    Blocked,
    /// Connections end with a reset, and new ones too.
    Cut,
    /// What is asked arrives; the answer does not, and the connection ends with a reset.
    NoAnswer,
}

/// Serves until it is dropped.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) port: u16,
    road: watch::Sender<Road>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A road to this address, `127.0.0.1:5432`.
    pub(crate) async fn start(target: String) -> Run<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let road = watch::Sender::new(Road::Open);
        let seen = road.subscribe();
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(connection(stream, target.clone(), seen.clone()));
            }
        });
        Ok(Self { port, road, task })
    }

    /// Makes the road so, for old connections and new ones.
    pub(crate) fn set(&self, road: Road) {
        self.road.send_replace(road);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(near: TcpStream, target: String, road: watch::Receiver<Road>) -> std::io::Result<()> {
    if *road.borrow() == Road::Cut {
        return near.set_zero_linger();
    }
    let far = TcpStream::connect(target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    near.set_zero_linger()?;
    far.set_zero_linger()?;
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let mut cut = road.clone();
    // The first that ends drops the others, and with them the connections.
    tokio::select! {
        result = copy(near_in, far_out, road.clone(), false) => result,
        result = copy(far_in, near_out, road, true) => result,
        _ = cut.wait_for(|road| *road == Road::Cut) => Ok(()),
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut road: watch::Receiver<Road>,
    answers: bool,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1_024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let now = *road.borrow_and_update();
        match now {
            Road::NoAnswer if answers => return Ok(()),
            Road::Slow(time) => pass(time).await,
            // The proxy is gone, and the run with it.
            Road::Blocked if road.wait_for(|road| *road != Road::Blocked).await.is_err() => return Ok(()),
            _ => {}
        }
        to.write_all(&buffer[..count]).await?;
    }
}
