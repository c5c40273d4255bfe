//! A mail server that misbehaves at given rates.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    book::{Book, Reply},
    problem::Run,
    time::pass,
};

/// A way to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Closes the connection instead of a greeting.
    Deaf,
    /// 421 instead of a greeting.
    Busy,
    /// 450 to the recipient.
    Later,
    /// 421 to the recipient, and closes.
    Leaving,
    /// Closes in the middle of the data, without having accepted.
    DropInData,
    /// Accepts, then closes before the 250.
    DropAfter,
    /// Accepts, then sends the 250 one byte at a time, too slowly.
    Tarpit,
    /// Accepts, then sends a reply that does not end.
    Endless,
    /// Accepts, then says something that is no reply.
    Nonsense,
}

/// A fault, and in how many of 1,000 sessions or mails.
pub(crate) type Rate = (Fault, u32);

/// Serves until it is dropped.
pub(crate) struct Mailbox {
    port: u16,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    book: Arc<Book>,
    rates: Vec<Rate>,
    rng: Mutex<Rng>,
    faults: Mutex<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mailbox {
    /// A server that writes to this book.
    pub(crate) async fn start(seed: u64, book: Arc<Book>, rates: Vec<Rate>) -> Run<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let rng = Mutex::new(Rng::with_seed(seed));
        let state = Arc::new(State { book, rates, rng, faults: Mutex::default() });
        let serving = state.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(session(stream, serving.clone()));
            }
        });
        Ok(Self { port, state, task })
    }

    /// The section of the configuration that makes the service use it.
    pub(crate) fn toml(&self) -> String {
        format!(
            "\n[[provider]]\nname = \"smtp\"\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n\
             from = \"sender@example.test\"\nmax_in_flight = 16\nmax_connections = 16\ncommand_timeout = \"1s\"\n\
             data_timeout = \"1s\"\n",
            self.port
        )
    }

    /// How often it misbehaved.
    pub(crate) fn faults(&self) -> u64 {
        *lock(&self.state.faults)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    /// One of these faults, at its rate.
    fn fault(&self, among: &[Fault]) -> Option<Fault> {
        let mut roll = lock(&self.rng).u32(0..1_000);
        for (fault, rate) in self.rates.iter().filter(|(fault, _)| among.contains(fault)) {
            if roll < *rate {
                *lock(&self.faults) += 1;
                return Some(*fault);
            }
            roll -= rate;
        }
        None
    }
}

/// One session (RFC 5321).
async fn session(stream: TcpStream, state: Arc<State>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    match state.fault(&[Fault::Deaf, Fault::Busy]) {
        Some(Fault::Deaf) => return Ok(()),
        Some(_) => return stream.write_all(b"421 4.3.2 not now\r\n").await,
        None => stream.write_all(b"220 mail.test ready\r\n").await?,
    }
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let word: String = line.chars().take(4).collect();
        let reply = match word.to_ascii_uppercase().as_str() {
            "EHLO" => "250-mail.test\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
            "RCPT" => match state.fault(&[Fault::Later, Fault::Leaving]) {
                Some(Fault::Later) => "450 4.2.1 later\r\n",
                Some(_) => return stream.write_all(b"421 4.3.2 leaving\r\n").await,
                None => "250 ok\r\n",
            },
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                if !mail(&mut stream, &state).await? {
                    return Ok(());
                }
                "250 2.0.0 taken\r\n"
            }
            "QUIT" => return stream.write_all(b"221 bye\r\n").await,
            _ => "250 ok\r\n",
        };
        stream.write_all(reply.as_bytes()).await?;
    }
}

const DATA: &[Fault] = &[Fault::DropInData, Fault::DropAfter, Fault::Tarpit, Fault::Endless, Fault::Nonsense];

/// Takes a mail; `false` when the session is over.
async fn mail(stream: &mut BufReader<TcpStream>, state: &State) -> std::io::Result<bool> {
    let fault = state.fault(DATA);
    let (mut id, mut line) = (String::new(), Vec::new());
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(false);
        }
        if line == b".\r\n" {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        if let Some(value) = text.strip_prefix("X-Hly-Message-Id:") {
            id = value.trim().to_owned();
            if fault == Some(Fault::DropInData) {
                return Ok(false);
            }
        }
    }
    let reply = if fault.is_some() { Reply::Lost } else { Reply::Given };
    state.book.accept(&id, "smtp", None, reply);
    match fault {
        None => return Ok(true),
        Some(Fault::Tarpit) => {
            for byte in b"250 2.0.0 taken\r\n" {
                stream.write_all(&[*byte]).await?;
                pass(std::time::Duration::from_millis(200)).await;
            }
        }
        Some(Fault::Endless) => {
            // As long as somebody listens, and no longer than anybody should.
            let talk = async { while stream.write_all(b"250-and then\r\n").await.is_ok() {} };
            timeout(std::time::Duration::from_secs(5), talk).await.ok();
        }
        Some(Fault::Nonsense) => {
            stream.write_all(b"yes, of course\r\n").await?;
            while stream.read(&mut [0; 256]).await? > 0 {}
        }
        Some(_) => {}
    }
    Ok(false)
}
