//! A small SMTP server that does what a test tells it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_rustls::TlsAcceptor;

/// What the server does at a step.
pub(super) enum Act {
    /// What a good server would.
    Usual,
    /// These bytes.
    Say(String),
    /// These bytes, then it closes.
    Last(String),
    /// It closes.
    Close,
    /// It says nothing until the client leaves.
    Hold,
}

/// A reply of one line.
pub(super) fn say(line: &str) -> Act {
    Act::Say(format!("{line}\r\n"))
}

/// Where the conversation is: which connection, how many messages it has brought, and the command. `CONNECT` stands for the
/// beginning and `.` for the end of a message.
pub(super) struct Step<'a> {
    pub(super) connection: usize,
    pub(super) messages: usize,
    pub(super) command: &'a str,
}

type Script = dyn Fn(Step<'_>) -> Act + Send + Sync;

/// A message as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Mail {
    pub(super) from: String,
    pub(super) to: String,
    /// Everything after the reply to DATA, with the final dot.
    pub(super) raw: Vec<u8>,
    /// The same with the dots undone.
    pub(super) bytes: Vec<u8>,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) connections: usize,
    pub(super) commands: Vec<String>,
    pub(super) mails: Vec<Mail>,
    pub(super) closed: usize,
}

pub(super) struct Server {
    pub(super) port: u16,
    seen: Arc<Mutex<Seen>>,
    closed: Arc<Notify>,
}

struct Talk {
    connection: usize,
    script: Arc<Script>,
    seen: Arc<Mutex<Seen>>,
    extensions: Arc<Vec<String>>,
}

impl Server {
    pub(super) async fn start(
        extensions: &[&str],
        script: impl Fn(Step<'_>) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self::with_tls(extensions, None, false, script).await
    }

    /// With `acceptor` STARTTLS works, or with `implicit` the connection begins with TLS.
    pub(super) async fn with_tls(
        extensions: &[&str],
        acceptor: Option<TlsAcceptor>,
        implicit: bool,
        script: impl Fn(Step<'_>) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let closed = Arc::new(Notify::new());
        let extensions = Arc::new(extensions.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let script: Arc<Script> = Arc::new(script);
        let (all, done) = (Arc::clone(&seen), Arc::clone(&closed));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = {
                    let mut seen = all.lock().unwrap();
                    seen.connections += 1;
                    seen.connections
                };
                let talk = Talk {
                    connection,
                    script: Arc::clone(&script),
                    seen: Arc::clone(&all),
                    extensions: Arc::clone(&extensions),
                };
                let (acceptor, all, done) = (acceptor.clone(), Arc::clone(&all), Arc::clone(&done));
                tokio::spawn(async move {
                    let _ = talk.serve(stream, acceptor, implicit).await;
                    all.lock().unwrap().closed += 1;
                    done.notify_one();
                });
            }
        });
        Self { port, seen, closed }
    }

    pub(super) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }

    pub(super) fn mails(&self) -> Vec<Mail> {
        self.seen(|seen| seen.mails.clone())
    }

    /// Waits until so many connections are closed.
    pub(super) async fn wait_closed(&self, count: usize) {
        let wait = async {
            while self.seen(|seen| seen.closed) < count {
                self.closed.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
    }
}

impl Talk {
    async fn serve(self, stream: TcpStream, tls: Option<TlsAcceptor>, implicit: bool) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        match tls {
            Some(tls) if implicit => {
                self.talk(BufReader::new(tls.accept(stream).await?), true).await?;
            }
            Some(tls) => {
                if let Some(stream) = self.talk(BufReader::new(stream), true).await? {
                    self.talk(BufReader::new(tls.accept(stream).await?), false).await?;
                }
            }
            None => {
                self.talk(BufReader::new(stream), true).await?;
            }
        }
        Ok(())
    }

    /// Gives the stream back when TLS is to begin.
    async fn talk<S>(&self, mut stream: BufReader<S>, greet: bool) -> std::io::Result<Option<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut from, mut to) = (String::new(), String::new());
        let mut messages = 0;
        if greet && !self.act(&mut stream, messages, "CONNECT", "220 sink.test ESMTP").await? {
            return Ok(None);
        }
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(None);
            }
            let command = line.trim_end().to_owned();
            self.seen.lock().unwrap().commands.push(command.clone());
            let verb = command.split([' ', ':']).next().unwrap_or_default().to_uppercase();
            let usual = self.usual(&verb);
            if !self.act(&mut stream, messages, &command, &usual).await? {
                return Ok(None);
            }
            match verb.as_str() {
                "MAIL" => from = command,
                "RCPT" => to = command,
                "DATA" if self.wants_data(messages, &command) => {
                    let raw = read_message(&mut stream).await?;
                    let bytes = undot(&raw);
                    let mail = Mail { from: from.clone(), to: to.clone(), raw, bytes };
                    self.seen.lock().unwrap().mails.push(mail);
                    messages += 1;
                    if !self.act(&mut stream, messages, ".", "250 2.0.0 Ok: queued as 4Wxyz1").await? {
                        return Ok(None);
                    }
                }
                "STARTTLS" => return Ok(Some(stream.into_inner())),
                "QUIT" => return Ok(None),
                _ => {}
            }
        }
    }

    fn usual(&self, verb: &str) -> String {
        match verb {
            "EHLO" => {
                let mut lines = vec!["sink.test".to_owned()];
                lines.extend(self.extensions.iter().cloned());
                let last = lines.len() - 1;
                let lines = lines.iter().enumerate();
                let lines: Vec<String> = lines
                    .map(|(at, line)| format!("250{}{line}", if at == last { ' ' } else { '-' }))
                    .collect();
                lines.join("\r\n")
            }
            "DATA" => "354 go on".to_owned(),
            "STARTTLS" => "220 2.0.0 go on".to_owned(),
            "AUTH" => "235 2.7.0 welcome".to_owned(),
            "QUIT" => "221 2.0.0 bye".to_owned(),
            _ => "250 2.1.0 Ok".to_owned(),
        }
    }

    fn step(&self, messages: usize, command: &str) -> Act {
        (self.script)(Step { connection: self.connection, messages, command })
    }

    fn wants_data(&self, messages: usize, command: &str) -> bool {
        match self.step(messages, command) {
            Act::Usual => true,
            Act::Say(text) => text.starts_with("354"),
            _ => false,
        }
    }

    /// False when the connection is to end.
    async fn act<S>(
        &self,
        stream: &mut BufReader<S>,
        messages: usize,
        command: &str,
        usual: &str,
    ) -> std::io::Result<bool>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (text, go_on) = match self.step(messages, command) {
            Act::Usual => (format!("{usual}\r\n"), true),
            Act::Say(text) => (text, true),
            Act::Last(text) => (text, false),
            Act::Close => return Ok(false),
            Act::Hold => {
                while !stream.fill_buf().await?.is_empty() {
                    let length = stream.buffer().len();
                    stream.consume(length);
                }
                return Ok(false);
            }
        };
        stream.write_all(text.as_bytes()).await?;
        stream.flush().await?;
        Ok(go_on)
    }
}

async fn read_message(stream: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut raw = Vec::new();
    loop {
        if stream.read_until(b'\n', &mut raw).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if raw == b".\r\n" || raw.ends_with(b"\r\n.\r\n") {
            return Ok(raw);
        }
    }
}

fn undot(raw: &[u8]) -> Vec<u8> {
    let lines = raw[..raw.len() - 3].split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied().collect()
}
