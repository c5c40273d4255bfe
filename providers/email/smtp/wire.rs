//! The connection: lines out, replies in, each step with its own deadline.
//!
//! lettre composes the mail, but its connection is not used. It keeps what arrived in clear before a TLS handshake and reads it
//! as if it were protected, takes a line of any length, doubles a leading dot only after CRLF (RUSTSEC-2026-0561), and writes
//! the body and the final dot apart, which costs 40 ms a message where Nagle's algorithm meets delayed acknowledgement.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::FutureExt;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::TlsConnector;

use super::{
    errors::Trouble,
    reply::{self, Reply},
};

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// When the attempt has to be over.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    end: Instant,
}

impl Clock {
    pub(super) fn new(budget: Duration) -> Self {
        Self { end: Instant::now() + budget }
    }

    /// Runs one step within its own limit and within what is left of the attempt.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        step: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let limit = limit.min(self.end.saturating_duration_since(Instant::now()));
        tokio::time::timeout(limit, step).await.unwrap_or(Err(Trouble::Late(limit)))
    }
}

/// A connection to a server.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    /// What arrived and was not asked for yet.
    received: Vec<u8>,
    local: Option<SocketAddr>,
}

impl Wire {
    /// Connects, in clear.
    pub(super) async fn connect(host: &str, port: u16) -> Result<Self, Trouble> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr().ok();
        Ok(Self { stream: Box::new(stream), received: Vec::new(), local })
    }

    /// Speaks TLS from here on. Whatever the server said in clear must have been read: more than that was put there by
    /// somebody else (RFC 3207 section 6).
    pub(super) async fn secure(self, connector: &TlsConnector, host: &str) -> Result<Self, Trouble> {
        if !self.received.is_empty() {
            return Err(Trouble::Garbled("sent more than one reply before TLS began"));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = connector.connect(name, self.stream).await.map_err(Trouble::Tls)?;
        Ok(Self { stream: Box::new(stream), received: Vec::new(), local: self.local })
    }

    /// Our name when none is configured: our address as a literal (RFC 5321 section 4.1.4).
    pub(super) fn literal(&self) -> String {
        match self.local {
            Some(SocketAddr::V4(address)) => format!("[{}]", address.ip()),
            Some(SocketAddr::V6(address)) => format!("[IPv6:{}]", address.ip()),
            None => "[127.0.0.1]".to_owned(),
        }
    }

    /// Writes all of it at once.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        // A reply that nobody asked for would be taken for the answer to the next command.
        if !self.received.is_empty() {
            return Err(Trouble::Garbled("sent more replies than there were commands"));
        }
        self.stream.write_all(bytes).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// Reads one reply.
    pub(super) async fn reply(&mut self) -> Result<Reply, Trouble> {
        loop {
            if let Some(reply) = reply::take(&mut self.received).map_err(Trouble::Garbled)? {
                return Ok(reply);
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// A command and its reply.
    pub(super) async fn ask(&mut self, command: &str) -> Result<Reply, Trouble> {
        self.write(format!("{command}\r\n").as_bytes()).await?;
        self.reply().await
    }

    /// Whether the server is there and silent, as far as can be told without asking it.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.received.is_empty() && self.stream.read(&mut [0_u8; 1]).now_or_never().is_none()
    }

    /// Says goodbye without waiting for an answer.
    pub(super) fn leave(mut self) {
        let _ = self.write(b"QUIT\r\n").now_or_never();
    }
}
