//! Vendors in this process, as cheap as they can be: they take everything and count it.

mod http;
mod smtp;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::token::Tokens;

/// A request or a mail that is longer ends the connection.
const MAX: usize = 8 << 20;

/// A vendor; gone when dropped.
pub(super) struct Sink {
    /// Where it listens, on the loopback interface.
    pub(super) addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Sink {
    /// An HTTP/1.1 gateway that answers every request with `{"id": "..."}` after this time.
    pub(super) async fn http(tokens: &Arc<Tokens>, delay: Duration) -> io::Result<Self> {
        let tokens = tokens.clone();
        Self::listen(move |socket| http::serve(socket, tokens.clone(), delay)).await
    }

    /// An SMTP relay that takes every mail after this time.
    pub(super) async fn smtp(tokens: &Arc<Tokens>, delay: Duration) -> io::Result<Self> {
        let tokens = tokens.clone();
        Self::listen(move |socket| smtp::serve(socket, tokens.clone(), delay)).await
    }

    async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    taken = listener.accept() => {
                        let Ok((socket, _)) = taken else { continue };
                        // Only slower when it fails.
                        socket.set_nodelay(true).ok();
                        open.spawn(serve(socket));
                    }
                    Some(_) = open.join_next() => {}
                }
            }
        });
        Ok(Self { addr, task })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where a piece of bytes stands first.
fn find(bytes: &[u8], piece: &[u8]) -> Option<usize> {
    bytes.windows(piece.len()).position(|window| window == piece)
}
