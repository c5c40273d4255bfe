//! A mail server that takes everything.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use super::within;

/// A mail that came.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    /// The reverse path, without its brackets.
    pub(crate) from: String,
    /// The forward paths.
    pub(crate) to: Vec<String>,
    /// The message, with the dots undone.
    pub(crate) bytes: Vec<u8>,
}

/// Listens until it is dropped.
pub(crate) struct Mailbox {
    pub(crate) port: u16,
    mails: Arc<watch::Sender<usize>>,
    kept: Arc<Mutex<Vec<Mail>>>,
    task: JoinHandle<()>,
}

impl Mailbox {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mails, kept) = (Arc::new(watch::Sender::new(0)), Arc::new(Mutex::default()));
        let (count, all) = (mails.clone(), kept.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(stream, count.clone(), all.clone()));
            }
        });
        Self { port, mails, kept, task }
    }

    /// The mails, once there are so many.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Mail> {
        let mut have = self.mails.subscribe();
        within(&format!("mail {count}"), have.wait_for(|have| *have >= count)).await.unwrap();
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One session (RFC 5321), as far as a relay that refuses nothing needs it.
async fn talk(
    stream: TcpStream,
    count: Arc<watch::Sender<usize>>,
    kept: Arc<Mutex<Vec<Mail>>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.test ready\r\n").await?;
    let (mut from, mut to, mut line) = (String::new(), Vec::new(), String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let path = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let reply =
            match line.split([' ', ':', '\r']).next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "EHLO" => "250-mail.test\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
                "MAIL" => {
                    (from, to) = (path, Vec::new());
                    "250 ok\r\n"
                }
                "RCPT" => {
                    to.push(path);
                    "250 ok\r\n"
                }
                "DATA" => {
                    stream.write_all(b"354 go on\r\n").await?;
                    let bytes = data(&mut stream).await?;
                    let mail = Mail { from: from.clone(), to: to.clone(), bytes };
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
                    count.send_modify(|count| *count += 1);
                    "250 2.0.0 taken\r\n"
                }
                "QUIT" => {
                    stream.write_all(b"221 bye\r\n").await?;
                    return Ok(());
                }
                _ => "250 ok\r\n",
            };
        stream.write_all(reply.as_bytes()).await?;
    }
}

/// Everything up to the line with the dot alone.
async fn data(stream: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let (mut mail, mut line) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(mail);
        }
        mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}
