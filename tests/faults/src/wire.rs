//! An HTTP/1.1 server that can misbehave in ways that no library offers: cut an answer, reset a connection, say nothing.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::problem::Run;

/// A request: its headers in lower case with the request line first, and its body.
#[derive(Debug)]
pub(crate) struct Request {
    head: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (have, value) = line.split_once(':')?;
            have.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// What the server does.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Answers with this status, further header lines (each with its line end) and JSON.
    Whole(u16, &'static str, String),
    /// Announces more than it sends, then closes.
    Cut(String),
    /// Ends the connection with a reset, unanswered.
    Reset,
    /// Says nothing, for as long as the other side waits.
    Silence,
}

/// Serves until it is dropped.
pub(crate) struct Server {
    /// `http://127.0.0.1:port`.
    pub(crate) url: String,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers by this function.
    pub(crate) async fn start<F, A>(answer: F) -> Run<Self>
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            loop {
                // Out of file descriptors or the like: the next one may do better.
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(serve(stream, answer.clone()));
            }
        });
        Ok(Self { url, task })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, until one of the two sides ends it.
async fn serve<F, A>(mut stream: TcpStream, answer: Arc<F>) -> std::io::Result<()>
where
    F: Fn(Request) -> A,
    A: Future<Output = Answer>,
{
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await? {
        match answer(request).await {
            Answer::Whole(status, more, body) => {
                let head = format!(
                    "HTTP/1.1 {status} Answer\r\ncontent-type: application/json\r\n{more}content-length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(head.as_bytes()).await?;
            }
            Answer::Cut(body) => {
                let head = format!("HTTP/1.1 200 Answer\r\ncontent-length: {}\r\n\r\n{body}", body.len() + 9);
                stream.write_all(head.as_bytes()).await?;
                return Ok(());
            }
            Answer::Reset => return stream.set_zero_linger(),
            Answer::Silence => {
                // Until the other side has had enough.
                while stream.read(&mut [0; 1_024]).await? > 0 {}
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The next request; `None` when the connection ends before it is whole.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Request>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let mut request = Request { head, body: Vec::new() };
            let length: usize = request.header("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
            let whole = end + 4 + length;
            if buffer.len() >= whole {
                request.body = buffer[end + 4..whole].to_vec();
                buffer.drain(..whole);
                return Ok(Some(request));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}
