//! Listeners: bound first, then served; connections that say nothing are closed.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// From the connection to its first byte, and to the end of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections that have not said anything yet.
const SILENT: usize = 16_384;

/// Why a listener cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, not ours, or not allowed.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
}

/// A listener at work.
#[derive(Debug)]
pub struct Running {
    /// Where it listens; the port is the real one.
    pub addr: SocketAddr,
    pub(super) task: JoinHandle<()>,
}

impl Running {
    /// Waits until it has stopped: after the shutdown signal, at the latest when the time to drain is over.
    pub async fn stopped(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a listener ended badly");
        }
    }
}

pub(super) async fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let bound = async {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        Ok((listener, addr))
    };
    bound.await.map_err(|source| ServeError::Bind { addr, source })
}

/// Accepts connections until the shutdown. Each is prepared in a task of its own, so that a slow one holds up nobody.
pub(super) fn accept<IO, P, F>(
    listener: TcpListener,
    prepare: P,
    shutdown: CancellationToken,
) -> ReceiverStream<io::Result<IO>>
where
    IO: Send + 'static,
    P: Fn(TcpStream) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = io::Result<IO>> + Send,
{
    let (sender, receiver) = mpsc::channel(128);
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(SILENT));
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: it passes when connections end.
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else { continue };
            let (prepare, sender) = (prepare.clone(), sender.clone());
            tokio::spawn(async move {
                let prepared = tokio::time::timeout(HANDSHAKE, async {
                    stream.set_nodelay(true)?;
                    // Not `readable`, which may be wrong.
                    stream.peek(&mut [0]).await?;
                    prepare(stream).await
                });
                // A connection that fails here is the peer's affair.
                if let Ok(Ok(io)) = prepared.await {
                    drop(sender.send(Ok(io)).await);
                }
                drop(place);
            });
        }
    });
    ReceiverStream::new(receiver)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

    #[tokio::test]
    async fn a_silent_connection_does_not_hold_up_another() {
        let (listener, addr) = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let shutdown = CancellationToken::new();
        let mut incoming = accept(listener, |stream| async { Ok(stream) }, shutdown.clone());
        let silent = TcpStream::connect(addr).await.unwrap();
        let talking = TcpStream::connect(addr).await.unwrap();
        talking.writable().await.unwrap();
        talking.try_write(b"x").unwrap();
        let accepted = incoming.next().await.unwrap().unwrap();
        assert_eq!(accepted.peer_addr().unwrap(), talking.local_addr().unwrap());
        drop(silent);
        shutdown.cancel();
        while incoming.next().await.is_some() {}
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let (_listener, addr) = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let error = bind(addr).await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("cannot listen on {addr}")));
    }
}
